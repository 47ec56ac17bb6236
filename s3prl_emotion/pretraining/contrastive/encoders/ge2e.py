"""Resemblyzer's speaker encoder: the utterance embedding of Wan et al. (ICASSP 2018, section 2.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from s3prl_emotion.files import checkpoint_sha256
from s3prl_emotion.pretraining.contrastive.encoders import encoders
from s3prl_emotion.pretraining.contrastive.encoders._base import ModuleEncoder
from s3prl_emotion.s3prl_runner.building import build
from s3prl_emotion.upstreams import ge2e
from s3prl_emotion.upstreams.ref import UpstreamOrigin, UpstreamRef

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
