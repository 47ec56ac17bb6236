"""The centroids in a file of joblib, without executing what the file asks for.

A joblib file is a pickle in which each array is a description followed by the array's bytes. Here every class but
numpy's own arrays becomes an inert record of what it was given; whatever else the pickle imports is refused.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

CENTROIDS = "cluster_centers_"
_INERT = ("sklearn.", "numpy.random.")
_NUMPY = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
_MOST_BYTES = 1 << 32
_MOST_UNPACKED = 1 << 30
_PICKLE = b"\x80"
_COMPRESSIONS: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZ": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
    b"\x5d\x00": lzma.LZMAFile,
}
_ZLIB = b"\x78"
_NOT_HERE = {b"\x04\x22\x4d\x18": "lz4"}
_PythonUnpickler: Any = pickle._Unpickler  # type: ignore[attr-defined]  # its C twin cannot be taught a new BUILD


class NotReadable(Exception):
    """The file is no k-means, or wants to execute something."""


class _Record:
    """Stands for an object of a class that is not built: what it was given, and its state."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Record):
    """joblib's description of an array whose bytes follow."""

    def read(self, file: BinaryIO) -> np.ndarray:
        state = self.state
        dtype, shape = state["dtype"], tuple(int(size) for size in state["shape"])
        if not isinstance(dtype, np.dtype) or dtype.hasobject:
            raise NotReadable("refused, because an array in it holds objects, which are pickles of their own")
        if state.get("numpy_array_alignment_bytes") is not None:
            file.read(file.read(1)[0])
        count = int(np.prod(shape, dtype=np.int64))
        if not 0 <= count * dtype.itemsize <= _MOST_BYTES:
            raise NotReadable(f"an array in it has the shape {shape}")
        data = file.read(count * dtype.itemsize)
        if len(data) != count * dtype.itemsize:
            raise NotReadable("the file is cut off")
        array = np.frombuffer(data, dtype=dtype, count=count)
        return array.reshape(shape[::-1]).T if state.get("order") == "F" else array.reshape(shape)


class _Reader(_PythonUnpickler):  # type: ignore[misc]
    """Builds nothing but plain values, numpy's arrays and records."""

    dispatch: ClassVar[dict[int, Any]] = dict(_PythonUnpickler.dispatch)

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.source = file

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _NUMPY:
            return _NUMPY[module, name]
        if module == "joblib.numpy_pickle" and name == "NumpyArrayWrapper":
            return _Array
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "scalar":
            return _scalar
        if f"{module}.".startswith(_INERT):
            return _Record
        raise NotReadable(f"refused, because it imports {module}.{name}. Nothing was executed")

    def load_build(self) -> None:
        super().load_build()
        if isinstance(self.stack[-1], _Array):
            self.stack[-1] = self.stack[-1].read(self.source)

    dispatch[pickle.BUILD[0]] = load_build


def _scalar(dtype: Any, data: bytes = b"") -> Any:
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise NotReadable("refused, because a number in it is an object")
    return np.frombuffer(data, dtype=dtype)[0]


def read_joblib(path: Path) -> np.ndarray:
    """``cluster_centers_`` of the estimator in a file of joblib, compressed or not.

    Raises:
        NotReadable: if it is no such file, is compressed by lz4, or imports anything but a k-means
    """
    with path.open("rb") as opened:
        file = _unpacked(opened)
        if file.read(1) != _PICKLE:
            raise NotReadable("neither .npy nor a file of joblib")
        file.seek(0)
        reader = _Reader(file)
        try:
            content = reader.load()
        except (pickle.UnpicklingError, EOFError, IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise NotReadable(f"not readable as a file of joblib ({type(error).__name__}: {error})") from error
    state = getattr(content, "state", None)
    if not isinstance(state, dict) or not isinstance(state.get(CENTROIDS), np.ndarray):
        raise NotReadable(f"holds no k-means: {CENTROIDS} is missing")
    return np.asarray(state[CENTROIDS])


def _unpacked(file: BinaryIO) -> BinaryIO:
    """The file itself, or what is compressed in it, of bounded size."""
    start = file.read(6)
    file.seek(0)
    for magic, name in _NOT_HERE.items():
        if start.startswith(magic):
            raise NotReadable(f"compressed by {name}, which is not read here")
    try:
        if start.startswith(_ZLIB):
            unpacked = zlib.decompressobj().decompress(file.read(), _MOST_UNPACKED + 1)
        else:
            found = [opener for magic, opener in _COMPRESSIONS.items() if start.startswith(magic)]
            if not found:
                return file
            unpacked = found[0](file).read(_MOST_UNPACKED + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise NotReadable(f"its compression cannot be read ({error})") from error
    if len(unpacked) > _MOST_UNPACKED:
        raise NotReadable(f"holds more than {_MOST_UNPACKED >> 20} MB when it is unpacked")
    return io.BytesIO(unpacked)
