"""Losses over pairs, by pytorch-metric-learning."""

from __future__ import annotations

import torch

from s3prl_emotion.pretraining.contrastive.losses import Contrast, contrasts
from s3prl_emotion.pretraining.contrastive.losses._base import check_above_zero, library
from s3prl_emotion.pretraining.contrastive.sampler import Pairs


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


@contrasts.register("triplet")
class Triplet(Contrast):
    r"""Triplet loss on cosine distance: :math:`\max(0, \cos(a, n) - \cos(a, p) + m)`.

    Summed over all triplets that the pairs of an anchor make. Their mean is over all of them, not over those above
    zero, which would not be known before (ours). That arXiv 2401.11017 uses triplets, and its margin, are not known.

    Args:
        margin: m above 0

    Raises:
        ValueError: if an option is out of range
    """

    def __init__(self, margin: float = 0.2) -> None:
        super().__init__()
        self.margin = check_above_zero("margin", margin)
        distance = library("distances").CosineSimilarity()
        reducer = library("reducers").SumReducer()
        self.loss = library("losses").TripletMarginLoss(self.margin, distance=distance, reducer=reducer)

    def count(self, pairs: Pairs) -> int:
        size = 1 + int(max((part.max() for part in pairs if len(part)), default=torch.tensor(0)))
        positives = torch.bincount(pairs.anchors, minlength=size)
        return int((positives * torch.bincount(pairs.negative_anchors, minlength=size)).sum())
