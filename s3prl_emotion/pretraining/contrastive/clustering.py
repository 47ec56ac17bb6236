"""Clusters of each speaker's embeddings."""

from __future__ import annotations

import logging
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.corpora.manifest import UNLABELLED
from s3prl_emotion.errors import RunError
from s3prl_emotion.pretraining.contrastive import clusters, embed
from s3prl_emotion.pretraining.contrastive.clusters import Clustered
from s3prl_emotion.pretraining.contrastive.plan import ContrastivePlan
from s3prl_emotion.pretraining.contrastive.settings import SpeakerClusterSettings
from s3prl_emotion.pretraining.provenance import Stage
from s3prl_emotion.pretraining.settings import plain

Algorithm = Callable[[np.ndarray, int, SpeakerClusterSettings, int], np.ndarray]


@dataclass(frozen=True)
class SpeakerClusters:
    """The clusters of one speaker.

    Args:
        assigned: a cluster for each utterance, from 0; -1 where its vector has no direction
        usable: the same with -1 where the utterance gives no pairs, and clusters counted anew
        reason: why the speaker gives no pairs; empty if it does
        silhouette: of the number of clusters that was chosen by it
    """

    assigned: np.ndarray
    usable: np.ndarray
    reason: str = ""
    silhouette: float | None = None


def normalised(vectors: np.ndarray) -> np.ndarray:
    r""":math:`v / \lVert v \rVert_2`, float64; a vector of zeros stays one."""
    found = vectors.astype(np.float64)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    unit: np.ndarray = np.divide(found, lengths, out=np.zeros_like(found), where=lengths > 0)
    return unit


def seed_of(seed: int, speaker: str) -> int:
    """A speaker's own seed, so that what is found for one does not depend on the others."""
    return zlib.crc32(f"{seed} {speaker}".encode("utf-8", "surrogatepass"))


def cluster_vectors(vectors: np.ndarray, settings: SpeakerClusterSettings, seed: int) -> SpeakerClusters:
    """Cluster the vectors of one speaker.

    The number of clusters is at most the number of vectors that differ, and so small that each could have
    ``min_utterances`` (ours).

    Args:
        vectors: ``(utterances, width)``, finite
        settings: how
        seed: the speaker's own
    """
    unit = normalised(vectors)
    spoken = np.flatnonzero(unit.any(axis=1))
    assigned = np.full(len(unit), -1, dtype=np.int64)
    silhouette = None
    points = unit[spoken]
    # rounding of two equal clips must not make two clusters of them
    distinct = len(np.unique(np.round(points, 6), axis=0)) if len(points) else 0
    most = min(distinct, len(points) // settings.min_utterances)
    if most >= 2:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of points that are too alike, which is no fault of the user's
            found, silhouette = _chosen(points, most, settings, seed)
        assigned[spoken] = _counted(found)
    elif len(points):
        assigned[spoken] = 0
    return with_reason(assigned, settings.min_utterances, distinct, silhouette)


def with_reason(
    assigned: np.ndarray, min_utterances: int, distinct: int | None = None, silhouette: float | None = None
) -> SpeakerClusters:
    """Which of the assigned utterances give pairs, and why none do.

    Args:
        assigned: a cluster for each utterance of a speaker; -1: in none
        min_utterances: of a cluster that gives pairs
        distinct: how many vectors differ, if that is known
        silhouette: to pass on
    """
    sizes = np.bincount(assigned[assigned >= 0]) if (assigned >= 0).any() else np.zeros(0, dtype=np.int64)
    large = np.flatnonzero(sizes >= min_utterances)
    if len(large) >= 2:
        usable = np.where(np.isin(assigned, large), assigned, -1)
        return SpeakerClusters(assigned, _counted(usable), "", silhouette)
    count, spoken = len(assigned), int((assigned >= 0).sum())
    if count < 2 * min_utterances:
        reason = f"{count} utterance{'' if count == 1 else 's'}: two clusters of {min_utterances} need more"
    elif spoken < 2 * min_utterances:
        reason = f"{count - spoken} of {count} utterances have no vector or label"
    elif distinct == 1:
        reason = f"all {spoken} vectors are the same"
    else:
        listed = ", ".join(map(str, sorted((int(size) for size in sizes if size), reverse=True)))
        reason = f"no two clusters of {min_utterances} utterances or more (sizes {listed})"
    return SpeakerClusters(assigned, np.full(count, -1, dtype=np.int64), reason, silhouette)


def _chosen(
    points: np.ndarray, most: int, settings: SpeakerClusterSettings, seed: int
) -> tuple[np.ndarray, float | None]:
    """Clusters, and the silhouette that chose their number; of equal ones the fewest."""
    algorithm = ALGORITHMS[settings.algorithm]
    if settings.choose == "fixed":
        return algorithm(points, min(settings.clusters, most), settings, seed), None
    from sklearn.metrics import silhouette_score

    best: tuple[float, np.ndarray] | None = None
    for count in range(min(settings.fewest, most), min(settings.most, most, len(points) - 1) + 1):
        found = algorithm(points, count, settings, seed)
        if 1 < len(np.unique(found)) < len(points):
            score = float(silhouette_score(points, found))
            if best is None or score > best[0]:
                best = score, found
    return (np.zeros(len(points), dtype=np.int64), None) if best is None else (best[1], best[0])


def _kmeans(points: np.ndarray, count: int, settings: SpeakerClusterSettings, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    return np.asarray(KMeans(count, n_init=settings.n_init, random_state=seed).fit_predict(points))


def _agglomerative(points: np.ndarray, count: int, settings: SpeakerClusterSettings, seed: int) -> np.ndarray:
    from sklearn.cluster import AgglomerativeClustering

    return np.asarray(AgglomerativeClustering(count).fit_predict(points))


def _gaussian_mixture(points: np.ndarray, count: int, settings: SpeakerClusterSettings, seed: int) -> np.ndarray:
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(count, covariance_type="diag", n_init=settings.n_init, random_state=seed)
    return np.asarray(mixture.fit_predict(points))


ALGORITHMS: dict[str, Algorithm] = {
    "kmeans": _kmeans,
    "agglomerative": _agglomerative,
    "gaussian_mixture": _gaussian_mixture,
}


def _counted(assigned: np.ndarray) -> np.ndarray:
    """Clusters numbered from 0 in the order in which they come up; -1 stays."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(assigned[assigned >= 0].tolist()))}
    return np.array([numbers.get(value, -1) for value in assigned.tolist()], dtype=np.int64)


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
