"""Signals: at once, or after what is being computed; the second one ends the process; children do not answer."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable

import pytest

from s3prl_emotion.cli import main
from s3prl_emotion.interruption import SIGNALS, Interruption, asked, check, deferred, handled


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_command_with_its_number(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    monkeypatch.setattr("s3prl_emotion.cli.ls.main", lambda _: os.kill(os.getpid(), number))
    assert main(["ls", "protocols"]) == 128 + number
    said = capsys.readouterr().err
    assert said == f"\n{number.name}: what is computed is kept; the same command goes on from there\n"
    assert signal.getsignal(number) is before


def test_a_deferred_signal_waits_for_the_check(capfd: pytest.CaptureFixture[str]) -> None:
    done = []
    with handled(), pytest.raises(Interruption) as caught, deferred("the outer"), deferred("the step"):
        for step in range(5):
            if step == 2:
                os.kill(os.getpid(), signal.SIGUSR1)
            done.append(step)
            check(f"step {step} is kept")
    assert done == [0, 1, 2]
    assert str(caught.value) == "SIGUSR1: step 2 is kept; the same command goes on from there"
    assert capfd.readouterr().err == "\nSIGUSR1: finishing the step; a second signal ends at once\n"
    assert asked() is None


def test_a_deferred_signal_waits_no_longer_than_the_block() -> None:
    with handled(), pytest.raises(Interruption), deferred("the step"):
        os.kill(os.getpid(), signal.SIGTERM)
    check()


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handled():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def _status(work: Callable[[], None]) -> int:
    """Of a forked child that does it."""
    child = os.fork()
    if not child:
        try:
            logging.disable()
            with handled():
                work()
        finally:
            os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_second_signal_ends_the_process_at_once() -> None:
    def work() -> None:
        with deferred("the step"):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
                assert asked() == signal.SIGTERM
        os._exit(3)

    assert _status(work) == -signal.SIGTERM


def test_forked_children_leave_signals_to_their_parent() -> None:
    """A terminal, and Slurm, signal the workers that load batches too."""

    def work() -> None:
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGUSR1)
            os._exit(5)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    assert _status(work) == 5
