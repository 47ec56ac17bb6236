"""kill -9 in pretrain and in export, twice each, while they write: the same command gives the same weights."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

STAGES = ("embed", "cluster", "pretrain", "export")
KILLED = ("pretrain", "export")
KILLS = 2
ROOT = Path(__file__).parents[3]
SETTINGS = "training.steps=400,,training.save_every=20,,training.eval_every=100"


def _start(folder: Path, stage: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "s3prl_emotion", "pretrain", "contrastive", "--demo", "--fold", "1"]
    command += ["--stage", stage, "--device", "cpu", "-p", str(folder / "run"), "--cache-root", str(folder / "cache")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, "-o", SETTINGS], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def _finish(folder: Path, stage: str) -> float:
    start = time.monotonic()
    process = _start(folder, stage)
    _, said = process.communicate(timeout=500)
    assert process.returncode == 0, said.decode()[-2000:]
    return time.monotonic() - start


def _made(folder: Path) -> dict[str, str]:
    names = ("head.safetensors", "head.json", "history.jsonl", "clusters.jsonl")
    found = [path for name in names for path in (folder / "run").rglob(name)]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def _checkpoint(run: Path) -> object:
    """Pretraining is in the middle of it as soon as this changes."""
    path = run / "fold1/pretrain/checkpoint.pt"
    return path.stat().st_mtime_ns if path.is_file() else None


def _written(run: Path) -> object:
    """Of export: the folders that are being filled."""
    return sorted(path.name for path in (run / "head").glob(".*.tmp"))


WRITES: dict[str, Callable[[Path], object]] = {"pretrain": _checkpoint, "export": _written}


def test_killed_in_pretrain_and_export(tmp_path: Path) -> None:
    lasted = {stage: _finish(tmp_path / "whole", stage) for stage in STAGES}
    killed = dict.fromkeys(KILLED, 0)
    for stage in STAGES:
        done = _made(tmp_path / "parts")
        for _ in range(KILLS if stage in KILLED else 0):
            before = WRITES[stage](tmp_path / "parts/run")
            process = _start(tmp_path / "parts", stage)
            while process.poll() is None and WRITES[stage](tmp_path / "parts/run") == before:
                time.sleep(0.001)
            if process.poll() is None:
                process.kill()
                killed[stage] += 1
            process.communicate()
        _finish(tmp_path / "parts", stage)
        now = _made(tmp_path / "parts")
        assert {name: now[name] for name in done} == done, "an earlier stage was done again"
    assert killed["pretrain"] == KILLS, killed  # export writes for milliseconds, which may be missed
    assert not list((tmp_path / "parts").rglob(".*.tmp")), "what killed processes left"
    assert any("head/fold1/head.safetensors" in name for name in _made(tmp_path / "whole"))
    made = [_made(tmp_path / name) for name in ("whole", "parts")]
    for found in made:
        del found["run/fold1/cluster/clusters.jsonl"]  # it holds the paths of each one's audio
    assert made[0] == made[1]
    print(killed, {stage: f"{seconds:.1f} s" for stage, seconds in lasted.items()})
