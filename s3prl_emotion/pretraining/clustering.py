"""From hidden states to frame labels, and what the clusters follow: emotion, voice or words."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import RunError
from s3prl_emotion.pretraining import kmeans
from s3prl_emotion.pretraining.labels import PseudoLabels, save_array
from s3prl_emotion.pretraining.settings import KMeansSettings
from s3prl_emotion.pretraining.states import FrameFile, StoredStates

logger = logging.getLogger(__name__)

CENTROIDS = "centroids.npy"
SILHOUETTE_FRAMES = 5000
"""Drawn for the silhouette, which takes the square of them."""
INFORMATION_FRAMES = 100_000
"""Drawn for the mutual information."""
_ROWS = 20000


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
    centroids = None if given is None else kmeans.read_centroids(given, states.width)
    with FrameFile(folder / ".frames", states, layer) as frames:
        about: dict[str, Any] = {"layer": layer, "frames": frames.count}
        if centroids is None:
            found = kmeans.fit(frames.gather, frames.count, clusters, settings)
            centroids = found.centroids
            about.update(fitted=True, batches=found.steps, stopped_early=found.stopped_early)
        else:
            about.update(fitted=False, given=str(given))
        labels = np.empty(frames.count, dtype=np.int32)
        inertia = 0.0
        for start in range(0, frames.count, _ROWS):
            end = min(start + _ROWS, frames.count)
            rows = frames.rows(start, end)
            labels[start:end] = kmeans.nearest(rows, centroids)
            inertia += kmeans.inertia_of(rows, centroids)
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
