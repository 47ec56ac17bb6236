"""Requirements of an adapter, checked before a corpus is read: packages and checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypeVar

from s3prl_emotion.errors import UpstreamError

Check = Callable[[str | None], None]
"""Given ``-k``; raises an UpstreamError where the upstream could not be built."""
_CHECK = "check_given"
_PER_UTTERANCE = "is_per_utterance"
_Entry = TypeVar("_Entry", bound=Callable[..., Any])


def requires(check: Check) -> Callable[[_Entry], _Entry]:
    """Mark an upstream as one that can tell without being built that it could not be: a decorator."""

    def mark(entry: _Entry) -> _Entry:
        setattr(entry, _CHECK, check)
        return entry

    return mark


def check_requirements(entry: Callable[..., Any], ckpt: str | None) -> None:
    """Ask an upstream whether it could be built; one that is not marked says nothing.

    Raises:
        UpstreamError: saying what to do
    """
    check: Check | None = getattr(entry, _CHECK, None)
    if check is not None:
        check(ckpt)


def per_utterance(entry: _Entry) -> _Entry:
    """Mark an upstream that gives one vector for each utterance, and no frames: a decorator."""
    setattr(entry, _PER_UTTERANCE, True)
    return entry


def is_per_utterance(entry: Callable[..., Any] | None) -> bool:
    """Whether an upstream gives one vector for each utterance."""
    return bool(getattr(entry, _PER_UTTERANCE, False))


def check_engineered(upstream: str, ckpt: str | None, package: str, command: str) -> None:
    """Refuse a checkpoint, which would be ignored, and a library that is not there.

    Args:
        upstream: the ``-u`` name
        ckpt: what ``-k`` names
        package: the library, as it is imported
        command: how to install it

    Raises:
        UpstreamError: saying what to do
    """
    if ckpt is not None:
        raise UpstreamError(f"-u {upstream} computes its features and reads no checkpoint: leave -k {ckpt} out")
    if find_spec(package) is None:
        raise UpstreamError(f"-u {upstream} needs {package}, which is not installed: {command}")
