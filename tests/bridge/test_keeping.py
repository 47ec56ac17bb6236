"""Checkpoints that are replaced whole, and logs without lines that are written twice."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from s3prl_emotion.bridge.keeping import drop_lines_beyond, whole_checkpoints


def test_lines_of_later_steps_are_dropped(tmp_path: Path) -> None:
    log = "train at step 2: loss 1\nNew best on dev at step 2: ua 0.5\ntest: loss 1\n"
    (tmp_path / "log.log").write_text(log + "train at step 4: loss 1\nNew best on dev at step 4: ua 0.6\ntrain at st")
    (tmp_path / "layer_weights.csv").write_text("2,0.5,0.5\n4,0.4,0.6\n")
    drop_lines_beyond(tmp_path, 3)
    assert (tmp_path / "log.log").read_text() == log
    assert (tmp_path / "layer_weights.csv").read_text() == "2,0.5,0.5\n"
    drop_lines_beyond(tmp_path, 3)
    drop_lines_beyond(tmp_path / "nothing", 3)
    assert (tmp_path / "log.log").read_text() == log


def test_a_checkpoint_that_breaks_off_leaves_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "states-2.ckpt"
    original = torch.save
    with whole_checkpoints():
        torch.save({"Step": 2}, path)
        torch.save({"Step": 3}, str(path))
    assert torch.save is original
    assert torch.load(path, weights_only=True) == {"Step": 3}

    def full(content: object, file: object) -> None:
        file.write(b"half")
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        finally:
            raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr(torch, "save", full)
    with whole_checkpoints(), pytest.raises(OSError) as caught:
        torch.save({"Step": 4}, path)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert torch.load(path, weights_only=True) == {"Step": 3}
    assert list(tmp_path.iterdir()) == [path]


def test_other_faults_of_torch_stay_as_they_are(tmp_path: Path) -> None:
    with whole_checkpoints(), pytest.raises((AttributeError, TypeError, RuntimeError)):
        torch.save({"Step": lambda: 0}, tmp_path / "x.ckpt")
    assert not list(tmp_path.iterdir())
