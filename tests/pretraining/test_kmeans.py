"""Clustering: scikit-learn's own fit and predict, files that may not execute anything, and what clusters follow."""

from __future__ import annotations

import gzip
import pickle
import subprocess
import sys
import zlib
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans

from s3prl_emotion.errors import RunError
from s3prl_emotion.pretraining import _joblib, clustering
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
    mine = clustering.fit(lambda numbers: frames[numbers], len(frames), 12, settings)
    assert mine.steps == theirs.n_steps_
    np.testing.assert_allclose(mine.centroids, theirs.cluster_centers_, rtol=1e-3, atol=1e-3)


def test_labels_are_scikit_learns_predict(frames: np.ndarray) -> None:
    theirs = _sklearn(frames)
    assert (clustering.nearest(frames, theirs.cluster_centers_) == theirs.predict(frames)).all()
    np.testing.assert_allclose(clustering.inertia_of(frames, theirs.cluster_centers_), -theirs.score(frames), rtol=1e-4)


def test_memory_holds_one_batch_at_a_time(frames: np.ndarray) -> None:
    asked: list[int] = []

    def gather(numbers: np.ndarray) -> np.ndarray:
        asked.append(len(numbers))
        return frames[numbers]

    clustering.fit(gather, len(frames), 12, SETTINGS)
    assert max(asked) == 3 * SETTINGS.batch_size
    assert set(asked[1 + SETTINGS.n_init :]) == {SETTINGS.batch_size}


def test_fewer_frames_than_clusters() -> None:
    with pytest.raises(RunError, match="12 clusters of 5 frames"):
        clustering.fit(lambda numbers: np.zeros((len(numbers), 2), np.float32), 5, 12, SETTINGS)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_joblib_file_gives_its_centroids(frames: np.ndarray, tmp_path: Path, protocol: int) -> None:
    theirs = _sklearn(frames)
    path = tmp_path / "km.bin"
    joblib.dump(theirs, path, protocol=protocol)
    np.testing.assert_array_equal(clustering.read_centroids(path, 6), theirs.cluster_centers_)


@pytest.mark.parametrize("compress", [True, ("zlib", 9), ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_a_compressed_joblib_file(frames: np.ndarray, tmp_path: Path, compress: object) -> None:
    theirs = _sklearn(frames)
    path = tmp_path / "km.bin"
    joblib.dump(theirs, path, compress=compress)
    np.testing.assert_array_equal(clustering.read_centroids(path, 6), theirs.cluster_centers_)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(RunError, match=r"km.bin: .*(cut off|not readable|compression cannot be read)"):
        clustering.read_centroids(path, 6)


def test_a_compression_that_holds_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_joblib, "_MOST_UNPACKED", 1 << 20)
    for name, packed in (("zlib", zlib.compress(b"\x80" * (4 << 20))), ("gzip", gzip.compress(b"\x80" * (4 << 20)))):
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(RunError, match="holds more than 1 MB when it is unpacked"):
            clustering.read_centroids(tmp_path / name, 6)
    (tmp_path / "lz4").write_bytes(b"\x04\x22\x4d\x18" + bytes(20))
    with pytest.raises(RunError, match="compressed by lz4, which is not read here"):
        clustering.read_centroids(tmp_path / "lz4", 6)


def test_centroids_in_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", np.arange(12.0).reshape(3, 4))
    assert clustering.read_centroids(tmp_path / "c.npy", 4).dtype == np.float32
    with pytest.raises(
        RunError, match=r"c.npy: its centroids have width 4, the hidden states have 16: .* another model"
    ):
        clustering.read_centroids(tmp_path / "c.npy", 16)


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
            clustering.read_centroids(tmp_path / f"{name}.bin", 6)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "neither .npy nor"),
        (b"hello", "neither .npy nor a file of joblib"),
        (b"\x80\x04", "not readable as a file of joblib"),
        (pickle.dumps({"a": 1}), "holds no k-means: cluster_centers_ is missing"),
        (b"\x93NUMPY\x01\x00garbage", "Expected centroids"),
        (b"\x93NUMPY\x01\x00\x08\x00{'a': ((", "Expected centroids"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "km").write_bytes(content)
    with pytest.raises(RunError, match=message):
        clustering.read_centroids(tmp_path / "km", 6)


def test_a_file_that_is_cut_off_or_missing(frames: np.ndarray, tmp_path: Path) -> None:
    joblib.dump(_sklearn(frames), tmp_path / "km.bin")
    whole = (tmp_path / "km.bin").read_bytes()
    (tmp_path / "km.bin").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"km.bin: .*(cut off|not readable)"):
        clustering.read_centroids(tmp_path / "km.bin", 6)
    with pytest.raises(RunError, match=r"nothing.bin: no such file"):
        clustering.read_centroids(tmp_path / "nothing.bin", 6)


def test_centroids_that_are_equal(tmp_path: Path) -> None:
    """One label for every frame is nothing to predict."""
    for name, centroids in (("one", np.ones((1, 4))), ("equal", np.ones((5, 4)))):
        np.save(tmp_path / f"{name}.npy", centroids)
        with pytest.raises(RunError, match=rf"{name}.npy: its {len(centroids)} centroids are equal"):
            clustering.read_centroids(tmp_path / f"{name}.npy", 4)


_HEAD = b"\x80\x02csklearn.cluster\nKMeans\n)R}U\x10cluster_centers_"
_END = b"sb."
_FLOAT = b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
_OBJECT = _FLOAT.replace(b"U\x02f8", b"U\x02O8")
_DEEP = b"\x80\x02}" + b")" + b"\x85" * 90_000


