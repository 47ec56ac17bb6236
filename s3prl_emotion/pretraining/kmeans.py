"""MiniBatchKMeans over frames that do not fit into memory, and labels by the nearest centroid.

:func:`fit` draws what ``sklearn.cluster.MiniBatchKMeans.fit`` draws, in its order, and updates by its ``partial_fit``;
only the frames of the current batch are in memory. Sculley, *Web-scale k-means clustering*, WWW 2010.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3prl_emotion.errors import RunError
from s3prl_emotion.files import UNREADABLE
from s3prl_emotion.pretraining._joblib import NotReadable, read_joblib
from s3prl_emotion.pretraining.settings import KMeansSettings

logger = logging.getLogger(__name__)

Gather = Callable[[np.ndarray], np.ndarray]
"""Frames by their numbers: ``(n,)`` to float32 ``(n, width)``."""
_INIT = 3  # batches from which an initialisation is drawn, as in scikit-learn
_ROWS = 20000  # frames that are labelled at a time


@dataclass(frozen=True)
class Fit:
    """What a clustering came to."""

    centroids: np.ndarray  # (clusters, width), float32
    steps: int
    stopped_early: bool


def fit(gather: Gather, count: int, clusters: int, settings: KMeansSettings) -> Fit:
    """Cluster ``count`` frames: k-means++, tolerance 0, reassignment ratio 0, and the given settings.

    Args:
        gather: gives frames by their numbers
        count: of all frames
        clusters: how many
        settings: of the algorithm

    Raises:
        RunError: if there are fewer frames than clusters
    """
    from sklearn.cluster import MiniBatchKMeans

    if count < clusters:
        raise RunError(f"{clusters} clusters of {count} frames: expected at least as many frames as clusters")
    random = np.random.RandomState(settings.seed)
    batch = min(settings.batch_size, count)
    first = min(max(_INIT * batch, _INIT * clusters if _INIT * batch < clusters else 0), count)
    validation = gather(random.randint(0, count, first))
    best, centers = np.inf, None
    for _ in range(settings.n_init):
        candidate = _initial(gather, count, first, clusters, random)
        inertia = inertia_of(validation, candidate)
        if inertia < best:
            best, centers = inertia, candidate
    del validation
    model = MiniBatchKMeans(
        clusters,
        init=centers,
        n_init=1,
        batch_size=batch,
        tol=0.0,
        reassignment_ratio=0.0,
        compute_labels=False,
        random_state=0,  # with these settings partial_fit draws nothing
    )
    steps = settings.max_iter * count // batch
    average: float | None = None
    lowest, without, early = np.inf, 0, False
    for step in range(steps):
        frames = gather(np.minimum((random.random_sample(batch) * count).astype(np.int64), count - 1))
        if step > 0:  # scikit-learn's stopping rule: no better smoothed inertia for so many batches
            inertia = inertia_of(frames, model.cluster_centers_) / batch
            share = min(batch * 2.0 / (count + 1), 1.0)
            average = inertia if average is None else average * (1 - share) + inertia * share
        model.partial_fit(frames)
        if average is None:
            continue
        without = 0 if average < lowest else without + 1
        lowest = min(lowest, average)
        if without >= settings.max_no_improvement:
            early = True
            break
    logger.info("k-means, K = %d: %d batches of %d frames%s", clusters, step + 1, batch, ", stopped early" * early)
    return Fit(np.ascontiguousarray(model.cluster_centers_, dtype=np.float32), step + 1, early)


def _initial(gather: Gather, count: int, first: int, clusters: int, random: np.random.RandomState) -> np.ndarray:
    """k-means++ on a random sample."""
    from sklearn.cluster import kmeans_plusplus

    sample = gather(random.randint(0, count, first)) if first < count else gather(np.arange(count))
    return np.asarray(kmeans_plusplus(sample, clusters, random_state=random)[0])


def distances(frames: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """``|c|² - 2 x·c`` for each frame and centroid: the squared distance less ``|x|²``, which changes no minimum."""
    return np.asarray(np.square(centroids).sum(axis=1) - 2.0 * (frames @ centroids.T))


def nearest(frames: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """The number of the nearest centroid: ``(n, width)`` to int32 ``(n,)``."""
    found = np.empty(len(frames), dtype=np.int32)
    for start in range(0, len(frames), _ROWS):
        rows = slice(start, start + _ROWS)
        found[rows] = distances(frames[rows], centroids).argmin(axis=1)
    return found


def inertia_of(frames: np.ndarray, centroids: np.ndarray) -> float:
    """The sum of squared distances to the nearest centroids."""
    total = 0.0
    for start in range(0, len(frames), _ROWS):
        rows = frames[start : start + _ROWS]
        total += float((np.square(rows).sum(axis=1) + distances(rows, centroids).min(axis=1)).sum(dtype=np.float64))
    return max(total, 0.0)


def read_centroids(path: Path, width: int) -> np.ndarray:
    """Centroids of a given k-means: plain ones in ``.npy``, or what scikit-learn or fairseq wrote with joblib.

    Nothing that the file holds is executed.

    Args:
        path: the file
        width: of the hidden states that are to be labelled

    Raises:
        RunError: if it is missing, no k-means, or of another width
    """
    if not path.is_file():
        raise RunError(f"k-means {path}: no such file")
    try:
        with np.errstate(over="ignore"):
            found = np.load(path, mmap_mode="r", allow_pickle=False) if _is_npy(path) else read_joblib(path)
    except (NotReadable, *UNREADABLE) as error:
        raise RunError(
            f"k-means {path}: {str(error)[:300] or type(error).__name__}. Expected centroids (clusters, width) saved "
            "by numpy.save, or a k-means of scikit-learn written by joblib.dump"
        ) from error
    if found.ndim != 2 or found.dtype not in (np.float32, np.float64) or not np.isfinite(found).all():
        raise RunError(
            f"k-means {path}: expected finite centroids (clusters, width), found {found.dtype} {found.shape}"
        )
    if len(np.unique(found, axis=0)) < 2:
        raise RunError(f"k-means {path}: its {len(found)} centroids are equal, expected at least 2 different ones")
    if found.shape[1] != width:
        raise RunError(
            f"k-means {path}: its centroids have width {found.shape[1]}, the hidden states have {width}: it belongs to "
            "another model"
        )
    return np.array(found, dtype=np.float32, order="C")


def _is_npy(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(6) == b"\x93NUMPY"
