"""The centroids in a file of joblib, without executing what the file asks for.

A joblib file is a pickle in which each array is a description followed by the array's bytes. Here its instructions are
interpreted on plain values alone: no class, function or object of Python's or numpy's is within the file's reach. What
it would build is noted (:class:`_Made`), and arrays of ``float32`` and ``float64`` are made from their bytes.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import pickletools
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

CENTROIDS = "cluster_centers_"
_KNOWN = ("sklearn.", "numpy.random.", "copyreg.", "copy_reg.", "builtins.object.", "__builtin__.object.")
_NUMPY = ("numpy.ndarray", "numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
_ARRAYS = tuple(f"{place}joblib.numpy_pickle.NumpyArrayWrapper" for place in ("", "sklearn.externals."))
_MOST_BYTES = 1 << 28
_MOST_UNPACKED = 1 << 28
_MOST_INSTRUCTIONS = 100_000  # a k-means has some hundreds
_MOST_AXES = 2
_NUMBER = re.compile(r"([<>=|]?)([biufc])([0-9]{1,2})")
_PICKLE = b"\x80"
_COMPRESSIONS: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZ": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
    b"\x5d\x00": lzma.LZMAFile,
}
_ZLIB = b"\x78"
_NOT_HERE = {b"\x04\x22\x4d\x18": "lz4"}


class NotReadable(Exception):
    """The file is no k-means, or wants to execute something."""


@dataclass(frozen=True)
class _Name:
    """A class or function by its name; it is not looked up."""

    name: str


@dataclass(eq=False)
class _Made:
    """What would be an object: who would make it, from what, and its state."""

    maker: str
    given: Any
    state: Any = None
    values: np.ndarray | None = None  # of an array of floating-point numbers


class _Machine:
    """A pickle's instructions on plain values; what a k-means needs of them, and nothing else."""

    def __init__(self, file: io.BytesIO, size: int) -> None:
        self.file = file
        self.size = size
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The value that the file's first pickle holds."""
        for count, (operation, argument, _) in enumerate(pickletools.genops(self.file)):
            if count > _MOST_INSTRUCTIONS:
                raise NotReadable(f"holds more than {_MOST_INSTRUCTIONS} instructions, which no k-means does")
            if operation.name == "STOP":
                return self.pop()
            self.step(operation.name, argument)
        raise NotReadable("the file is cut off")

    def step(self, name: str, argument: Any) -> None:
        """One instruction."""
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[int(argument)] = self.top()
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.top()
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[int(argument)])
        elif name == "POP":
            self.pop()
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            second, first = (self.pop(), self.pop()) if name == "STACK_GLOBAL" else argument.split(" ", 1)[::-1]
            self.stack.append(_named(first, second))
        elif name in ("REDUCE", "NEWOBJ"):
            given, maker = self.pop(), self.pop()
            self.stack.append(_Made(_maker(maker), given))
        elif name == "BUILD":
            self.build(self.pop())
        elif name in ("TUPLE", "LIST", "DICT"):
            items = self.marked()
            self.stack.append(tuple(items) if name == "TUPLE" else items if name == "LIST" else _pairs(items, {}))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            self.stack.append(tuple(reversed([self.pop() for _ in range(int(name[-1]))])))
        elif name in ("APPEND", "APPENDS"):
            items = self.marked() if name == "APPENDS" else [self.pop()]
            _of(list, self.top()).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self.marked() if name == "SETITEMS" else [self.pop(), self.pop()][::-1]
            _pairs(items, _of(dict, self.top()))
        elif name not in _NOTHING:
            raise NotReadable(f"refused, because it has the instruction {name}, which no k-means has")

    def build(self, state: Any) -> None:
        """Give an object its state; the bytes of an array follow its description."""
        made = _of(_Made, self.top())
        made.state = state
        if made.maker in _ARRAYS:
            made.values = self.array(_of(dict, state))

    def array(self, state: dict[str, Any]) -> np.ndarray | None:
        """The array whose bytes are next in the file; None where it holds other numbers than centroids."""
        order, kind, size = _dtype(state.get("dtype"))
        shape = _of(tuple, state.get("shape"))
        if len(shape) > _MOST_AXES or any(
            type(length) is not int or not 0 <= length <= _MOST_BYTES for length in shape
        ):
            raise NotReadable(f"an array in it has the shape {str(shape)[:80]}")
        if state.get("numpy_array_alignment_bytes") is not None:
            self.file.seek(self.file.read(1)[0], io.SEEK_CUR)
        count = math.prod(shape)
        if count * size > min(_MOST_BYTES, self.size - self.file.tell()):
            raise NotReadable(f"the file is cut off, or an array in it has the shape {shape}")
        data = self.file.read(count * size)
        if kind != "f" or size not in (4, 8):
            return None
        values = np.frombuffer(data, dtype=f"{order}f{size}", count=count).astype(f"f{size}")
        return np.asarray(values.reshape(shape[::-1]).T if state.get("order") == "F" else values.reshape(shape))

    def pop(self) -> Any:
        """The value on top; a mark is a border."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise NotReadable("not readable as a file of joblib: it takes more values than it gives")
        return self.stack.pop()

    def top(self) -> Any:
        """The value on top, which stays there."""
        value = self.pop()
        self.stack.append(value)
        return value

    def marked(self) -> list[Any]:
        """The values above the last mark."""
        if not self.marks:
            raise NotReadable("not readable as a file of joblib: a mark is missing")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items


_VALUES = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    )
)
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_NOTHING = ("PROTO", "FRAME")


def _named(module: Any, name: Any) -> _Name:
    whole = f"{_of(str, module)}.{_of(str, name)}"
    if whole not in (*_NUMPY, *_ARRAYS) and not f"{whole}.".startswith(_KNOWN):
        raise NotReadable(f"refused, because it imports {ascii(whole[:100])[1:-1]}. Nothing was executed")
    return _Name(whole)


def _maker(value: Any) -> str:
    return str(_of(_Name, value).name)


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise NotReadable(f"not readable as a file of joblib: a {type(value).__name__} stands for a {kind.__name__}")
    return value


def _pairs(items: list[Any], into: dict[str, Any]) -> dict[str, Any]:
    """Names and values; keys of other kinds could not be hashed safely, and no k-means has them."""
    for key, value in zip(items[::2], items[1::2], strict=True):
        into[_of(str, key)] = value
    return into


def _dtype(value: Any) -> tuple[str, str, int]:
    """Byte order, kind and size of numbers, from what ``numpy.dtype`` would be given."""
    made = _of(_Made, value)
    given, state = _of(tuple, made.given), _of(tuple, made.state or ())
    found = _NUMBER.fullmatch(given[0]) if given and type(given[0]) is str else None
    if made.maker != "numpy.dtype" or found is None:
        if given and given[0] in ("O", "O8", "|O"):
            raise NotReadable("refused, because an array in it holds objects, which are pickles of their own")
        raise NotReadable("an array in it holds no numbers")
    order = state[1] if len(state) > 1 and state[1] in ("<", ">", "=", "|") else found[1]
    return (order if order in ("<", ">") else "="), found[2], int(found[3])


def read_joblib(path: Path) -> np.ndarray:
    """``cluster_centers_`` of the estimator in a file of joblib, compressed or not.

    Raises:
        NotReadable: if it is no such file, is compressed by lz4, or imports anything but a k-means
    """
    size = path.stat().st_size
    if size > _MOST_UNPACKED:
        raise NotReadable(f"holds {size >> 20} MB, more than {_MOST_UNPACKED >> 20}")
    with path.open("rb") as opened:
        content = _unpacked(opened)
    if not content.startswith(_PICKLE):
        raise NotReadable("neither .npy nor a file of joblib")
    try:
        made = _Machine(io.BytesIO(content), len(content)).run()
    except NotReadable:
        raise
    except (ValueError, LookupError, ArithmeticError, MemoryError, RecursionError, TypeError, AttributeError) as error:
        raise NotReadable(f"not readable as a file of joblib ({type(error).__name__}: {str(error)[:200]})") from error
    state = made.state if isinstance(made, _Made) else None
    found = state.get(CENTROIDS) if isinstance(state, dict) else None
    if not isinstance(found, _Made) or found.values is None:
        raise NotReadable(f"holds no k-means: {CENTROIDS} is missing, or no array of floating-point numbers")
    return found.values


def _unpacked(file: BinaryIO) -> bytes:
    """What the file holds, or what is compressed in it, of bounded size."""
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
            unpacked = (found[0](file) if found else file).read(_MOST_UNPACKED + 1)
    except (OSError, EOFError, ValueError, MemoryError, zlib.error, lzma.LZMAError) as error:
        raise NotReadable(f"its compression cannot be read ({error})") from error
    if len(unpacked) > _MOST_UNPACKED:
        raise NotReadable(f"holds more than {_MOST_UNPACKED >> 20} MB when it is unpacked")
    return bytes(unpacked)
