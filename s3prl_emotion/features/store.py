"""Hidden states on disk: append-only, memory-mapped, safe for several processes and for a writer that is killed.

A store is a folder for one upstream with one way of extraction::

    key.json            what the entries depend on; its hash is part of the folder's name
    probe.npz           the upstream's states of the probe: a store is found only by an upstream that still gives them
    data-<id>.bin       entries one after the other; each writer has a file of its own, and holds a lock on it
    index-<id>.jsonl    one line per entry, written after the entry's bytes: {"key", "offset", "frames", "crc32"}
    .lock               held, shared, by every process that uses the store, and alone by one that deletes it

An entry is ``(layers, frames, width)`` in row-major order. A reader believes a line only if it is whole and its bytes
are there, and an entry only if its checksum is right, which is computed when the process first reads it. So a writer
that dies leaves at most bytes that nobody reads. Bytes and lines are forced to the disk every half minute: a power
failure costs what was written since, and of that, what is torn is not believed. Reading needs no right to write.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import mmap
import os
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from s3prl_emotion.errors import RunError
from s3prl_emotion.features.forms import Form
from s3prl_emotion.locks import lock

logger = logging.getLogger(__name__)

SCHEMA = 3
"""Goes up when extraction changes what it stores: older entries are then not found any more."""

DTYPES = {"float16": torch.float16, "float32": torch.float32}
ALIGNMENT = 64  # bytes
ABOUT = "key.json"


class DamagedEntry(RunError):
    """Stored states whose checksum is wrong. The message names store and entry."""


@dataclass(frozen=True)
class StoreKey:
    """Everything that an entry depends on, beside the waveform and what the upstream answers to the probe."""

    upstream: str
    weights: str  # fingerprint of the loaded parameters and buffers
    checkpoint_sha256: str | None  # of -k: a folder's settings count too
    model_config_sha256: str | None  # of -g
    selection: str  # S3PRL's -s
    layer: int | None  # S3PRL's -l
    form: Form
    dtype: str
    s3prl: str  # version
    source_sha256: str | None = None  # of the file that defines the upstream, where it is none of S3PRL's
    schema: int = SCHEMA

    def title(self) -> str:
        """The beginning of the folder's name that the stores of an upstream share."""
        return f"{self.upstream.replace('/', '__')}-{self.form}-{self.dtype}-"

    def folder(self) -> str:
        """The name of the store's folder, up to what the probe adds."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{self.title()}{digest[:12]}"


@dataclass(frozen=True)
class StoreShape:
    """What all entries of a store share."""

    layers: int
    width: int
    rate: int  # samples per frame, for S3PRL's get_downsample_rates


@dataclass(frozen=True)
class Entry:
    """Where the states of one utterance are."""

    file: int  # position in the list of data files
    offset: int  # bytes
    frames: int
    crc32: int


class Store:
    """One upstream's hidden states; :func:`~s3prl_emotion.features.lookup.find_store` finds or makes its folder.

    Args:
        folder: of the store

    Raises:
        RunError: if its description cannot be read
        FileNotFoundError: if it has been deleted
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = _hold(folder)
        self.key, self.shape, _ = read_about(folder)
        self.title = self.key.upstream  # in messages
        self.layers, self.width, self.rate = self.shape.layers, self.shape.width, self.shape.rate
        self.dtype = DTYPES[self.key.dtype]
        self._files: list[Path] = []
        self._maps: list[mmap.mmap | None] = []
        self._read_bytes: dict[Path, int] = {}
        self._entries: dict[str, list[Entry]] = {}
        self._verified: set[str] = set()
        self._seed = zlib.crc32(folder.name.encode())
        self.refresh()

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame of all layers."""
        return self.layers * self.width * self.dtype.itemsize

    def keys(self) -> list[str]:
        """The waveforms whose states are here."""
        return list(self._entries)

    def close(self) -> None:
        """Let others delete the store; nothing can be read afterwards that was not read before."""
        if self._lock is not None:
            self._lock.close()

    def refresh(self) -> None:
        """Read index lines that any process has added since the last call."""
        for index in sorted(self.folder.glob("index-*.jsonl")):
            if not index.is_file():
                continue
            start = self._read_bytes.get(index, 0)
            with index.open("rb") as file:
                file.seek(start)
                block = file.read()
            whole = block[: block.rfind(b"\n") + 1]
            if not whole:
                continue
            data = index.with_name(index.name.replace("index-", "data-").replace(".jsonl", ".bin"))
            if data not in self._files:
                self._files.append(data)
                self._maps.append(None)
            number = self._files.index(data)
            size = data.stat().st_size if data.is_file() else 0
            for line in whole.splitlines():
                found = _entry(line, number)
                if found is not None and found[1].offset + found[1].frames * self.frame_bytes <= size:
                    places = self._entries.setdefault(found[0], [])
                    if found[1] not in places:
                        places.append(found[1])
            self._read_bytes[index] = start + len(whole)

    def frames(self, key: str) -> int:
        """Number of frames of an entry."""
        return self._entries[key][0].frames

    def read(self, key: str) -> Tensor:
        """The states of one waveform, ``(layers, frames, width)``: a view of the file, not a copy. Do not write to it.

        Raises:
            KeyError: if the store does not hold it
            DamagedEntry: if what it holds is not what was stored; it does not hold it any more then
        """
        places = self._entries[key]
        while key not in self._verified:
            view = self._bytes(places[0])
            if view is not None and self.checksum(key, places[0].frames, view) == places[0].crc32:
                self._verified.add(key)
                break
            bad = places.pop(0)
            logger.warning(
                "%s: the states of utterance %s (%s, byte %d) are damaged: their checksum is wrong",
                *(self.folder, key, self._files[bad.file].name, bad.offset),
            )
            if not places:
                del self._entries[key]
                raise DamagedEntry(f"{self.folder}: the stored states of utterance {key} are damaged")
        entry = places[0]
        count = entry.frames * self.layers * self.width
        flat = torch.frombuffer(self._map(entry), dtype=self.dtype, count=count, offset=entry.offset)
        return flat.view(self.layers, entry.frames, self.width)

    def read_ahead(self, keys: list[str]) -> None:
        """Ask the system to bring entries into memory; returns at once."""
        page = mmap.PAGESIZE
        for key in keys:
            for entry in self._entries.get(key, ())[:1]:
                start = entry.offset // page * page
                length = entry.offset - start + entry.frames * self.frame_bytes
                mapped = self._map(entry)
                if start + length <= len(mapped):
                    mapped.madvise(mmap.MADV_WILLNEED, start, length)

    def checksum(self, key: str, frames: int, content: bytes | memoryview) -> int:
        """CRC-32 over the store's name, the utterance, the number of frames and the bytes of an entry."""
        return zlib.crc32(content, zlib.crc32(f" {key} {frames} ".encode("utf-8", "surrogatepass"), self._seed))

    def _bytes(self, entry: Entry) -> memoryview | None:
        mapped, length = self._map(entry), entry.frames * self.frame_bytes
        if len(mapped) < entry.offset + length:
            return None  # cut off since the index was read
        return memoryview(mapped)[entry.offset : entry.offset + length]

    def _map(self, entry: Entry) -> mmap.mmap:
        """The data file as private (copy-on-write) memory, mapped again when it has grown."""
        end = entry.offset + entry.frames * self.frame_bytes
        mapped = self._maps[entry.file]
        if mapped is None or len(mapped) < end:
            with self._files[entry.file].open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            self._maps[entry.file] = mapped
        return mapped


