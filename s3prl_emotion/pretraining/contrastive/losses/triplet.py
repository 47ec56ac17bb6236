"""Triplets with a margin, over named pairs."""

from __future__ import annotations

import torch

from s3prl_emotion.pretraining.contrastive.losses import Contrast, contrasts
from s3prl_emotion.pretraining.contrastive.losses._base import check_above_zero, library
from s3prl_emotion.pretraining.contrastive.pairs import Pairs


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
