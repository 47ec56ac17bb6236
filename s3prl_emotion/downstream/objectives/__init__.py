"""Training objectives: ``forward(logits (batch, classes), labels) -> scalar loss``, mean over the batch.

An objective registers under its name in configurations. A new one is a class in ``losses.py``, or one new file:

.. code-block:: python

    from torch import Tensor
    from torch.nn import functional

    from s3prl_emotion.downstream.objectives import Objective, objectives


    @objectives.register("brier")
    class Brier(Objective):
        soft = True

        def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
            rates = labels if labels.ndim == 2 else functional.one_hot(labels, logits.shape[1]).to(logits)
            return (logits.softmax(dim=-1) - rates).square().sum(dim=-1).mean()

``tests/downstream/test_objective_contract.py`` holds every registered objective to what :class:`Objective` promises.
"""

from __future__ import annotations

from s3prl_emotion.downstream.objectives._base import Objective
from s3prl_emotion.registry import Registry

__all__ = ["Objective", "objectives"]

objectives: Registry[type[Objective]] = Registry("objective", "s3prl_emotion.downstream.objectives")
