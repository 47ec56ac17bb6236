"""Signals: at once, or after what is being computed; the second one ends the process; children do not answer."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from s3prl_emotion.cli import main
from s3prl_emotion.features.extraction import Waveform, extract
from s3prl_emotion.features.lookup import find_store
from s3prl_emotion.features.store import StoreKey, StoreShape
from s3prl_emotion.interruption import SIGNALS, Interruption, asked, check, deferred, handled, leave_to_parent


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


def test_a_worker_outlives_the_first_sigterm() -> None:
    """A cluster sends it to every process of a job."""

    def work() -> None:
        leave_to_parent(0)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGTERM)

    assert _status(work) == -signal.SIGTERM


def test_an_extraction_keeps_what_it_has(tmp_path: Path) -> None:
    done: list[int] = []

    def compute(waveform: torch.Tensor) -> torch.Tensor:
        done.append(len(waveform))
        if len(done) == 3:
            os.kill(os.getpid(), signal.SIGUSR1)
        return torch.zeros(1, 2, 3)

    key = StoreKey("u", "w", None, None, "hidden_states", None, "frames", "float32", "0")
    store = find_store(tmp_path, key, StoreShape(1, 3, 320), (np.zeros((1, 2, 3), dtype=np.float32),))
    items = [Waveform(str(number), 0.1, lambda: np.zeros(1600, dtype=np.float32)) for number in range(6)]
    with handled(), pytest.raises(Interruption, match="hidden states of 3 of 6 utterances; the same command goes on"):
        extract(store, items, compute, "cpu")
    store.refresh()
    assert len(store) == 3
    assert extract(store, items, lambda _: torch.zeros(1, 2, 3), "cpu") == 3


def test_an_interrupt_while_a_command_is_imported_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("s3prl_emotion.cli.importlib.import_module", interrupted)
    assert main(["ls", "upstreams"]) == 130
    assert capsys.readouterr().err == "\ninterrupted: what is computed is kept; the same command goes on from there\n"
