"""Who speaks, as a second task: its gradient is followed, or turned around so that the vectors tell less of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from s3prl_emotion.corpora.manifest import Utterance

UNKNOWN = -1
"""The target of an utterance whose speaker is none of those that are told apart."""


def told_apart(utterances: Iterable[Utterance]) -> dict[tuple[str, str], int]:
    """The known speakers of utterances, numbered in order of their names; names mean something within a corpus."""
    return {name: number for number, name in enumerate(sorted({voice(item) for item in utterances if item.speaker}))}


def voice(item: Utterance) -> tuple[str, str]:
    """Who speaks, in a manifest that may combine corpora."""
    return item.corpus or "", item.speaker


class Told(NamedTuple):
    """What a batch gives: sums over the utterances whose speaker is known."""

    loss: Tensor  # cross-entropy
    correct: Tensor
    count: Tensor


class SpeakerTask(nn.Module):
    """A linear layer from a vector to who speaks.

    Args:
        width: of the vectors
        speakers: how many to tell apart
        reverse: vectors receive the gradient times -1 (arXiv 1409.7495), the layer itself its own
    """

    def __init__(self, width: int, speakers: int, reverse: bool = False) -> None:
        super().__init__()
        self.reverse = reverse
        self.classifier = nn.Linear(width, speakers)

    def forward(self, vectors: Tensor, targets: Tensor) -> Told:
        """Vectors ``(batch, width)`` and speakers ``(batch,)``, :data:`UNKNOWN` where there is none, to sums."""
        if self.reverse:
            vectors = _Reversed.apply(vectors)  # type: ignore[no-untyped-call]
        logits = self.classifier(vectors)
        loss = functional.cross_entropy(logits, targets, ignore_index=UNKNOWN, reduction="sum")
        known = targets != UNKNOWN
        correct = (logits.detach().argmax(dim=-1) == targets) & known
        return Told(loss, correct.sum(), known.sum())

    def extra_repr(self) -> str:
        return "reversed gradient" if self.reverse else ""


class _Reversed(torch.autograd.Function):
    """Forward nothing, backward a change of sign."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        return vectors.view_as(vectors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return -grad
