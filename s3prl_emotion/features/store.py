"""Hidden states on disk: append-only, memory-mapped, safe for several processes and for a writer that is killed.

A store is a folder for one upstream with one way of extraction::

    key.json            what the entries depend on; its hash is part of the folder's name
    data-<id>.bin       entries one after the other; each writer has a file of its own
    index-<id>.jsonl    one line per entry, written after the entry's bytes: {"key", "offset", "frames"}
    .lock               held, shared, by every process that uses the store, and alone by one that deletes it

An entry is ``(layers, frames, width)`` in row-major order. A reader believes a line only if it is whole and its bytes
are there, so a writer that dies leaves at most bytes that nobody reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import mmap
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s3prl_emotion.errors import RunError
from s3prl_emotion.files import write_atomically

SCHEMA = 2
"""Goes up when extraction changes what it stores: older entries are then not found any more."""

DTYPES = {"float16": torch.float16, "float32": torch.float32}
_ALIGNMENT = 64  # bytes


@dataclass(frozen=True)
class StoreKey:
    """Everything that an entry depends on, beside the waveform."""

    upstream: str
    weights: str  # fingerprint of the loaded parameters and buffers
    checkpoint_sha256: str | None  # of -k: a folder's settings count too
    model_config_sha256: str | None  # of -g
    selection: str  # S3PRL's -s
    layer: int | None  # S3PRL's -l
    form: str  # "frames", or "mean": the time mean of each layer
    dtype: str
    s3prl: str  # version
    schema: int = SCHEMA

    def folder(self) -> str:
        """The name of the store's folder."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{self.upstream.replace('/', '__')}-{self.form}-{self.dtype}-{digest[:12]}"


@dataclass(frozen=True)
class Entry:
    """Where the states of one utterance are."""

    file: int  # position in the list of data files
    offset: int  # bytes
    frames: int


