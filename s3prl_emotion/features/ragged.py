"""A batch of utterances of different lengths, one after the other instead of padded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


class RaggedBatch(list[Tensor]):
    """A batch as S3PRL passes it on, a list of ``(frames_i, width)``, that also knows it in one piece.

    Args:
        flat: ``(sum of frames_i, width)``
        lengths: ``frames_i`` of each utterance
    """

    def __init__(self, flat: Tensor, lengths: Sequence[int]) -> None:
        super().__init__(flat.split(list(lengths)))
        self.flat = flat
        self.lengths = list(lengths)


def pack(features: list[Tensor]) -> RaggedBatch:
    """Any list of ``(frames_i, width)`` as :class:`RaggedBatch`; nothing is copied if it is one already."""
    if isinstance(features, RaggedBatch):
        return features
    return RaggedBatch(torch.cat(features), [len(item) for item in features])


def pad(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """``(frames_i, width)`` each to ``(batch, frames, width)``, zero-padded, and ``lengths (batch,)`` on the CPU."""
    lengths = torch.tensor([len(item) for item in features])
    return pad_sequence(list(features), batch_first=True), lengths