def _wrapped(shape: bytes, dtype: bytes = _FLOAT, data: bytes = b"") -> bytes:
    head = b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)R}(U\x08subclasscnumpy\nndarray\nU\x05shape" + shape
    return _HEAD + head + b"U\x05orderU\x01CU\x05dtype" + dtype + b"ub" + data + _END


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(_HEAD + b"cnumpy\nndarray\n(K\x02K\x02\x86" + _FLOAT + b"tR" + _END, "no array of", id="memory"),
        pytest.param(_HEAD + b"cnumpy\nndarray\n(K\x02\x85" + _OBJECT + b"tR" + _END, "no array of", id="addresses"),
        pytest.param(_wrapped(b"K\x02K\x02\x86", _OBJECT, bytes(32)), "holds objects", id="objects"),
        pytest.param(_wrapped(b"K\x02K\x02\x86", _FLOAT.replace(b"f8", b"f9"), bytes(36)), "no array", id="f9"),
        pytest.param(_wrapped(b"K\x02K\x02\x86", _FLOAT.replace(b"f8", b"V8"), bytes(36)), "no numbers", id="V8"),
        pytest.param(_wrapped(b"K\x02K\x02\x86", b"U\x02f8", bytes(36)), "a str stands for a _Made", id="a text"),
        pytest.param(_wrapped(b"J\xff\xff\xff\x7fK\x02\x86"), "has the shape", id="long"),
        pytest.param(_wrapped(b"J\xff\xff\xff\xffK\x02\x86"), "has the shape", id="negative"),
        pytest.param(_wrapped(b"\x8a\x10" + b"\x7f" * 16 + b"K\x02\x86"), "has the shape", id="endless"),
        pytest.param(_wrapped(b"K\x02K\x02\x86"), "cut off", id="cut"),
        pytest.param(_wrapped(b"G" + bytes(8) + b"K\x02\x86"), "has the shape", id="a float for a length"),
        pytest.param(_DEEP + b"K\x01s.", "a tuple stands for a str", id="a deep key"),
        pytest.param(_DEEP + b".", "holds no k-means", id="a deep value"),
        pytest.param(b"\x80\x02" + b"N" * 200_000, "more than 100000 instructions", id="many"),
        pytest.param(b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f.", "not readable|no k-means|takes more", id="a frame"),
        pytest.param(b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.", "not readable", id="bytes without end"),
        pytest.param(b"\x80\x02\x82\x01.", "the instruction EXT1", id="an extension"),
        pytest.param(b"\x80\x02U\x01aQ.", "the instruction BINPERSID", id="a persistent id"),
        pytest.param(b"\x80\x02(U\x01aiposix\nsystem\n.", "the instruction INST", id="an instance"),
        pytest.param(b"\x80\x02(cposix\nsystem\no.", "imports posix.system", id="a function"),
        pytest.param(b"\x80\x02csklearn.\x1b[31m\nx\n0cposix\x1b\nsystem\n.", r"imports posix\\x1b", id="an escape"),
        pytest.param(b"\x80\x02R.", "takes more values than it gives", id="an empty stack"),
        pytest.param(b"\x80\x02h\x07.", "KeyError", id="no such memo"),
    ],
)
def test_a_file_made_by_hand(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "km.bin").write_bytes(content)
    with pytest.raises(RunError, match=message) as caught:
        clustering.read_centroids(tmp_path / "km.bin", 2)
    assert "km.bin" in str(caught.value)


def test_an_npy_file_that_claims_more_than_it_holds(tmp_path: Path) -> None:
    for shape in ((1 << 40, 4), (1 << 62, 4), (1 << 80, 4), (-4, 4)):
        with (tmp_path / "c.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
            file.write(bytes(64))
        with pytest.raises(RunError, match=r"c.npy"):
            clustering.read_centroids(tmp_path / "c.npy", 4)


_FUZZ = """
import random, sys
from pathlib import Path
from s3prl_emotion.errors import RunError
from s3prl_emotion.pretraining.clustering import read_centroids
folder = Path(sys.argv[1])
path = folder / "changed.bin"
generator, read = random.Random(0), 0
for source in sorted(folder.glob("km*.bin")):
    whole = source.read_bytes()
    for _ in range(1000):
        changed = bytearray(whole)
        for _ in range(generator.choice((1, 1, 2, 8, 40))):
            place = generator.randrange(len(changed))
            if generator.random() < 0.2:
                del changed[place : place + generator.randrange(1, 9)]
            else:
                changed[place] = generator.choice((generator.randrange(256), *b".RbsuatNK}](\\x85\\x93\\x8c\\x81"))
        path.write_bytes(changed)
        try:
            read_centroids(path, 6)
            read += 1
        except RunError as error:
            assert "changed.bin" in str(error)
print("read", read)
"""


def test_thousands_of_changed_files_end_no_process(frames: np.ndarray, tmp_path: Path) -> None:
    theirs = _sklearn(frames)
    for protocol in (2, 4):
        joblib.dump(theirs, tmp_path / f"km{protocol}.bin", protocol=protocol)
    (tmp_path / "km0.bin").write_bytes(_wrapped(b"K\x02K\x06\x86", data=bytes(96)))
    ended = subprocess.run([sys.executable, "-c", _FUZZ, tmp_path], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("read ")
