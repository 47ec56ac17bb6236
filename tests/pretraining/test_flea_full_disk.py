"""A disk that fills up at some moment of the recipe: the fault names the place, and with room again it goes on."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from faults.processes import end, start
from faults.test_full_disk import KB, Disk, disk

from s3prl_emotion.cli import main
from tests.pretraining.test_flea import QUICK

__all__ = ["disk"]
pytestmark = pytest.mark.slow


def _command(folder: Path, cache: Path) -> list[str]:
    argv = ["pretrain", "flea", "--demo", "--fold", "1", "--device", "cpu", "-p", str(folder)]
    return [*argv, "--cache-root", str(cache), "-o", QUICK]


def _made(folder: Path) -> dict[str, str]:
    names = ("model.safetensors", "centroids.npy", "labels.npy", "predictions.csv", "history.jsonl", "table.txt")
    found = [path for name in names for path in folder.rglob(name)]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert main(_command(folder / "run", folder / "cache")) == 0
    return folder / "run"


def _used(disk: Disk) -> int:
    state = os.statvfs(disk.folder)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def test_the_recipe_on_a_disk_that_fills_up(whole: Path, disk: Disk, tmp_path: Path) -> None:
    """Room is given in growing steps; each time the same command goes on until the disk is full again."""
    argv = _command(disk.folder / "run", tmp_path / "cache")
    finished: dict[Path, int] = {}
    for attempt in range(60):
        disk.free()
        disk.leave(attempt * 192 * KB)
        status = end(start(argv, tmp_path / "log"))
        text = (tmp_path / "log").read_text(errors="replace")
        if status == 0:
            break
        assert status == 2, text
        assert "Traceback" not in text, text
        errors = [line for line in text.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, text
        assert str(disk.folder) in errors[0], text
        assert "Make room" in errors[0], errors
        for path, written in finished.items():
            assert path.stat().st_mtime_ns == written, f"{path}: done again"
        finished = {path: path.stat().st_mtime_ns for path in (disk.folder / "run").rglob("stage.json")}
    assert status == 0, text
    assert attempt > 5, "it was full at several moments"
    disk.free()
    assert _made(disk.folder / "run") == _made(whole)
    assert not list((disk.folder / "run").rglob(".*.tmp"))
