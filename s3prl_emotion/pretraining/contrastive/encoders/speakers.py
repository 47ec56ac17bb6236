"""Speaker encoders: ECAPA-TDNN and GE2E."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.files import checkpoint_sha256
from s3prl_emotion.module_weights import load_weights
from s3prl_emotion.pretraining.contrastive.encoders import encoders
from s3prl_emotion.pretraining.contrastive.encoders._base import ModuleEncoder
from s3prl_emotion.s3prl_runner.building import build
from s3prl_emotion.upstreams import ge2e
from s3prl_emotion.upstreams.hub import is_hub_id, one_file
from s3prl_emotion.upstreams.reference import UpstreamOrigin, UpstreamRef

HUB = "speechbrain/spkrec-ecapa-voxceleb"
WEIGHTS = "embedding_model.ckpt"
SHORTEST = 1600  # samples; the network's reflecting convolutions need five frames, and shorter clips are padded (ours)
INSTALL = "pip install 's3prl-emotion[ecapa]'"


@encoders.register("ecapa")
class Ecapa(ModuleEncoder):
    """What ``speechbrain.inference.speaker.EncoderClassifier.encode_batch`` gives: 80 mel filters, their mean over the
    utterance taken off, and 192 values from the network.

    Args:
        checkpoint: a folder that holds ``embedding_model.ckpt``, that file, or a Hub id
    """

    title = "ecapa"

    def __init__(self, checkpoint: str = HUB) -> None:
        self.checkpoint = checkpoint

    @property
    def sha256(self) -> str | None:
        return checkpoint_sha256(str(self._file()))

    def build(self) -> nn.Module:
        return _Network(self._file())

    def _file(self) -> Path:
        place = one_file(self.checkpoint, WEIGHTS) if is_hub_id(self.checkpoint) else Path(self.checkpoint)
        path = place / WEIGHTS if place.is_dir() else place
        if not path.is_file():
            raise UpstreamError(f"encoder ecapa: checkpoint {self.checkpoint}: no {WEIGHTS} there, and no Hub id")
        return path


class _Network(nn.Module):
    """One waveform, ``(samples,)`` at 16 kHz, to ``(192,)``."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            from speechbrain.lobes.features import Fbank
            from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
        except ImportError as error:
            raise UpstreamError(f"encoder ecapa needs SpeechBrain ({error}): {INSTALL}") from error
        weights = _read(path)
        try:
            sizes = [weights[f"blocks.{number}.{part}"].shape[0] for number, part in enumerate(_WIDTHS)]
            sizes.append(weights["mfa.conv.conv.weight"].shape[0])
            width, attention = weights["fc.conv.weight"].shape[0], weights["asp.tdnn.conv.conv.weight"].shape[0]
            squeezed = weights["blocks.1.se_block.conv1.conv.weight"].shape[0]
            channels = {"channels": sizes, "attention_channels": attention, "se_channels": squeezed}
            self.network = ECAPA_TDNN(80, lin_neurons=width, **channels)
            load_weights(self.network, weights)
        except (KeyError, RuntimeError, IndexError, AttributeError) as error:
            told = " ".join(str(error).split())[:200]
            raise UpstreamError(f"{path}: is no ECAPA-TDNN of SpeechBrain ({told})") from error
        self.mel = Fbank(n_mels=80)

    def forward(self, waveform: Tensor) -> Tensor:
        mel = self.mel(nn.functional.pad(waveform, (0, max(0, SHORTEST - len(waveform))))[None])
        found: Tensor = self.network(mel - mel.mean(dim=1, keepdim=True), torch.ones(1, device=mel.device))
        return found[0, 0]


_WIDTHS = ("conv.conv.weight", *(["tdnn1.conv.conv.weight"] * 3))
"""The parameter of each block that tells its number of channels."""


def _read(path: Path) -> dict[str, Any]:
    from s3prl_emotion.files import UNREADABLE

    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except UNREADABLE as error:
        raise UpstreamError(f"{path}: not readable as weights ({str(error).splitlines()[0]})") from error


PARTIAL = 160  # frames of 10 ms
RATE = 1.3  # partial utterances to a second
COVERAGE = 0.75  # of the last partial utterance that must be speech; else it is left out


@encoders.register("ge2e")
class GE2E(ModuleEncoder):
    r"""The last state of three LSTM layers through a linear layer and ReLU, scaled to length 1, for partial utterances
    of 1.6 s; their mean, scaled to length 1: 256 values from 0 up.

    .. math:: e = \frac{\bar p}{\lVert \bar p \rVert}, \quad p_i = \frac{f(x_i)}{\lVert f(x_i) \rVert}

    The same numbers as ``resemblyzer.VoiceEncoder.embed_utterance``, without its webrtcvad: silences are kept. The
    level is raised to -30 dBFS, as there. Audio that gives nothing but zeros keeps a vector of zeros.

    Args:
        checkpoint: another file of that form than the one in Resemblyzer's wheel
    """

    title = "ge2e"

    def __init__(self, checkpoint: str | None = None) -> None:
        self.checkpoint = checkpoint

    @property
    def sha256(self) -> str | None:
        return checkpoint_sha256(self.checkpoint)

    def build(self) -> nn.Module:
        return Partials(self.checkpoint)


class Partials(nn.Module):
    """The embedding of one waveform; see :class:`GE2E`."""

    def __init__(self, checkpoint: str | None) -> None:
        super().__init__()
        source = None if checkpoint is None else UpstreamOrigin(checkpoint)
        self.upstream = build(UpstreamRef("ge2e", source), "cpu")
        weights = ge2e.weights_of(checkpoint)
        width, hidden = weights["linear.weight"].shape
        self.linear = nn.Linear(hidden, width)
        self.linear.load_state_dict({name: weights[f"linear.{name}"] for name in ("weight", "bias")})

    def forward(self, waveform: Tensor) -> Tensor:
        """``(samples,)`` to ``(256,)``."""
        starts = partials(len(waveform), ge2e.HOP)
        end = (starts[-1] + PARTIAL) * ge2e.HOP
        level = 10 * torch.log10(waveform.square().mean() + 1e-12)
        raised = waveform * 10 ** ((-30 - level).clamp(0, 90) / 20)
        padded = nn.functional.pad(raised, (0, max(0, end - len(raised))))
        mel = self.upstream.mel(padded).T
        x = torch.stack([mel[start : start + PARTIAL] for start in starts])
        for layer in self.upstream.layers:
            x = layer(x)[0]
        each = _scaled(self.linear(x[:, -1]).relu())
        return _scaled(each.mean(dim=0))


def partials(samples: int, hop: int) -> list[int]:
    """The first frames of the partial utterances of a waveform."""
    frames = math.ceil((samples + 1) / hop)
    step = round(16000 / RATE / hop)
    starts = list(range(0, max(1, frames - PARTIAL + step + 1), step))
    covered = (samples - starts[-1] * hop) / (PARTIAL * hop)
    return starts[:-1] if covered < COVERAGE and len(starts) > 1 else starts


def _scaled(vectors: Tensor) -> Tensor:
    lengths: Tensor = vectors.norm(dim=-1, keepdim=True)
    return vectors / lengths.clamp_min(1e-12)
