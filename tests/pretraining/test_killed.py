"""kill -9 in every stage, three times each at random moments: the same command completes, nothing is done again."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

STAGES = ("tapt", "finetune", "cluster", "cpt", "export")
KILLS = 3
SETTINGS = (
    "tapt.training.save_every=2,,cpt.training.save_every=2,,tapt.training.steps=20,,cpt.training.steps=20,,"
    "finetune.config.runner.save_step=2,,finetune.config.runner.eval_step=4"
)
ROOT = Path(__file__).parents[2]


def _start(folder: Path, stage: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "s3prl_emotion", "pretrain", "flea", "--demo", "--fold", "1", "--stage", stage]
    command += ["--device", "cpu", "-p", str(folder / "run"), "--cache-root", str(folder / "cache"), "-o", SETTINGS]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _finish(folder: Path, stage: str) -> float:
    start = time.monotonic()
    process = _start(folder, stage)
    _, said = process.communicate(timeout=500)
    assert process.returncode == 0, said.decode()[-2000:]
    return time.monotonic() - start


def _made(folder: Path) -> dict[str, str]:
    """Hashes of what stages leave: weights, centroids, labels and predictions."""
    names = ("model.safetensors", "centroids.npy", "labels.npy", "predictions.csv", "history.jsonl")
    found = [path for name in names for path in (folder / "run").rglob(name)]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_killed_in_every_stage(tmp_path: Path) -> None:
    lasted = {stage: _finish(tmp_path / "whole", stage) for stage in STAGES}
    drawn = random.Random(0)
    killed = dict.fromkeys(STAGES, 0)
    for stage in STAGES:
        done = _made(tmp_path / "parts")
        for _ in range(KILLS):
            process = _start(tmp_path / "parts", stage)
            time.sleep(drawn.uniform(0.3, 1.0) * lasted[stage])
            if process.poll() is None:
                process.kill()
                killed[stage] += 1
            process.communicate()
        _finish(tmp_path / "parts", stage)
        now = _made(tmp_path / "parts")
        assert {name: now[name] for name in done} == done, "an earlier stage was done again"
    assert all(killed.values()), killed
    whole, parts = _made(tmp_path / "whole"), _made(tmp_path / "parts")
    assert any("upstreams/cpt/fold1/model.safetensors" in name for name in whole)
    assert parts == whole
    print(killed, {stage: f"{seconds:.1f} s" for stage, seconds in lasted.items()})
