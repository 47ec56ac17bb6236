"""Stage 2: clusters within each speaker, of what a fold hears. Labels are not looked at, but for the upper bound."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.corpora.manifest import UNLABELLED
from s3prl_emotion.errors import RunError
from s3prl_emotion.pretraining.contrastive import clusters, embed
from s3prl_emotion.pretraining.contrastive.clustering import SpeakerClusters, cluster_vectors, seed_of, with_reason
from s3prl_emotion.pretraining.contrastive.clusters import Clustered
from s3prl_emotion.pretraining.contrastive.plan import ContrastivePlan
from s3prl_emotion.pretraining.contrastive.settings import SpeakerClusterSettings
from s3prl_emotion.pretraining.provenance import Stage
from s3prl_emotion.pretraining.settings import plain

logger = logging.getLogger(__name__)

NAME = "cluster"
_SHOWN = 5


def stage_of(plan: ContrastivePlan, fold: int | None) -> Stage:
    """The stage for a fold."""
    settings = plain(plan.settings.cluster)
    del settings["shuffles"]  # of the analysis
    return plan.stage(NAME, fold, settings, {"embeddings": embed.input_of(plan, NAME)})


def run(plan: ContrastivePlan, fold: int | None) -> dict[str, Any]:
    """Cluster what a fold hears, and write ``clusters.jsonl`` and ``cluster.json``.

    Returns:
        the stage's record

    Raises:
        RunError: if no speaker gives pairs
    """
    stage = stage_of(plan, fold)
    done = stage.finished()
    if done is not None:
        logger.info("%s: finished already", stage)
        return done
    speech = plan.heard(fold)
    heard = {item.corpus for item in speech.utterances}
    if silent := [source.name for source in plan.sources if source.name not in heard]:
        logger.warning("%s: nothing of %s is heard: all of it is held out", stage, ", ".join(silent))
    with stage.working():
        groups = cluster(embed.read(plan, speech), speech, plan.settings.cluster, plan.wanted.seed)
        about = summary(groups)
        if not about["used"]:
            name, reason = next(iter(about["unused"].items()))
            raise RunError(
                f"{stage}: none of {about['speakers']} speakers gives pairs, such as {name}: {reason}. Hear more "
                "speech of each speaker, or lower cluster.min_utterances or cluster.clusters"
            )
        _say(about, str(stage))
        cluster_of = {
            speech.utterances[index].id: None if number < 0 else int(number)
            for _, members, found in groups
            for index, number in zip(members, found.usable, strict=True)
        }
        rows = [Clustered.of(item, cluster_of[item.id]) for item in speech.utterances]
        record = stage.record()
        clusters.write(stage.folder, rows, {"settings": record["settings"], "inputs": record["inputs"], **about})
        return stage.finish({key: value for key, value in about.items() if key != "unused"})


Found = list[tuple[str, list[int], SpeakerClusters]]
"""A speaker, the positions of their utterances, and their clusters."""


def cluster(vectors: np.ndarray, speech: Manifest, settings: SpeakerClusterSettings, seed: int) -> Found:
    """Clusters of each speaker, sorted by name; time and memory grow with the number of speakers.

    Args:
        vectors: ``(utterances, width)``, one for each utterance of ``speech``
        speech: whose
        settings: how
        seed: of the run
    """
    found: Found = []
    with threadpool_limits(1):  # many small problems: threads cost more than they give
        for speaker, members in by_speaker(speech):
            own = seed_of(seed, speaker)
            if settings.by == "labels":
                groups = with_reason(_labelled(speech, members), settings.min_utterances)
            else:
                groups = cluster_vectors(vectors[members], settings, own)
            if settings.by == "random":
                groups = shuffled(groups, np.random.default_rng(own), settings.min_utterances)
            found.append((speaker, members, groups))
    return found


def by_speaker(speech: Manifest) -> Iterator[tuple[str, list[int]]]:
    """Speakers, sorted, with the positions of their utterances."""
    members: dict[str, list[int]] = {}
    for index, item in enumerate(speech.utterances):
        members.setdefault(item.speaker, []).append(index)
    yield from sorted(members.items())


def shuffled(groups: SpeakerClusters, drawn: np.random.Generator, min_utterances: int) -> SpeakerClusters:
    """Clusters of the same sizes, drawn at random."""
    assigned = groups.assigned.copy()
    spoken = np.flatnonzero(assigned >= 0)
    assigned[spoken] = drawn.permutation(assigned[spoken])
    found = with_reason(assigned, min_utterances)
    return SpeakerClusters(found.assigned, found.usable, groups.reason or found.reason)


def summary(groups: Found) -> dict[str, Any]:
    """What came out, for the record.

    Returns:
        ``speakers``; ``used``, how many give pairs; ``utterances`` and ``usable``; ``clusters``, how many speakers have
        how many usable clusters; ``silhouette``, its mean where it chose; ``unused``, speakers that give no pairs, and
        why
    """
    counts: dict[str, int] = {}
    for _, _, found in groups:
        if not found.reason:
            key = str(int(found.usable.max()) + 1)
            counts[key] = counts.get(key, 0) + 1
    chosen = [found.silhouette for _, _, found in groups if found.silhouette is not None]
    return {
        "speakers": len(groups),
        "used": sum(not found.reason for _, _, found in groups),
        "utterances": sum(len(members) for _, members, _ in groups),
        "usable": int(sum((found.usable >= 0).sum() for _, _, found in groups)),
        "clusters": dict(sorted(counts.items(), key=lambda item: int(item[0]))),
        "silhouette": sum(chosen) / len(chosen) if chosen else None,
        "unused": {speaker: found.reason for speaker, _, found in groups if found.reason},
    }


def _labelled(speech: Manifest, members: Sequence[int]) -> np.ndarray:
    """Emotions as clusters; -1 where nobody knows."""
    numbers = {label: number for number, label in enumerate(speech.labels) if label != UNLABELLED}
    return np.array([numbers.get(speech.utterances[index].label, -1) for index in members], dtype=np.int64)


def _say(about: dict[str, Any], stage: str) -> None:
    logger.info("%s: %d of %d speakers give pairs", stage, about["used"], about["speakers"])
    unused = list(about["unused"].items())
    if unused:
        shown = "; ".join(f"{name}: {reason}" for name, reason in unused[:_SHOWN])
        more = f"; and {len(unused) - _SHOWN} more, see {clusters.ABOUT}" if len(unused) > _SHOWN else ""
        logger.warning("%s: %d speakers give no pairs: %s%s", stage, len(unused), shown, more)
