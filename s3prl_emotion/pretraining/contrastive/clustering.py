"""Clusters of one speaker's vectors, by scikit-learn."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from s3prl_emotion.pretraining.contrastive.settings import SpeakerClusterSettings

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
