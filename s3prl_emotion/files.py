"""Writing a file so that a reader sees the old content or the new one, never a part; and reading JSON strictly."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pickle
import re
import shutil
import socket
import struct
import sys
import time
import tokenize
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

UNREADABLE = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError),
    *(TypeError, ValueError),
    *(pickle.UnpicklingError, struct.error, tokenize.TokenError),
)
"""What ``torch.load`` and ``numpy.load`` raise for files that are torn, of another kind, or hold what they must not."""
_MOST_TENSORS = 20_000  # in one file; models here have some thousands
_LONGEST_HEADER = 5_000_000  # bytes, which describe them
_HOST = re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname())[:40] or "host"
_TOKEN = uuid.uuid4().hex[:8]  # of this process: a later one may have its number
_TEMPORARY = re.compile(r"\..+\.(?P<host>\w+)-(?P<pid>\d+)-(?P<token>[0-9a-f]{8})\.(?:tmp|old)")
_EARLIER = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")  # as earlier versions named them
_OLD_S = 86400.0
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def write_atomically(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8 to a new file beside ``path``, then put it in the place of ``path``; folders are made.

    A file that holds ``text`` already is left as it is, so that nothing is written where nothing changes.

    Raises:
        OSError: naming ``path``, if it cannot be written; the old file is then untouched
    """
    path, content = Path(path), text.encode("utf-8")
    if _holds(path, content):
        return
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A new path beside ``path``; the file written there takes the place of ``path`` at the end, if nothing fails.

    It is on the disk before it has the name, so that a power failure leaves the old content or the new one too.

    Raises:
        OSError: naming ``path``, if it cannot be written; the old file is then untouched
    """
    path = Path(path)
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        with contextlib.suppress(OSError):  # not every file system can do this with a folder
            _sync(path.parent)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary), temporary):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Force a file, or all files of a folder, to the disk, before it takes the place of another."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            _sync(file)


def _sync(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append(path: str | Path, text: str) -> None:
    """Add ``text`` as UTF-8 at the end of a file.

    Raises:
        OSError: naming ``path``
    """
    with named(path), Path(path).open("a", encoding="utf-8") as file:
        file.write(text)


@contextlib.contextmanager
def named(path: str | Path) -> Iterator[None]:
    """Name ``path`` in an OSError that names no file, as that of a write on a full disk does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def temporary_beside(path: Path, ending: str = "tmp") -> Path:
    """A hidden name beside ``path`` that says which process made it; see :func:`clean_up`."""
    return path.with_name(f".{path.name[:100]}.{_HOST}-{os.getpid()}-{_TOKEN}.{ending}")


def clean_up(folder: Path, pattern: str = ".*.tmp") -> None:
    """Delete the hidden files and folders in ``folder`` that a process which died was writing.

    Those of another host, and of earlier versions, are deleted when they are a day old.
    """
    for path in stale(folder, pattern):
        with contextlib.suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def stale(folder: Path, pattern: str = ".*.tmp") -> list[Path]:
    """The temporary files and folders there whose writer is dead, or that are old."""
    try:
        return sorted(path for path in folder.glob(pattern) if _is_stale(path))
    except OSError:
        return []


def is_read_only(error: OSError) -> bool:
    """Whether a file could not be written because its place is read-only, or belongs to somebody else."""
    return error.errno in _READ_ONLY


def parse_json(text: str | bytes) -> Any:
    """What JSON holds, strictly: no NaN, no infinity, no key twice in an object, no nesting beyond reason.

    Raises:
        ValueError: saying what is wrong
    """
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def check_safetensors(path: Path) -> None:
    """Refuse a safetensors file that describes more tensors than a model has, before each is looked at.

    Raises:
        OSError: if it cannot be read
        ValueError: saying how many there are
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LONGEST_HEADER:
            raise ValueError(f"its header has {length} bytes, expected at most {_LONGEST_HEADER}")
        check_number_of_tensors(file.read(length).count(b'"data_offsets"'))


def check_number_of_tensors(count: int) -> None:
    """Refuse more tensors than a model has.

    Raises:
        ValueError: saying how many there are
    """
    if count > _MOST_TENSORS:
        raise ValueError(f"it holds {count} tensors, expected at most {_MOST_TENSORS}")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number in JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {twice[:80]!r} is given twice")
    return content


def alike(content: Any) -> Any:
    """Containers with equal texts as one object: pickle writes such content, if it is equal, as equal bytes."""
    if type(content) is str:
        return sys.intern(content)
    if type(content) in (dict, OrderedDict):
        made = type(content)((alike(key), alike(value)) for key, value in content.items())
        if hasattr(content, "_metadata"):  # of the state of a module of torch's
            made._metadata = alike(content._metadata)
        return made
    return type(content)(map(alike, content)) if type(content) in (list, tuple) else content


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False


def _is_stale(path: Path) -> bool:
    found = _TEMPORARY.fullmatch(path.name)
    if found is not None and found["host"] == _HOST:
        return found["token"] != _TOKEN if int(found["pid"]) == os.getpid() else not _is_alive(int(found["pid"]))
    if found is None and not _EARLIER.fullmatch(path.name):
        return False
    return time.time() - path.stat().st_mtime > _OLD_S


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def checkpoint_sha256(path: str | None) -> str | None:
    """SHA-256 of a checkpoint file, or of all files of a checkpoint folder with their names; None for no path."""
    if path is None or not Path(path).exists():
        return None
    root = Path(path)
    files: Sequence[Path] = [root] if root.is_file() else sorted(item for item in root.rglob("*") if item.is_file())
    digest = hashlib.sha256()
    for file in files:
        if root.is_dir():
            digest.update(file.relative_to(root).as_posix().encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
