"""Errors that a user can act on.

Every error of this hierarchy carries a complete message: what was given, what was expected and what to do next.
The command line prints it without a traceback and exits with status 2.
"""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable


class EmotionError(Exception):
    """Base of all errors that are addressed to the user."""


class ConfigError(EmotionError):
    """A configuration file or option is wrong. The message names the file and the key."""


class CorpusError(EmotionError):
    """A corpus, manifest or audio file is wrong. The message names the file."""


class ProtocolError(EmotionError):
    """An evaluation protocol is unknown, cannot be applied to a corpus, or would be violated."""


class UpstreamError(EmotionError):
    """An upstream or its checkpoint is wrong."""


class PluginError(EmotionError):
    """A user's own part cannot be used. The message names the file."""


class NameClashError(PluginError, ValueError):
    """Two parts have one name. The message names both files."""


class RunError(EmotionError):
    """A run cannot start, continue or finish."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Say which known names resemble ``name``.

    Args:
        name: what the user wrote
        known: the accepted names

    Returns:
        a sentence such as ``Did you mean 'heads'? Known: channel_dropout, heads.``
    """
    names = sorted(str(item) for item in known)
    close = difflib.get_close_matches(str(name), names, n=2, cutoff=0.75)
    close = close or difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
    guess = f"Did you mean {' or '.join(repr(item) for item in close)}? " if close else ""
    return f"{guess}Known: {', '.join(names) or '(none)'}."


def message_of(error: Exception) -> str:
    """Any exception in one paragraph: our own as they are, the system's explained, others with their kind."""
    if isinstance(error, EmotionError):
        return str(error)
    if isinstance(error, OSError):
        return explain_os_error(error)
    if isinstance(error, MemoryError):
        return f"the machine's memory is used up. Use smaller batches, or end other programs. {error}".rstrip()
    return f"{type(error).__name__}: {str(error) or 'without a message'}"


_FULL = "make room there, or name a folder on another disk, and repeat the command: what is computed is kept"
_REMEDIES = {
    errno.ENOSPC: ("the disk is full", _FULL),
    errno.EDQUOT: ("your share of the disk is used up", _FULL),
    errno.EFBIG: ("it would be larger than a file may be there (a quota, or ulimit -f)", _FULL),
    errno.EACCES: ("you have no permission for it", "change its permissions, or name a place of your own"),
    errno.EPERM: ("you may not do that with it", "change its owner or attributes, or name a place of your own"),
    errno.EROFS: ("it lies on a read-only file system", "name a folder that can be written"),
    errno.ENOENT: ("there is no such file or folder", "check the name, or make it"),
    errno.EEXIST: ("something is there already", "name another, or take it away"),
    errno.ENOTDIR: ("a part of this path is a file, expected a folder", "name a folder, or take the file away"),
    errno.EISDIR: ("it is a folder, expected a file", "name a file, or take the folder away"),
    errno.ENOTEMPTY: ("the folder is not empty", "name another, or empty it"),
    errno.ENAMETOOLONG: ("the name is too long for this file system", "give a shorter one (-n, -p, --root or --out)"),
    errno.ELOOP: ("its links lead in a circle", "name the file or folder itself"),
    errno.EMFILE: ("this process has too many files open", "raise the bound (ulimit -n), or use fewer workers"),
    errno.ENFILE: ("the machine has too many files open", "end other programs, and repeat the command"),
    errno.EIO: ("the disk cannot be read or written", "check the disk and its mount, and repeat the command"),
    errno.ESTALE: ("the network file system has lost it", "mount it again, and repeat the command"),
    errno.ENOLCK: ("this file system has no file locks", "name a folder on another, or mount it with locks"),
    errno.EBUSY: ("something else is using it", "end that, and repeat the command"),
    errno.EXDEV: ("it lies on another file system", "name a folder without mounts or links inside"),
    errno.EINVAL: ("this file system does not accept that", "name a folder on another"),
    errno.ENOMEM: ("the machine has no memory left", "end other programs, and repeat the command"),
}
_REMEDIES[errno.ENOTSUP] = _REMEDIES[errno.ENOLCK]


def explain_os_error(error: OSError) -> str:
    """An error of the system in words: which file, what is wrong with it, and what to do.

    Returns:
        a sentence such as ``x/run.json: the disk is full. Make room there, ... (No space left on device)``
    """
    known = _REMEDIES.get(error.errno or 0)
    place = ""
    if error.filename is not None:
        second = "" if error.filename2 is None else f" to {os.fsdecode(error.filename2)}"
        place = f"{os.fsdecode(error.filename)}{second}: " if not isinstance(error.filename, int) else ""
    if known is None:
        return f"{place}{error.strerror}" if place and error.strerror else str(error) or type(error).__name__
    wrong, remedy = known
    if not place:
        wrong = f"a file cannot be read or written: {wrong}"
    return f"{place}{wrong}. {remedy[0].upper()}{remedy[1:]} ({error.strerror or os.strerror(error.errno or 0)})"
