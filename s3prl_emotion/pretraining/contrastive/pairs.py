"""Which utterances of a batch are drawn together, and which are pushed apart: named one by one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

CLUSTERS, SPEAKERS = "clusters", "speakers"
NEGATIVES = (CLUSTERS, SPEAKERS)
"""The same speaker's other clusters (arXiv 2401.11017); or those, and every utterance of other speakers (ours)."""


class Pairs(NamedTuple):
    """pytorch-metric-learning's ``indices_tuple`` of four: anchors with positives, anchors with negatives."""

    anchors: Tensor  # (n,)
    positives: Tensor  # (n,)
    negative_anchors: Tensor  # (m,)
    negatives: Tensor  # (m,)


def pairs_of(speakers: Tensor, clusters: Tensor, negatives: str = CLUSTERS) -> Pairs:
    """All pairs of a batch, in the order of anchors; an utterance is no pair with itself.

    Positive: the same speaker and the same cluster. Negative: the same speaker and another cluster.

    Args:
        speakers: ``(batch,)``, whole numbers
        clusters: ``(batch,)``, of the speaker; numbers of different speakers say nothing about each other
        negatives: ``clusters``, or ``speakers`` for other speakers' utterances too
    """
    same_speaker = speakers[:, None] == speakers
    same_cluster = clusters[:, None] == clusters
    together = same_speaker & same_cluster
    apart = ~together if negatives == SPEAKERS else same_speaker & ~same_cluster
    together = together & ~torch.eye(len(speakers), dtype=torch.bool, device=speakers.device)
    return Pairs(*torch.where(together), *torch.where(apart))
