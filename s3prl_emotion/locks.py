"""Locks of files between processes; the system lets go of them when their holder dies.

On NFS the kernel keeps a shared lock only of a file that is open for reading, and an exclusive one only of a file that
is open for writing: every lock file is opened for both where that is allowed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from s3prl_emotion.errors import RunError
from s3prl_emotion.files import clean_up, is_read_only, named

logger = logging.getLogger(__name__)

LOCK = ".lock"
"""Held alone by who prepares, claims or collects in a run folder, and by who computes in a fold's folder."""
SWITCH = "S3PRL_EMOTION_LOCKS"
"""The environment variable that is ``off`` where nothing is to be locked: one process alone works there then."""
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)


class HeldError(Exception):
    """Another process holds the lock."""


def lock(descriptor: int, path: Path, kind: int) -> None:
    """Lock an open file.

    Args:
        descriptor: open for reading if the lock is shared, for writing if it is exclusive
        path: of the file, for messages
        kind: as :func:`fcntl.flock` has it

    Raises:
        BlockingIOError: if it is held and ``fcntl.LOCK_NB`` is asked for
        RunError: if the file system has no locks
        OSError: naming the file
    """
    if os.environ.get(SWITCH) == "off":
        return
    try:
        with named(path):
            fcntl.flock(descriptor, kind)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise RunError(
            f"{path}: this file system has no file locks, by which processes share a folder ({error.strerror}). Name a "
            "folder on another (runs: --root or -p; hidden states: --cache-root), have it mounted with locks (Lustre: "
            f"-o flock), or, if no other process works there, set {SWITCH}=off"
        ) from error


@contextlib.contextmanager
def exclusive(path: Path, wait: bool = False) -> Iterator[bool]:
    """Hold a lock file alone; it is made if it is not there, its folder is not.

    Args:
        path: the lock file
        wait: wait for another holder, and say so

    Yields:
        whether it is held; it is not where nothing can be written, and so nobody writes

    Raises:
        HeldError: if another process holds it, and this one does not wait
        RunError: if the file system has no locks
        OSError: naming the file
    """
    try:
        descriptor = _locked(path, wait)
    except OSError as error:
        if not is_read_only(error):
            raise
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold a lock file together with others; where nothing can be written, nothing is held."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        if not is_read_only(error):
            raise
        yield
        return
    try:
        lock(descriptor, path, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def only_here(folder: Path, wait: bool = False, skip: bool = False) -> Iterator[bool]:
    """Hold a folder for this process; folds can be trained by several processes at once, a fold by one only.

    Args:
        folder: which; it is made if it is not there
        wait: for another process that holds it
        skip: yield False if another process holds it, in place of an error

    Yields:
        whether the folder is this process'

    Raises:
        RunError: if another process holds it, unless ``wait`` or ``skip``
    """
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as holding:
        try:
            held = holding.enter_context(exclusive(folder / LOCK, wait=wait))
        except HeldError as error:
            if not skip:
                raise RunError(f"{folder}: another process is working on this fold") from error
            yield False
            return
        if held:
            clean_up(folder)
        yield True


def is_held(path: Path) -> bool:
    """Whether a process holds the lock file, alone or with others.

    Where it can be read only, and its file system cannot tell then, it counts as held.
    """
    try:
        descriptor = _opened(path)
    except OSError:
        return False
    try:
        lock(descriptor, path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if not isinstance(error, BlockingIOError) and error.errno != errno.EBADF:
            raise
        return True
    finally:
        os.close(descriptor)
    return False


def _opened(path: Path) -> int:
    """A descriptor of a file that is there: for writing too, if that is allowed."""
    try:
        return os.open(path, os.O_RDWR)
    except OSError as error:
        if not is_read_only(error):
            raise
        return os.open(path, os.O_RDONLY)


def _locked(path: Path, wait: bool) -> int:
    """A descriptor that holds the lock of the file that is at ``path`` now: its last holder may have deleted it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, path, wait)
            if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, path: Path, wait: bool) -> None:
    try:
        lock(descriptor, path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            raise HeldError(str(path)) from None
        logger.info("%s: another process is working there; waiting for it", path.parent)
        lock(descriptor, path, fcntl.LOCK_EX)
