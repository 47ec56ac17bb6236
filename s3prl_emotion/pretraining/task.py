"""Interface between trainer and recipe: micro-batches, and summed losses, so that accumulation and processes add up.

A step consists of parts, each small enough for one device. A task gives sums, never means, so that parts and processes
add up: the loop divides each loss by its weight, which is summed over all parts of the step first.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from torch import Tensor, nn


class MicroBatch(Protocol):
    """What one forward pass holds, on the CPU."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What the model is given, in its order."""


P = TypeVar("P", bound=MicroBatch)
P_co = TypeVar("P_co", bound=MicroBatch, covariant=True)


class BatchSource(Protocol[P_co]):
    """Parts of any step, as functions of the seed and the step."""

    @property
    def parts(self) -> int:
        """How many a step has."""

    @property
    def more_parts(self) -> str:
        """What to do where there are fewer than processes, for messages."""

    @property
    def seconds_per_frame(self) -> float:
        """For what is shown of the speed."""

    def members(self, step: int) -> Sequence[Sequence[int]]:
        """What each part of a step consists of."""

    def part(self, step: int, members: Sequence[int]) -> P_co:
        """One part of a step."""

    def dev_parts(self) -> Iterable[Sequence[int]]:
        """The parts that choose the checkpoint, the same at every evaluation."""


class LossSums(NamedTuple):
    """What one forward pass over a part gives."""

    losses: tuple[Tensor, ...]  # each a sum, to be divided by its weight and added
    sums: Sequence[Any]  # figures that add up: detached scalars or numbers, in the order that the task knows


class Task(abc.ABC, Generic[P]):
    """A model, and how it is measured on a part.

    Args:
        model: what is trained; its parameters with gradients
    """

    sums: int
    """How many figures :class:`LossSums` has."""
    shown: str
    """The figure that the progress bar shows as the loss."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @abc.abstractmethod
    def weights(self, part: P) -> tuple[float, ...]:
        """What each loss is divided by, as far as it is in this part; known before the forward pass."""

    @abc.abstractmethod
    def measure(self, part: P, tensors: tuple[Tensor, ...], everything: bool) -> LossSums:
        """Run the model on a part.

        Args:
            part: as :class:`BatchSource` gave it
            tensors: its own, on the device
            everything: also compute the figures that cost time
        """

    @abc.abstractmethod
    def figures(self, totals: Sequence[float]) -> dict[str, float]:
        """Summed figures as rates: ``loss``, and whatever else is told."""

    @abc.abstractmethod
    def frames(self, totals: Sequence[float]) -> float:
        """The frames heard, of the summed figures."""
