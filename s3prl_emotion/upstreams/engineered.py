"""Engineered features by frame or utterance, behind S3PRL's upstream interface: a library computes, nothing learns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from s3prl_emotion.numba_cache import compiling

UTTERANCE = 1 << 40
"""Samples to a frame where there is one frame for each utterance: more than any recording has."""


class FrameFeatures(nn.Module):
    """One layer of features without parameters. Each waveform is computed alone, so batch mates have no influence.

    The values are in the library's own units, and of any magnitude: they are stored in float32, see ``keeps_float32``.
    Gradients do not reach the waveform.

    Args:
        compute: waveform at 16 kHz, float32 ``(samples,)``, to ``(frames, width)``
        rate: samples to a frame, or :data:`UTTERANCE`
    """

    keeps_float32 = True  # float16 would lose what is small, and overflow

    def __init__(self, compute: Callable[[np.ndarray], np.ndarray], rate: int) -> None:
        super().__init__()
        self._compute = compute
        self._rate = rate
        self._is_compiled = False

    def get_downsample_rates(self, key: str | None = None) -> int:
        """Samples per frame."""
        return self._rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """Waveforms at 16 kHz, each ``(samples,)``, to one layer ``(batch, frames, width)``, zero-padded."""
        found = [self._frames(wav) for wav in wavs]
        layer = nn.utils.rnn.pad_sequence(found, batch_first=True)
        return {"hidden_states": (layer,), "last_hidden_state": layer}

    def _frames(self, wav: Tensor) -> Tensor:
        with contextlib.nullcontext() if self._is_compiled else compiling():
            values = self._compute(wav.detach().cpu().numpy().astype(np.float32, copy=False))
        self._is_compiled = True
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(wav.device)
