"""k-means of frames: states, training and labels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import RunError
from s3prl_emotion.files import UNREADABLE
from s3prl_emotion.pretraining._joblib import NotReadable, read_joblib
from s3prl_emotion.pretraining.labels import PseudoLabels, save_array
from s3prl_emotion.pretraining.settings import KMeansSettings
from s3prl_emotion.pretraining.states import FrameFile, StoredStates

# MiniBatchKMeans over frames that do not fit into memory, and labels by the nearest centroid.
#
# :func:`fit` draws what ``sklearn.cluster.MiniBatchKMeans.fit`` draws, in its order, and updates by its
# ``partial_fit``; only the frames of the current batch are in memory. Sculley, *Web-scale k-means clustering*, WWW
# 2010.

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


CENTROIDS = "centroids.npy"
SILHOUETTE_FRAMES = 5000
"""Drawn for the silhouette, which takes the square of them."""
INFORMATION_FRAMES = 100_000
"""Drawn for the mutual information."""


def cluster(
    states: StoredStates,
    layer: int,
    clusters: int,
    given: Path | None,
    settings: KMeansSettings,
    manifest: Manifest,
    folder: Path,
) -> dict[str, Any]:
    """Cluster one layer's frames, or label them by a given k-means; write centroids and labels into ``folder``.

    Args:
        states: of the manifest's utterances
        layer: which
        clusters: how many
        given: a k-means to use in place of one fitted here
        settings: of the fit
        manifest: the utterances, in the order of ``states``
        folder: gets ``centroids.npy``, ``labels.json`` and ``labels.npy``

    Returns:
        what :func:`report` says, and how the centroids came about

    Raises:
        RunError: if the given k-means does not fit, there are fewer frames than clusters, or all are in one of them
    """
    centroids = None if given is None else read_centroids(given, states.width)
    with FrameFile(folder / ".frames", states, layer) as frames:
        about: dict[str, Any] = {"layer": layer, "frames": frames.count}
        if centroids is None:
            found = fit(frames.gather, frames.count, clusters, settings)
            centroids = found.centroids
            about.update(fitted=True, batches=found.steps, stopped_early=found.stopped_early)
        else:
            about.update(fitted=False, given=str(given))
        labels = np.empty(frames.count, dtype=np.int32)
        inertia = 0.0
        for start in range(0, frames.count, _ROWS):
            end = min(start + _ROWS, frames.count)
            rows = frames.rows(start, end)
            labels[start:end] = nearest(rows, centroids)
            inertia += inertia_of(rows, centroids)
        if labels.min() == labels.max():
            raise RunError(
                f"layer {layer}: all {frames.count} frames are nearest to one of {len(centroids)} clusters, so "
                "there is nothing to predict: the hidden states do not differ, or the k-means belongs to another model"
            )
        about.update(clusters=len(centroids), inertia=inertia / frames.count)
        about.update(report(frames, labels, len(centroids), manifest, settings.seed))
    save_array(folder / CENTROIDS, centroids)
    ends = np.cumsum(frames.lengths)
    ids = [item.id for item in manifest.utterances]
    parts = {name: labels[end - count : end] for name, count, end in zip(ids, frames.lengths, ends, strict=True)}
    PseudoLabels(len(centroids), parts).write(folder)
    return about


def report(frames: FrameFile, labels: np.ndarray, clusters: int, manifest: Manifest, seed: int) -> dict[str, Any]:
    """Sizes of clusters, their silhouette, and how much they tell of emotion, speaker and sentence.

    Returns:
        ``sizes``: ``used`` clusters, ``smallest``, ``median`` and ``largest`` number of frames; ``silhouette`` of a
        random sample, None with one cluster; ``ami``: adjusted mutual information (arithmetic mean; 0 by chance, 1 if
        they say the same) with ``emotion``, ``speaker`` and ``sentence``, over frames of a random sample; None where
        all frames are of one kind, or a text is missing
    """
    sizes = np.bincount(labels, minlength=clusters)
    drawn = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(frames.lengths)), frames.lengths)
    return {
        "sizes": {
            "used": int((sizes > 0).sum()),
            "smallest": int(sizes.min()),
            "median": float(np.median(sizes)),
            "largest": int(sizes.max()),
        },
        "silhouette": _silhouette(frames, labels, drawn),
        "ami": information(labels, owner, manifest, drawn),
        "sampled": {
            "silhouette": min(SILHOUETTE_FRAMES, frames.count),
            "ami": min(INFORMATION_FRAMES, frames.count),
        },
    }


def _silhouette(frames: FrameFile, labels: np.ndarray, drawn: np.random.Generator) -> float | None:
    from sklearn.metrics import silhouette_score

    chosen = np.sort(drawn.choice(frames.count, min(SILHOUETTE_FRAMES, frames.count), replace=False))
    kinds = len(np.unique(labels[chosen]))
    if not 1 < kinds < len(chosen):
        return None
    return float(silhouette_score(frames.gather(chosen), labels[chosen]))


def information(
    labels: np.ndarray, owner: np.ndarray, manifest: Manifest, drawn: np.random.Generator
) -> dict[str, float | None]:
    """Adjusted mutual information of frame labels with what is known of the frames' utterances."""
    from sklearn.metrics import adjusted_mutual_info_score

    chosen = np.sort(drawn.choice(len(labels), min(INFORMATION_FRAMES, len(labels)), replace=False))
    known: dict[str, Sequence[str | None]] = {
        "emotion": [item.label for item in manifest.utterances],
        "speaker": [item.speaker for item in manifest.utterances],
        "sentence": [item.text for item in manifest.utterances],
    }
    found: dict[str, float | None] = {}
    for name, values in known.items():
        if None in values or len(set(values)) < 2:
            found[name] = None
            continue
        numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
        kinds = np.array([numbers[value] for value in values])
        found[name] = float(adjusted_mutual_info_score(kinds[owner[chosen]], labels[chosen]))
    return found


def unigram_accuracy(labels: PseudoLabels, train: Sequence[str], dev: Sequence[str]) -> dict[str, float]:
    """What guessing gives on dev: ``chance``, any label; ``unigram``, the most frequent label of the training part."""
    counts = np.zeros(labels.classes, dtype=np.int64)
    for name in train:
        counts += np.bincount(labels.of[name], minlength=labels.classes)
    flat = np.concatenate([labels.of[name] for name in dev])
    return {"chance": 1 / labels.classes, "unigram": float((flat == counts.argmax()).mean())}
