"""Clusters of one speaker: what is found, what gives no pairs and why, and that nothing else decides it."""

from __future__ import annotations

import numpy as np
import pytest

from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.pretraining.contrastive.clustering import (
    ALGORITHMS,
    SpeakerClusters,
    cluster,
    cluster_vectors,
    normalised,
    summary,
)
from s3prl_emotion.pretraining.contrastive.settings import SpeakerClusterSettings

WIDTH = 16


def blobs(sizes: list[int], seed: int = 0, noise: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around directions of their own, of any length, and which direction each has."""
    rng = np.random.default_rng(seed)
    which = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    vectors = np.eye(WIDTH)[which] + noise * rng.standard_normal((len(which), WIDTH))
    return vectors * rng.uniform(0.1, 10, size=(len(which), 1)), which


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two groupings are the same under other numbers."""
    return len(set(zip(one, other, strict=True))) == len(set(one)) == len(set(other))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("choose", ["fixed", "silhouette"])
def test_directions_are_found_whatever_the_lengths(algorithm: str, choose: str) -> None:
    vectors, which = blobs([6, 5, 4, 7])
    found = cluster_vectors(vectors, SpeakerClusterSettings(algorithm=algorithm, choose=choose), 1)
    assert not found.reason
    assert same(found.assigned, which)
    assert (found.usable == found.assigned).all()
    assert (found.silhouette is not None) == (choose == "silhouette")


@pytest.mark.parametrize("clusters", [2, 3, 6])
def test_silhouette_finds_how_many(clusters: int) -> None:
    vectors, which = blobs([5] * clusters)
    found = cluster_vectors(vectors, SpeakerClusterSettings(choose="silhouette"), 1)
    assert found.assigned.max() + 1 == clusters
    assert same(found.assigned, which)


def test_the_silhouette_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import silhouette_score

    vectors, _ = blobs([5, 6, 7], noise=0.3)
    found = cluster_vectors(vectors, SpeakerClusterSettings(choose="silhouette"), 1)
    assert found.silhouette == pytest.approx(silhouette_score(normalised(vectors), found.assigned), abs=1e-12)


def test_clusters_count_from_0_in_the_order_in_which_they_come() -> None:
    vectors = np.eye(WIDTH)[[2, 2, 0, 0, 1, 1]]
    found = cluster_vectors(vectors, SpeakerClusterSettings(clusters=3), 1)
    assert found.assigned.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("vectors", "reason"),
    [
        (np.eye(WIDTH)[:1], "1 utterance: two clusters of 2 need more"),
        (np.eye(WIDTH)[:3], "3 utterances: two clusters of 2 need more"),
        (np.ones((8, WIDTH)), "all 8 vectors are the same"),
        (np.ones((8, WIDTH)) * np.arange(1, 9)[:, None], "all 8 vectors are the same"),
        (
            np.concatenate([np.ones((7, WIDTH)), -np.ones((1, WIDTH))]),
            "no two clusters of 2 utterances or more (sizes 7, 1)",
        ),
        (np.zeros((8, WIDTH)), "8 of 8 utterances have no vector or label"),
        (np.concatenate([np.zeros((6, WIDTH)), np.eye(WIDTH)[:2]]), "6 of 8 utterances have no vector or label"),
    ],
    ids=["one", "three", "identical", "one direction", "one apart", "silent", "nearly all silent"],
)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("choose", ["fixed", "silhouette"])
def test_speakers_that_give_no_pairs(vectors: np.ndarray, reason: str, algorithm: str, choose: str) -> None:
    found = cluster_vectors(vectors, SpeakerClusterSettings(algorithm=algorithm, choose=choose), 1)
    assert found.reason == reason
    assert (found.usable == -1).all()


def test_every_usable_cluster_is_large_enough() -> None:
    vectors, which = blobs([5, 4, 1, 1])
    found = cluster_vectors(vectors, SpeakerClusterSettings(clusters=4), 1)
    assert same(found.assigned, which)
    sizes = np.bincount(found.usable[found.usable >= 0])
    assert sorted(sizes.tolist()) == [4, 5]
    assert (found.usable == -1).sum() == 2
    assert set(found.usable[found.usable >= 0].tolist()) == {0, 1}


def test_fewer_utterances_than_clusters_are_halved() -> None:
    vectors, which = blobs([2, 2])
    found = cluster_vectors(vectors, SpeakerClusterSettings(clusters=4), 1)
    assert same(found.usable, which)


def speech(sizes: dict[str, int], labels: list[str] | None = None) -> Manifest:
    items = []
    for speaker, count in sizes.items():
        for number in range(count):
            label = (labels or ["ang", "sad"])[number % len(labels or "12")]
            items.append(
                Utterance(f"x/{speaker}{number}", f"/{speaker}{number}.wav", label, f"x:{speaker}", corpus="x")
            )
    return Manifest("x", tuple(sorted({item.label for item in items})), "/", tuple(items))


def vectors_of(some: Manifest, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((len(some.utterances), WIDTH))


def _of(found: list[tuple[str, list[int], SpeakerClusters]], some: Manifest) -> dict[str, int]:
    return {
        some.utterances[index].id: int(number)
        for _, members, groups in found
        for index, number in zip(members, groups.usable, strict=True)
    }


@pytest.mark.parametrize("by", ["embeddings", "random"])
def test_a_speaker_s_clusters_depend_on_nobody_else(by: str) -> None:
    some = speech({"a": 12, "b": 9, "c": 15})
    vectors = vectors_of(some)
    settings = SpeakerClusterSettings(by=by)
    whole = _of(cluster(vectors, some, settings, 3), some)
    kept = [index for index, item in enumerate(some.utterances) if item.speaker != "x:b"]
    fewer = some.with_utterances(some.utterances[index] for index in kept)
    part = _of(cluster(vectors[kept], fewer, settings, 3), fewer)
    assert part == {name: whole[name] for name in part}
    assert whole == _of(cluster(vectors, some, settings, 3), some)


def test_random_clusters_have_the_same_sizes() -> None:
    some = speech({"a": 30})
    vectors = vectors_of(some)
    ((_, _, true),) = cluster(vectors, some, SpeakerClusterSettings(), 3)
    ((_, _, drawn),) = cluster(vectors, some, SpeakerClusterSettings(by="random"), 3)
    assert sorted(np.bincount(true.assigned).tolist()) == sorted(np.bincount(drawn.assigned).tolist())
    assert not same(true.assigned, drawn.assigned)


def test_labels_as_clusters_are_the_labels() -> None:
    some = speech({"a": 12, "b": 12}, ["ang", "sad", "unlabelled"])
    found = _of(cluster(vectors_of(some), some, SpeakerClusterSettings(by="labels"), 3), some)
    for speaker in "ab":
        numbers = {
            label: {found[item.id] for item in some.utterances if (item.speaker, item.label) == (f"x:{speaker}", label)}
            for label in some.labels
        }
        assert numbers == {"ang": {0}, "sad": {1}, "unlabelled": {-1}}


def test_what_the_record_says() -> None:
    some = speech({"a": 8, "b": 1, "c": 3})
    found = summary(cluster(vectors_of(some), some, SpeakerClusterSettings(clusters=2, min_utterances=2), 3))
    assert (found["speakers"], found["utterances"]) == (3, 12)
    assert found["unused"]["x:b"] == "1 utterance: two clusters of 2 need more"
    assert found["unused"]["x:c"] == "3 utterances: two clusters of 2 need more"
    assert found["used"] + len(found["unused"]) == 3
