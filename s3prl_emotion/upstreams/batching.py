"""Utterances of different lengths through an encoder: in one batch, or one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


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
