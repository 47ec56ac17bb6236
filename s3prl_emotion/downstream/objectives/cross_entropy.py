"""Plain cross-entropy: the objective of S3PRL's own emotion task."""

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
