"""Pairs from clusters, their batches, and the dev split."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from s3prl_emotion.errors import RunError
from s3prl_emotion.pretraining.batches import Stream, generator
from s3prl_emotion.pretraining.contrastive.settings import DevSettings

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


Groups = dict[str, dict[int, list[int]]]
"""Utterances by speaker and cluster."""


def split_dev(groups: Groups, settings: DevSettings, seed: int) -> tuple[Groups, Groups]:
    """What is trained on, and what is held out. Each gives pairs by itself.

    ``utterances``: of each cluster that keeps two, a share and at least two, where two of a speaker's clusters can give
    as many. ``speakers``: a share of the speakers and at least one, with all that is theirs.

    Raises:
        RunError: if nothing can be held out
    """
    held = _speakers(groups, settings, seed) if settings.of == "speakers" else _utterances(groups, settings, seed)
    train: Groups = {}
    for speaker, own in groups.items():
        out = held.get(speaker, {})
        kept = {key: [item for item in items if item not in set(out.get(key, ()))] for key, items in own.items()}
        kept = {key: items for key, items in kept.items() if items}
        if kept:
            train[speaker] = kept
    return train, held


def _speakers(groups: Groups, settings: DevSettings, seed: int) -> Groups:
    names = list(groups)
    if len(names) < 2:
        raise RunError(
            f"training.dev.of: speakers needs two speakers that give pairs, found {', '.join(names) or 'none'}. Hold "
            "out utterances: -o training.dev.of=utterances"
        )
    count = min(len(names) - 1, max(1, round(settings.share * len(names))))
    order = generator(seed, "dev", 0, 0).permutation(len(names)).tolist()
    chosen = {names[place] for place in order[:count]}
    return {name: own for name, own in groups.items() if name in chosen}


def _utterances(groups: Groups, settings: DevSettings, seed: int) -> Groups:
    drawn = generator(seed, "dev", 0, 0)
    held: Groups = {}
    for speaker, own in groups.items():
        out: dict[int, list[int]] = {}
        for key, items in own.items():
            count = max(2, round(settings.share * len(items)))
            order = drawn.permutation(len(items)).tolist()
            if len(items) - count >= 2:
                out[key] = [items[place] for place in sorted(order[:count])]
        if len(out) >= 2:
            held[speaker] = out
    if not held:
        raise RunError(
            "training.dev.of: utterances needs a speaker with two clusters of at least four utterances: two to train "
            "on and two to hold out. Hold out whole speakers: -o training.dev.of=speakers"
        )
    return held


# Batches of P speakers x C clusters x M utterances, as functions of the seed and the step.
#
# Epochs follow each other, and each holds every usable utterance at least once: an utterance is usable if its cluster
# has another one, and its speaker another such cluster.

Cell = list[int]
"""Utterances of one speaker: M of each of C clusters."""


def usable(speakers: Sequence[str], clusters: Sequence[int | None]) -> dict[str, dict[int, list[int]]]:
    """Positions of the utterances that give pairs, by speaker and cluster, in their order.

    Args:
        speakers: of each utterance
        clusters: of each utterance, of its speaker; None where it is in none
    """
    groups: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, (speaker, cluster) in enumerate(zip(speakers, clusters, strict=True)):
        if cluster is not None:
            groups[speaker][cluster].append(place)
    pairs = {name: {key: items for key, items in own.items() if len(items) > 1} for name, own in groups.items()}
    return {name: own for name, own in pairs.items() if len(own) > 1}


class Sampler:
    """Batches of any step.

    Args:
        groups: from :func:`usable`
        speakers: P, in a batch; fewer where there are not as many
        clusters: C, of a speaker; fewer where there are not as many
        utterances: M, of a cluster; fewer where there are not as many
        parts: batches of a step
        seed: of the run

    Raises:
        RunError: if nobody gives pairs
    """

    def __init__(
        self,
        groups: dict[str, dict[int, list[int]]],
        speakers: int,
        clusters: int,
        utterances: int,
        parts: int,
        seed: int,
    ) -> None:
        if not groups:
            raise RunError(
                "no speaker gives pairs: two clusters of at least two utterances are needed of one speaker at least"
            )
        self.groups = [list(own.values()) for own in groups.values()]
        self.speakers, self.clusters, self.utterances = speakers, clusters, utterances
        self.parts, self.seed = parts, seed
        self._stream = Stream(self.epoch)

    def members(self, step: int) -> list[list[int]]:
        """The utterances of each batch of a step."""
        return self._stream.cut(step * self.parts, (step + 1) * self.parts)

    def epoch(self, number: int) -> list[list[int]]:
        """Every usable utterance at least once; what fills up the last batches is drawn again.

        Speakers with the most left come first, so that as few as can be are drawn again.
        """
        drawn = generator(self.seed, "pairs", number, 0)
        cells = [self._cells(own, drawn) for own in self.groups]
        heap = [(-len(own), drawn.random(), speaker) for speaker, own in enumerate(cells)]
        heapq.heapify(heap)
        batches = []
        wanted = min(self.speakers, len(cells))
        done: list[int] = []  # speakers without anything left
        while heap:
            chosen = [heapq.heappop(heap) for _ in range(min(wanted, len(heap)))]
            batch = [cells[speaker][-left - 1] for left, _, speaker in chosen]
            if fill := wanted - len(chosen):
                for place in drawn.choice(len(done), size=fill, replace=False).tolist():
                    own = cells[done[place]]
                    batch.append(own[int(drawn.integers(len(own)))])
            for left, _, speaker in chosen:
                if left == -1:
                    done.append(speaker)
                else:
                    heapq.heappush(heap, (left + 1, drawn.random(), speaker))
            batches.append([utterance for cell in batch for utterance in cell])
        return [batches[place] for place in drawn.permutation(len(batches)).tolist()]

    def _cells(self, clusters: Sequence[Sequence[int]], drawn: np.random.Generator) -> list[Cell]:
        """One speaker's utterances in cells, each of C different clusters."""
        piles = [self._chunks(own, drawn) for own in clusters]
        heap = [(-len(pile), drawn.random(), place) for place, pile in enumerate(piles)]
        heapq.heapify(heap)
        wanted = min(self.clusters, len(piles))
        cells: list[Cell] = []
        while heap[0][0] < 0:
            cell: Cell = []
            for left, _, place in [heapq.heappop(heap) for _ in range(wanted)]:
                pile = piles[place]
                cell += pile[-left - 1] if left else pile[int(drawn.integers(len(pile)))]
                heapq.heappush(heap, (min(left + 1, 0), drawn.random(), place))
            cells.append(cell)
        return cells

    def _chunks(self, cluster: Sequence[int], drawn: np.random.Generator) -> list[list[int]]:
        """A cluster's utterances, M at a time; the last are filled up with others of the same cluster."""
        order = [cluster[place] for place in drawn.permutation(len(cluster)).tolist()]
        size = min(self.utterances, len(order))
        chunks = [order[start : start + size] for start in range(0, len(order), size)]
        chunks[-1] += order[: size - len(chunks[-1])]  # of the first chunk, which the last is not
        return chunks