def read_about(folder: Path) -> tuple[StoreKey, StoreShape, str]:
    """What ``key.json`` of a store says: what it depends on, its shape, and the SHA-256 of its probe.

    Raises:
        RunError: if it cannot be read
        FileNotFoundError: if there is none
    """
    about = folder / ABOUT
    try:
        content = json.loads(about.read_text(encoding="utf-8"))
        key = StoreKey(**{name: content[name] for name in StoreKey.__dataclass_fields__})
        shape = StoreShape(**{name: int(content[name]) for name in StoreShape.__dataclass_fields__})
        if key.dtype not in DTYPES or min(asdict(shape).values()) < 1:
            raise ValueError(f"dtype {key.dtype!r}, {shape}")
        return key, shape, str(content["probe_sha256"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise RunError(f"{about}: not readable ({error}); delete the folder {folder}") from error


def _entry(line: bytes, file: int) -> tuple[str, Entry] | None:
    """Key and place that an index line names; None of one that was torn or is none."""
    try:
        item = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(item, dict) or not isinstance(item.get("key"), str):
        return None
    numbers = [number for name in ("offset", "frames", "crc32") if type(number := item.get(name)) is int]
    if len(numbers) != 3:
        return None
    offset, frames, crc32 = numbers
    if offset < 0 or offset % ALIGNMENT or frames < 1:
        return None
    return item["key"], Entry(file, offset, frames, crc32)


def _hold(folder: Path) -> IO[Any] | None:
    """Hold the store: nobody deletes it before this is closed. None where a lock can neither be made nor opened."""
    path = folder / ".lock"
    while True:
        try:
            file: IO[Any] = path.open("a+")
        except FileNotFoundError:
            raise
        except OSError:  # another user's folder, or a disk that is mounted to be read
            try:
                file = path.open("rb")
            except OSError:
                return None
        lock(file.fileno(), path, fcntl.LOCK_SH)
        try:
            is_there = os.fstat(file.fileno()).st_ino == path.stat().st_ino
        except FileNotFoundError:
            is_there = False
        if is_there:
            break
        file.close()  # deleted between opening and locking; opening it again says so
    with contextlib.suppress(OSError):
        os.utime(path)  # last use, for eviction
    return file


@contextlib.contextmanager
def extraction_lock(folder: Path) -> Iterator[None]:
    """One process extracts into a store at a time; others wait here, and then find the entries.

    Raises:
        OSError: if the folder cannot be written
    """
    with (folder / ".extraction").open("a") as file:
        lock(file.fileno(), folder, fcntl.LOCK_EX)
        yield
