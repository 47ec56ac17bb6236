"""Objectives: cross-entropy, with and without label smoothing."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from s3prl_emotion.downstream.objectives import Objective, objectives


@objectives.register("cross_entropy")
class CrossEntropy(Objective):
    """``-sum_k y_k log softmax(logits)_k`` for a one-hot or soft ``y``, batch mean (nats, at least 0)."""

    soft = True

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """``logits (batch, classes)`` and indices ``(batch,)`` or rates ``(batch, classes)`` to a scalar."""
        return functional.cross_entropy(logits, labels)


@objectives.register("label_smoothing")
class LabelSmoothing(Objective):
    """Cross-entropy against ``y (1 - p_l) + p_l / K`` for one-hot or soft ``y``, ``K`` classes, batch mean (nats).

    Args:
        smoothing: ``p_l`` in [0, 1); the paper uses 0.25, and 0 is plain cross-entropy

    Raises:
        ValueError: if ``smoothing`` is out of range
    """

    soft = True

    def __init__(self, smoothing: float = 0.25) -> None:
        super().__init__()
        if isinstance(smoothing, bool) or not 0.0 <= smoothing < 1.0:
            raise ValueError(f"smoothing must be in [0, 1), got {smoothing}")
        self.smoothing = float(smoothing)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """``logits (batch, classes)`` and indices ``(batch,)`` or rates ``(batch, classes)`` to a scalar."""
        return functional.cross_entropy(logits, labels, label_smoothing=self.smoothing)
