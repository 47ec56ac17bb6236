"""``--trust-checkpoint``: whether files may be read that execute code."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar

_trusted: ContextVar[bool] = ContextVar("trusted", default=False)
_SWITCH = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


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
    if not _trusted.get():
        yield
        return
    before = os.environ.get(_SWITCH)
    os.environ[_SWITCH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SWITCH]
        else:
            os.environ[_SWITCH] = before
