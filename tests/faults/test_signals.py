"""Signals in real processes: the step is finished, and what goes on from it is the run that nobody interrupted."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = (
    "config.runner.total_steps=400,,config.runner.eval_step=100,,config.runner.save_step=400,,"
    "config.runner.log_step=10,,config.runner.gradient_accumulate_steps=2"
)


def command(demo: Path, folder: Path, cache: Path, *more: str) -> list[str]:
    argv = ["run", "-u", "fbank", "-d", "emotion_mean_std", "--corpus", "demo", "--data", str(demo), "--device", "cpu"]
    return [*argv, "--fold", "1", "--cache-root", str(cache), "-p", str(folder), "-o", STEPS, *more]


def begin(argv: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "s3prl_emotion", *argv], env=environment, stderr=subprocess.PIPE, text=True
    )


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    ends = time.monotonic() + 120
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends
        time.sleep(0.005)


def step_reached(folder: Path, step: int) -> Callable[[], bool]:
    log = folder / "fold1" / "log.log"
    return lambda: log.is_file() and f" at step {step}:" in log.read_text()


def whole(argv: list[str]) -> None:
    process = begin(argv)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said


pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_run_goes_on_as_the_same_run(
    number: signal.Signals, demo_root: Path, tmp_path: Path, cache_root: Path
) -> None:
    """Also where the signal comes in the middle of accumulated batches; the checkpoints are equal byte by byte."""
    folder = tmp_path / "run"
    argv = command(demo_root, folder, cache_root)
    process = begin(argv)
    wait_for(step_reached(folder, 50), process)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + number, said
    assert f"{number.name}: finishing the training step" in said
    last = said.strip().splitlines()[-1]
    assert last.startswith(f"{number.name}: {folder / 'fold1'} has a checkpoint of step "), said
    assert last.endswith("of 400; the same command goes on from there")
    (kept,) = (folder / "fold1").glob("states-*.ckpt")
    step = int(kept.stem.removeprefix("states-"))
    assert 50 <= step < 400
    assert f"step {step} of" in last
    assert not (folder / "fold1" / "fold.json").exists()
    whole(argv)
    parts = hashes(folder)
    folder.rename(tmp_path / "parts")
    whole(argv)
    assert hashes(folder) == parts


def hashes(folder: Path) -> dict[str, str]:
    """Of what a fold leaves, its last checkpoint and its best one among it."""
    names = ("predictions.csv", "results.json", "fold1/predictions.csv", "fold1/fold.json")
    found = [folder / name for name in (*names, "fold1/states-400.ckpt", "fold1/dev-best.ckpt")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
