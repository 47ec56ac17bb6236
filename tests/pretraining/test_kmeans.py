"""Clustering: scikit-learn's own fit and predict, files that may not execute anything, and what clusters follow."""

from __future__ import annotations

import gzip
import pickle
import zlib
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans

from s3prl_emotion.errors import RunError
from s3prl_emotion.pretraining import _joblib, kmeans
from s3prl_emotion.pretraining.settings import KMeansSettings


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(12, 6)) * 3
    return (centres[rng.integers(12, size=5000)] + rng.normal(size=(5000, 6))).astype(np.float32)


SETTINGS = KMeansSettings(n_init=3, max_iter=8, batch_size=400, max_no_improvement=20, seed=7)


def _sklearn(frames: np.ndarray, settings: KMeansSettings = SETTINGS) -> MiniBatchKMeans:
    return MiniBatchKMeans(
        12,
        init="k-means++",
        n_init=settings.n_init,
        max_iter=settings.max_iter,
        batch_size=settings.batch_size,
        tol=0.0,
        max_no_improvement=settings.max_no_improvement,
        reassignment_ratio=0.0,
        random_state=settings.seed,
    ).fit(frames)


@pytest.mark.parametrize(("patience", "seed"), [(20, 7), (3, 7), (1, 0), (1, 2), (2, 5)])
def test_the_fit_is_scikit_learns(frames: np.ndarray, patience: int, seed: int) -> None:
    """The same draws in the same order, so the same centroids and the same number of batches; the impatient ones stop
    where they do only if the smoothed inertia begins with the second batch."""
    settings = KMeansSettings(n_init=3, max_iter=8, batch_size=400, max_no_improvement=patience, seed=seed)
    theirs = _sklearn(frames, settings)
    mine = kmeans.fit(lambda numbers: frames[numbers], len(frames), 12, settings)
    assert mine.steps == theirs.n_steps_
    np.testing.assert_allclose(mine.centroids, theirs.cluster_centers_, rtol=1e-3, atol=1e-3)


def test_labels_are_scikit_learns_predict(frames: np.ndarray) -> None:
    theirs = _sklearn(frames)
    assert (kmeans.nearest(frames, theirs.cluster_centers_) == theirs.predict(frames)).all()
    np.testing.assert_allclose(kmeans.inertia_of(frames, theirs.cluster_centers_), -theirs.score(frames), rtol=1e-4)


def test_memory_holds_one_batch_at_a_time(frames: np.ndarray) -> None:
    asked: list[int] = []

    def gather(numbers: np.ndarray) -> np.ndarray:
        asked.append(len(numbers))
        return frames[numbers]

    kmeans.fit(gather, len(frames), 12, SETTINGS)
    assert max(asked) == 3 * SETTINGS.batch_size
    assert set(asked[1 + SETTINGS.n_init :]) == {SETTINGS.batch_size}


def test_fewer_frames_than_clusters() -> None:
    with pytest.raises(RunError, match="12 clusters of 5 frames"):
        kmeans.fit(lambda numbers: np.zeros((len(numbers), 2), np.float32), 5, 12, SETTINGS)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_joblib_file_gives_its_centroids(frames: np.ndarray, tmp_path: Path, protocol: int) -> None:
    theirs = _sklearn(frames)
    path = tmp_path / "km.bin"
    joblib.dump(theirs, path, protocol=protocol)
    np.testing.assert_array_equal(kmeans.read_centroids(path, 6), theirs.cluster_centers_)


@pytest.mark.parametrize("compress", [True, ("zlib", 9), ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_a_compressed_joblib_file(frames: np.ndarray, tmp_path: Path, compress: object) -> None:
    theirs = _sklearn(frames)
    path = tmp_path / "km.bin"
    joblib.dump(theirs, path, compress=compress)
    np.testing.assert_array_equal(kmeans.read_centroids(path, 6), theirs.cluster_centers_)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(RunError, match=r"km.bin: .*(cut off|not readable|compression cannot be read)"):
        kmeans.read_centroids(path, 6)


def test_a_compression_that_holds_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_joblib, "_MOST_UNPACKED", 1 << 20)
    for name, packed in (("zlib", zlib.compress(b"\x80" * (4 << 20))), ("gzip", gzip.compress(b"\x80" * (4 << 20)))):
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(RunError, match="holds more than 1 MB when it is unpacked"):
            kmeans.read_centroids(tmp_path / name, 6)
    (tmp_path / "lz4").write_bytes(b"\x04\x22\x4d\x18" + bytes(20))
    with pytest.raises(RunError, match="compressed by lz4, which is not read here"):
        kmeans.read_centroids(tmp_path / "lz4", 6)


def test_centroids_in_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", np.arange(12.0).reshape(3, 4))
    assert kmeans.read_centroids(tmp_path / "c.npy", 4).dtype == np.float32
    with pytest.raises(
        RunError, match=r"c.npy: its centroids have width 4, the hidden states have 16: .* another model"
    ):
        kmeans.read_centroids(tmp_path / "c.npy", 16)


class _Execute:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_is_executed(frames: np.ndarray, tmp_path: Path) -> None:
    """Not by the file's own pickle, not by one inside an array of objects, not by an estimator's attribute."""
    marker = tmp_path / "executed"
    model = _sklearn(frames)
    model.extra = _Execute(marker)
    joblib.dump(model, tmp_path / "attribute.bin")
    joblib.dump(_Execute(marker), tmp_path / "plain.bin")
    joblib.dump(np.array([_Execute(marker)], dtype=object), tmp_path / "objects.bin")
    for name in ("attribute", "plain", "objects"):
        with pytest.raises(RunError, match=r"refused, because"):
            kmeans.read_centroids(tmp_path / f"{name}.bin", 6)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "neither .npy nor"),
        (b"hello", "neither .npy nor a file of joblib"),
        (b"\x80\x04", "not readable as a file of joblib"),
        (pickle.dumps({"a": 1}), "holds no k-means: cluster_centers_ is missing"),
        (b"\x93NUMPY\x01\x00garbage", "Expected centroids"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "km").write_bytes(content)
    with pytest.raises(RunError, match=message):
        kmeans.read_centroids(tmp_path / "km", 6)


def test_a_file_that_is_cut_off_or_missing(frames: np.ndarray, tmp_path: Path) -> None:
    joblib.dump(_sklearn(frames), tmp_path / "km.bin")
    whole = (tmp_path / "km.bin").read_bytes()
    (tmp_path / "km.bin").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"km.bin: .*(cut off|not readable)"):
        kmeans.read_centroids(tmp_path / "km.bin", 6)
    with pytest.raises(RunError, match=r"nothing.bin: no such file"):
        kmeans.read_centroids(tmp_path / "nothing.bin", 6)


def test_centroids_that_are_equal(tmp_path: Path) -> None:
    """One label for every frame is nothing to predict."""
    for name, centroids in (("one", np.ones((1, 4))), ("equal", np.ones((5, 4)))):
        np.save(tmp_path / f"{name}.npy", centroids)
        with pytest.raises(RunError, match=rf"{name}.npy: its {len(centroids)} centroids are equal"):
            kmeans.read_centroids(tmp_path / f"{name}.npy", 4)