class Store:
    """One upstream's hidden states.

    Args:
        root: the folder of all stores
        key: what the entries depend on
        layers: number of layers of an entry
        width: number of features
        rate: samples per frame, for S3PRL's ``get_downsample_rates``

    Raises:
        RunError: if the store was made with other shapes, or its description cannot be read
    """

    def __init__(self, root: Path, key: StoreKey, layers: int, width: int, rate: int) -> None:
        self.folder = root / key.folder()
        self.key = key
        self.dtype = DTYPES[key.dtype]
        self._hold()
        about = self.folder / "key.json"
        shapes = {"layers": layers, "width": width, "rate": rate}
        if not about.is_file():
            write_atomically(about, json.dumps({**asdict(key), **shapes}, indent=1) + "\n")
        try:
            content = json.loads(about.read_text(encoding="utf-8"))
            self.layers, self.width, self.rate = (int(content[name]) for name in shapes)
        except (ValueError, KeyError) as error:
            raise RunError(f"{about}: not readable ({error}); delete the folder {self.folder}") from error
        for name, value in shapes.items():
            if value != getattr(self, name):
                raise RunError(f"{self.folder}: holds {name} {getattr(self, name)}, the upstream gives {value}")
        self._files: list[Path] = []
        self._maps: list[mmap.mmap | None] = []
        self._read_bytes: dict[Path, int] = {}
        self._entries: dict[str, Entry] = {}
        self.refresh()

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame of all layers."""
        return self.layers * self.width * self.dtype.itemsize

    def refresh(self) -> None:
        """Read index lines that any process has added since the last call."""
        for index in sorted(self.folder.glob("index-*.jsonl")):
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
                try:
                    item = json.loads(line)
                    entry = Entry(number, int(item["offset"]), int(item["frames"]))
                except (ValueError, KeyError):
                    continue  # torn by a crash in the middle of the file
                if entry.frames > 0 and entry.offset + entry.frames * self.frame_bytes <= size:
                    self._entries.setdefault(str(item["key"]), entry)
            self._read_bytes[index] = start + len(whole)

    def frames(self, key: str) -> int:
        """Number of frames of an entry."""
        return self._entries[key].frames

    def read(self, key: str) -> Tensor:
        """The states of one waveform, ``(layers, frames, width)``: a view of the file, not a copy. Do not write to it.

        Raises:
            KeyError: if the store does not hold it
        """
        entry = self._entries[key]
        count = entry.frames * self.layers * self.width
        flat = torch.frombuffer(self._map(entry), dtype=self.dtype, count=count, offset=entry.offset)
        return flat.view(self.layers, entry.frames, self.width)

    def read_ahead(self, keys: list[str]) -> None:
        """Ask the system to bring entries into memory; returns at once."""
        page = mmap.PAGESIZE
        for key in keys:
            entry = self._entries[key]
            start = entry.offset // page * page
            length = entry.offset - start + entry.frames * self.frame_bytes
            self._map(entry).madvise(mmap.MADV_WILLNEED, start, length)

    def writer(self) -> Writer:
        """A writer with files of its own; several may write at the same time."""
        return Writer(self)

    def _map(self, entry: Entry) -> mmap.mmap:
        """The data file as private (copy-on-write) memory, mapped again when it has grown."""
        end = entry.offset + entry.frames * self.frame_bytes
        mapped = self._maps[entry.file]
        if mapped is None or len(mapped) < end:
            with self._files[entry.file].open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            self._maps[entry.file] = mapped
        return mapped

    def _hold(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / ".lock").open("a")
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        os.utime(self.folder / ".lock")  # last use, for eviction


class Writer:
    """Appends entries to a store; a context manager."""

    def __init__(self, store: Store) -> None:
        self._store = store
        name = uuid.uuid4().hex[:12]
        self._data = (store.folder / f"data-{name}.bin").open("wb")
        self._index = (store.folder / f"index-{name}.jsonl").open("w", encoding="utf-8")

    def write(self, key: str, states: Tensor) -> None:
        """Append the states ``(layers, frames, width)`` of a waveform.

        Raises:
            RunError: if the shape is another one, or a value is not finite in the store's dtype
        """
        store = self._store
        if states.ndim != 3 or states.shape[0] != store.layers or states.shape[2] != store.width or not states.shape[1]:
            raise RunError(f"expected states ({store.layers}, frames, {store.width}), got {tuple(states.shape)}")
        stored = states.to(store.dtype)
        if not bool(torch.isfinite(stored).all()):
            largest = float(states.abs().max())
            raise RunError(
                f"hidden states of {store.key.upstream} are not finite in {store.key.dtype} (largest magnitude "
                f"{largest:g}); use --cache-dtype float32"
                if np.isfinite(largest)
                else f"hidden states of {store.key.upstream} are not finite: check the audio and the checkpoint"
            )
        offset = -(-self._data.tell() // _ALIGNMENT) * _ALIGNMENT
        self._data.seek(offset)
        self._data.write(stored.contiguous().cpu().numpy().tobytes())
        self._data.flush()
        line = {"key": key, "offset": offset, "frames": int(states.shape[1])}
        self._index.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._index.flush()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: Any) -> None:
        self._data.close()
        self._index.close()
        for file in (self._data, self._index):  # leave no empty files behind
            path = Path(file.name)
            if path.stat().st_size == 0:
                path.unlink()


@dataclass(frozen=True)
class StoreInfo:
    """One store as ``cache ls`` shows it."""

    name: str
    bytes: int
    entries: int
    last_used: float  # seconds since the epoch
    about: Mapping[str, Any]


def stores(root: Path) -> list[StoreInfo]:
    """All stores below ``root``, least recently used first."""
    found = []
    for about in sorted(root.glob("*/key.json")):
        folder = about.parent
        size = sum(path.stat().st_size for path in folder.glob("data-*.bin"))
        entries = sum(path.read_bytes().count(b"\n") for path in folder.glob("index-*.jsonl"))
        lock = folder / ".lock"
        used = lock.stat().st_mtime if lock.exists() else about.stat().st_mtime
        try:
            content = json.loads(about.read_text(encoding="utf-8"))
        except ValueError:
            content = {}
        found.append(StoreInfo(folder.name, size, entries, used, content))
    return sorted(found, key=lambda info: info.last_used)


def delete(root: Path, name: str) -> bool:
    """Delete a store, unless a process is using it.

    Returns:
        whether it was deleted
    """
    folder = root / name
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(folder)
    return True


@contextlib.contextmanager
def extraction_lock(folder: Path) -> Iterator[None]:
    """One process extracts into a store at a time; others wait here, and then find the entries."""
    with (folder / ".extraction").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
