"""Trust in checkpoints that execute code: only where the user says so."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar

_trusted: ContextVar[bool] = ContextVar("trusted", default=False)
_SWITCH = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_PLAIN = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_ON = ("1", "y", "yes", "true")


_named: set[tuple[str, str | None, str | None]] = set()


def name_here(name: str, checkpoint: str | None, model_config: str | None) -> None:
    """Remember what a user named in this process: S3PRL's name, ``-k`` and ``-g``."""
    _named.add((name, checkpoint, model_config))


def is_named_here(name: str, checkpoint: str | None, model_config: str | None) -> bool:
    """Whether a record names what the user named as well, so that nothing is read that nobody asked for."""
    return (name, checkpoint, model_config) in _named


def is_trusting() -> bool:
    """Whether this is within :func:`trusted_checkpoints`."""
    return _trusted.get()


@contextlib.contextmanager
def trusted_checkpoints(trusted: bool) -> Iterator[None]:
    """Within, upstream checkpoints may execute the code that they bring along, if ``trusted``.

    Nothing changes for what is read besides upstreams: our own checkpoints hold tensors and plain values only.
    """
    token = _trusted.set(trusted)
    try:
        yield
    finally:
        _trusted.reset(token)


@contextlib.contextmanager
def reading_upstream() -> Iterator[None]:
    """While an upstream is looked at or built, if it is trusted: torch's own switch, which S3PRL heeds too."""
    with _switched_on(_SWITCH) if _trusted.get() else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def plain_only() -> Iterator[None]:
    """While S3PRL reads a file that the user named, unless it is trusted: ``torch.load`` builds plain values only.

    torch's switch of that name is stronger than the ``weights_only=False`` that S3PRL writes in some places.
    """
    is_trusted = _trusted.get() or os.environ.get(_SWITCH, "0").lower() in _ON
    with contextlib.nullcontext() if is_trusted else _switched_on(_PLAIN):
        yield


@contextlib.contextmanager
def _switched_on(name: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
