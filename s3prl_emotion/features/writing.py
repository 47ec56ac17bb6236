"""Adding entries to a store."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import uuid
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s3prl_emotion.errors import RunError
from s3prl_emotion.features.store import ALIGNMENT, Store
from s3prl_emotion.locks import lock

_SYNC_S = 30.0
"""A power failure costs at most what was written for this long; forcing every entry to the disk would cost more."""


class Writer:
    """Appends entries to a store, in files of its own; a context manager. Several may write at the same time.

    Raises:
        RunError: if the store cannot be written
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        try:
            self._data = _locked(store.folder)
            name = Path(self._data.name).name.replace("data-", "index-").replace(".bin", ".jsonl")
            self._index = (store.folder / name).open("wb", buffering=0)
        except OSError as error:
            raise unwritable(store.folder, error) from error
        self._end = 0
        self._synced_s = time.monotonic()

    def write(self, key: str, states: Tensor) -> None:
        """Append the states ``(layers, frames, width)`` of a waveform.

        Raises:
            RunError: if the shape is another one, a value is not finite in the store's dtype, or the disk is full
        """
        store = self._store
        if states.ndim != 3 or states.shape[0] != store.layers or states.shape[2] != store.width or not states.shape[1]:
            raise RunError(f"expected states ({store.layers}, frames, {store.width}), got {tuple(states.shape)}")
        stored = states.to(store.dtype)
        if not bool(torch.isfinite(stored).all()):
            largest = float(states.abs().max())
            raise RunError(
                f"hidden states of {store.title} are not finite in {store.key.dtype} (largest magnitude "
                f"{largest:g}); use --cache-dtype float32"
                if np.isfinite(largest)
                else f"hidden states of {store.title} are not finite: check the audio and the checkpoint"
            )
        content = stored.contiguous().cpu().numpy().tobytes()
        offset, frames = -(-self._end // ALIGNMENT) * ALIGNMENT, int(states.shape[1])
        line = {"key": key, "offset": offset, "frames": frames, "crc32": store.checksum(key, frames, content)}
        try:
            self._data.seek(offset)
            _write_all(self._data, content)
            if time.monotonic() - self._synced_s > _SYNC_S:
                self._sync()
            _write_all(self._index, json.dumps(line, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._data.fileno(), self._end)
            raise unwritable(Path(self._data.name), error) from error
        self._end = offset + len(content)

    def _sync(self) -> None:
        """Entries before the lines that name them."""
        os.fsync(self._data.fileno())
        os.fsync(self._index.fileno())
        self._synced_s = time.monotonic()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        try:
            self._sync()
        except OSError as error:
            if kind is None:
                raise unwritable(Path(self._data.name), error) from error
        finally:
            is_empty = not self._end
            for file in (self._index, self._data):
                if is_empty:  # leave no empty files behind
                    Path(file.name).unlink(missing_ok=True)
                file.close()


def unwritable(path: Path, error: OSError) -> RunError:
    """What to do where states cannot be written."""
    return RunError(
        f"{path}: hidden states cannot be written: {error.strerror or error}. What is stored is kept. Make room "
        "(`s3prl-emotion cache ls`), or name a folder that can be written with --cache-root DIR, and repeat the "
        "command; --no-cache stores nothing"
    )


def _locked(folder: Path) -> FileIO:
    """A new data file with its lock: as long as it is held, nobody clears the file away."""
    while True:
        path = folder / f"data-{uuid.uuid4().hex[:12]}.bin"
        file = path.open("wb", buffering=0)
        lock(file.fileno(), path, fcntl.LOCK_EX)
        if path.exists():
            return file
        file.close()  # cleared away before it was locked


def _write_all(file: FileIO, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]
