"""The stores of a root folder: listing, deleting and verifying them, and clearing away what a crash left."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from s3prl_emotion.errors import RunError
from s3prl_emotion.features.store import ABOUT, SCHEMA, DamagedEntry, Store
from s3prl_emotion.locks import lock

ROOT_LOCK = ".stores.lock"
"""Held while a store is made or cleared up after."""

_DELETED = ".deleted-"


@dataclass(frozen=True)
class StoreInfo:
    """One store as ``cache ls`` shows it."""

    name: str
    bytes: int
    entries: int
    last_used: float  # seconds since the epoch
    about: Mapping[str, Any]

    @property
    def is_old(self) -> bool:
        """Whether an earlier version wrote it, so that nothing reads it any more."""
        return self.about.get("schema") != SCHEMA


def stores(root: Path) -> list[StoreInfo]:
    """All stores below ``root``, least recently used first."""
    found = []
    for about in sorted(root.glob(f"[!.]*/{ABOUT}")):
        with contextlib.suppress(FileNotFoundError):  # deleted by another process meanwhile
            found.append(_info(about.parent))
    return sorted(found, key=lambda info: info.last_used)


def _info(folder: Path) -> StoreInfo:
    about, lock = folder / ABOUT, folder / ".lock"
    try:
        content = json.loads(about.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        content = {}
    size = sum(path.stat().st_size for path in folder.glob("data-*.bin"))
    entries = sum(path.read_bytes().count(b"\n") for path in folder.glob("index-*.jsonl") if path.is_file())
    used = lock.stat().st_mtime if lock.exists() else about.stat().st_mtime
    return StoreInfo(folder.name, size, entries, used, content if isinstance(content, dict) else {})


def delete(root: Path, name: str) -> bool:
    """Delete a store, unless a process is using it; one that another process deleted is deleted.

    Returns:
        whether it is gone

    Raises:
        RunError: if its folder cannot be changed
    """
    folder = root / name
    try:
        with (folder / ".lock").open("a+") as file:
            try:
                lock(file.fileno(), folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return _is_being_deleted(file, folder)
            aside = root / f"{_DELETED}{uuid.uuid4().hex}"
            folder.rename(aside)  # at once: nobody sees a half of it
            shutil.rmtree(aside, ignore_errors=True)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise RunError(
            f"{folder}: cannot be deleted: {error.strerror or error}. Delete it as the user to whom it belongs"
        ) from error
    return True


def _is_being_deleted(file: IO[Any], folder: Path) -> bool:
    """Whether the lock that is in the way is that of a process that deletes; those that read share theirs."""
    try:
        lock(file.fileno(), folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def verify(folder: Path) -> tuple[int, list[str]]:
    """Compute all checksums of a store.

    Returns:
        the number of entries, and the keys of those that are damaged

    Raises:
        RunError: if its description cannot be read
        FileNotFoundError: if it has been deleted
    """
    store = Store(folder)
    damaged = []
    keys = store.keys()
    for key in keys:
        try:
            store.read(key)
        except DamagedEntry:
            damaged.append(key)
    store.close()
    return len(keys), damaged


def clear_leftovers(root: Path) -> None:
    """Delete what killed processes left, where this user may; not while a store is being made.

    These are files that were to replace another, stores that were being deleted, and data without a line in the index.
    """
    with contextlib.suppress(OSError, RunError), (root / ROOT_LOCK).open("a") as file:
        lock(file.fileno(), root, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _clear(root)


def _clear(root: Path) -> None:
    for aside in root.glob(f"{_DELETED}*"):
        shutil.rmtree(aside, ignore_errors=True)
    for temporary in root.glob("*/.*.tmp"):
        with contextlib.suppress(OSError):
            temporary.unlink()
    for data in root.glob("*/data-*.bin"):
        index = data.with_name(data.name.replace("data-", "index-").replace(".bin", ".jsonl"))
        with contextlib.suppress(OSError):
            if index.exists() and index.stat().st_size:
                continue
            with data.open("r+b") as file:
                lock(file.fileno(), data, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its writer holds it, if it lives
                if not index.exists() or not index.stat().st_size:
                    index.unlink(missing_ok=True)
                    data.unlink()
