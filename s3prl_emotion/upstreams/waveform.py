"""Waveforms as encoders take them: normalised, batched."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from s3prl_emotion.upstreams.transformers import TransformersEncoder, layers_of


def encoded(wavs: list[Tensor], encode: Callable[[list[Tensor]], tuple[Tensor, ...]], alone: bool) -> dict[str, Any]:
    """An upstream's output: one batch, or, if ``alone``, one utterance at a time where their lengths differ."""
    if alone and len({len(wav) for wav in wavs}) > 1:
        states = joined([encode([wav]) for wav in wavs])
    else:
        states = encode(wavs)
    return {"hidden_states": states, "last_hidden_state": states[-1]}


def joined(items: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """The layers of several utterances, each ``(1, frames_i, features)``, as layers ``(batch, frames, features)``."""
    return tuple(pad_sequence([item[0] for item in layer], batch_first=True) for layer in zip(*items, strict=True))


_PADDING_IS_HARMLESS = ("hubert", "wav2vec2", "wavlm", "unispeech", "unispeech-sat")
"""With layer normalisation and a mask these give the same features alone and in a batch; others let padding in."""


class WaveformUpstream(nn.Module):
    """A waveform encoder with S3PRL's upstream interface.

    Args:
        encoder: what was loaded
    """

    def __init__(self, encoder: TransformersEncoder) -> None:
        super().__init__()
        config = encoder.config
        self.model = encoder.model
        self.normalize = bool(encoder.extractor.do_normalize)
        self.downsample_rate = samples_per_frame(config)
        # Group-norm models were pretrained on zero-padded batches without a mask; alone, a mask changes nothing.
        self.takes_mask = getattr(config, "feat_extract_norm", "layer") != "group"
        self.padding_changes_features = (
            not self.takes_mask
            or config.model_type not in _PADDING_IS_HARMLESS
            or bool(getattr(config, "conv_pos_batch_norm", False))
        )

    def get_downsample_rates(self, key: str | None = None) -> int:
        """Samples per frame."""
        return self.downsample_rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """Waveforms at 16 kHz, each ``(samples,)``, to hidden states ``(batch, frames, features)``, L + 1 of them."""
        if self.normalize:
            wavs = [(wav - wav.mean()) / torch.sqrt(wav.var(correction=0) + 1e-7) for wav in wavs]
        return encoded(wavs, self._encode, alone=self.padding_changes_features and not self.training)

    def _encode(self, wavs: list[Tensor]) -> tuple[Tensor, ...]:
        lengths = torch.tensor([len(wav) for wav in wavs], device=wavs[0].device)
        padded = pad_sequence(wavs, batch_first=True)
        mask = torch.arange(padded.shape[1], device=padded.device) < lengths[:, None]
        given = {"attention_mask": mask.long()} if self.takes_mask and not bool(mask.all()) else {}
        return layers_of(self.model, padded, **given)


def samples_per_frame(config: Any) -> int:
    """Samples per frame of hidden states."""
    return int(math.prod(config.conv_stride)) * int(getattr(config, "squeeze_factor", 1))
