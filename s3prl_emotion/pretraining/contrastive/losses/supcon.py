"""Supervised contrast over named pairs."""

from __future__ import annotations

from s3prl_emotion.pretraining.contrastive.losses import Contrast, contrasts
from s3prl_emotion.pretraining.contrastive.losses._base import check_above_zero, library
from s3prl_emotion.pretraining.contrastive.pairs import Pairs


@contrasts.register("supcon")
class SupCon(Contrast):
    r"""Supervised contrastive loss (arXiv 2004.11362, equation 2) of each anchor with all of its positives P(a).

    .. math:: -\frac{1}{|P(a)|} \sum_{p \in P(a)}
              \log \frac{e^{\cos(a, p) / \tau}}{\sum_{i \in P(a) \cup N(a)} e^{\cos(a, i) / \tau}}

    summed over anchors that have a positive, as pytorch-metric-learning's ``SupConLoss`` computes it. Ours, beside what
    arXiv 2401.11017 may use.

    Args:
        temperature: τ above 0

    Raises:
        ValueError: if an option is out of range
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = check_above_zero("temperature", temperature)
        self.loss = library("losses").SupConLoss(self.temperature, reducer=library("reducers").SumReducer())

    def count(self, pairs: Pairs) -> int:
        return len(pairs.anchors.unique()) if len(pairs.negatives) else 0
