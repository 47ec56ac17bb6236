"""InfoNCE over named pairs."""

from __future__ import annotations

from s3prl_emotion.pretraining.contrastive.losses import Contrast, contrasts
from s3prl_emotion.pretraining.contrastive.losses._base import check_above_zero, library
from s3prl_emotion.pretraining.contrastive.pairs import Pairs


@contrasts.register("infonce")
class InfoNCE(Contrast):
    r"""InfoNCE (arXiv 1807.03748) of each positive pair against its anchor's negatives.

    .. math:: -\log \frac{e^{\cos(a, p) / \tau}}{e^{\cos(a, p) / \tau} + \sum_n e^{\cos(a, n) / \tau}}

    summed over positive pairs (a, p), as pytorch-metric-learning's ``NTXentLoss`` computes it. That arXiv 2401.11017
    uses it, and its temperature, are not known: both are our choice.

    Args:
        temperature: τ above 0

    Raises:
        ValueError: if an option is out of range
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = check_above_zero("temperature", temperature)
        self.loss = library("losses").NTXentLoss(self.temperature, reducer=library("reducers").SumReducer())

    def count(self, pairs: Pairs) -> int:
        return len(pairs.anchors) if len(pairs.negatives) else 0
