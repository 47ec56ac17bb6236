"""Signals that end a process, after the current step is finished and kept.

The first signal ends a command where it stands, by an exception. Within :func:`deferred` it waits for the next
:func:`check`, which a loop calls where all that it has done is kept. The second one ends the process at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""What ends a command. Those that its parent lets it ignore, as nohup does SIGHUP, stay ignored."""


GOES_ON = "the same command goes on from there"


class Interruption(KeyboardInterrupt):
    """A signal asked the process to end. It is no ``Exception``, so that nobody goes on to the next piece of work.

    Args:
        number: of the signal
        state: what is there now, and how to go on
    """

    def __init__(self, number: int, state: str = f"what is computed is kept; {GOES_ON}") -> None:
        super().__init__(number)
        self.number, self.state = number, state

    def __str__(self) -> str:
        return f"{signal.Signals(self.number).name}: {self.state}"


class _State:
    """Of this process."""

    process = 0  # which one handles signals; a forked child leaves them to its parent
    received: int | None = None
    waiting: tuple[str, ...] = ()  # what is finished before a signal ends the process, the innermost last


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Within, signals end this process as this module says; only the main thread can ask for that."""
    earlier = {}
    _State.process, _State.received = os.getpid(), None
    try:
        with contextlib.suppress(ValueError):  # another thread
            for number in SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    earlier[number] = signal.signal(number, _receive)
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        _State.received = None


@contextlib.contextmanager
def deferred(what: str) -> Iterator[None]:
    """Within, a signal waits for the next :func:`check`, and at the latest for the end of the block.

    Args:
        what: is finished first, for the message
    """
    _State.waiting += (what,)
    try:
        yield
    finally:
        _State.waiting = _State.waiting[:-1]
    if not _State.waiting:
        check()


def asked() -> int | None:
    """The signal that waits; None where none came."""
    return _State.received


def leave_to_parent(_: int) -> None:
    """In a worker that loads data: a cluster's SIGTERM comes to every process, and the step needs its batch still.

    A second one, as the parent sends to a worker that hangs, ends it.
    """
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def receive(number: int) -> None:
    """Let a signal count as received that another process of the same training received."""
    _State.received = number


def check(kept: str = "what is computed is kept") -> None:
    """End here if a signal came.

    Args:
        kept: what was finished, for the message

    Raises:
        Interruption: if one came
    """
    if _State.received is not None:
        raise Interruption(_State.received, f"{kept}; {GOES_ON}")


def _receive(number: int, _: FrameType | None) -> None:
    if os.getpid() != _State.process:
        if number == signal.SIGTERM:  # from its parent, or meant for it
            _end(number)
        return
    if _State.received is not None:
        _end(number)
    _State.received = number
    if not _State.waiting:
        raise Interruption(number)
    name = signal.Signals(number).name
    with contextlib.suppress(OSError):  # not by a stream: it may be in the middle of a line
        os.write(2, f"\n{name}: finishing {_State.waiting[-1]}; a second signal ends at once\n".encode())


def _end(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
