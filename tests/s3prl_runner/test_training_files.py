"""Checkpoints that are replaced whole, and logs without lines that are written twice."""

from __future__ import annotations

import errno
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from s3prl_emotion.s3prl_runner import shims
from s3prl_emotion.s3prl_runner.training_files import atomic_checkpoints, truncate_logs


def test_lines_of_later_steps_are_dropped(tmp_path: Path) -> None:
    log = "train at step 2: loss 1\nNew best on dev at step 2: ua 0.5\ntest: loss 1\n"
    (tmp_path / "log.log").write_text(log + "train at step 4: loss 1\nNew best on dev at step 4: ua 0.6\ntrain at st")
    (tmp_path / "layer_weights.csv").write_text("2,0.5,0.5\n4,0.4,0.6\n")
    truncate_logs(tmp_path, 3)
    assert (tmp_path / "log.log").read_text() == log
    assert (tmp_path / "layer_weights.csv").read_text() == "2,0.5,0.5\n"
    truncate_logs(tmp_path, 3)
    truncate_logs(tmp_path, 2)  # the lines of the checkpoint's own step stay
    assert (tmp_path / "layer_weights.csv").read_text() == "2,0.5,0.5\n"
    truncate_logs(tmp_path / "nothing", 3)
    assert (tmp_path / "log.log").read_text() == log


def test_a_checkpoint_that_breaks_off_leaves_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "states-2.ckpt"
    original = torch.save
    with atomic_checkpoints():
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
    with atomic_checkpoints(), pytest.raises(OSError) as caught:
        torch.save({"Step": 4}, path)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert torch.load(path, weights_only=True) == {"Step": 3}
    assert list(tmp_path.iterdir()) == [path]


def test_other_faults_of_torch_stay_as_they_are(tmp_path: Path) -> None:
    with atomic_checkpoints(), pytest.raises((AttributeError, TypeError, RuntimeError)):
        torch.save({"Step": lambda: 0}, tmp_path / "x.ckpt")
    assert not list(tmp_path.iterdir())


def test_where_a_training_went_on_from_is_not_kept(tmp_path: Path) -> None:
    """Equal content is equal bytes, whether texts are the same objects or not, and containers are shared or not."""
    key, pair = "".join(("l", "r")), ["x"]
    weights = torch.nn.Linear(2, 2).state_dict()
    contents = [
        {
            "Args": Namespace(init_ckpt=None, past_exp=None, name="lr"),
            "a": {"lr": "lr"},
            "b": [pair, pair],
            "w": weights,
        },
        {"Args": Namespace(name=key, past_exp="p", init_ckpt="i"), "a": {"lr": key}, "b": [["x"], ["x"]], "w": weights},
    ]
    with atomic_checkpoints():
        for number, content in enumerate(contents):
            torch.save(content, tmp_path / f"{number}.ckpt")
    assert (tmp_path / "0.ckpt").read_bytes() == (tmp_path / "1.ckpt").read_bytes()
    assert contents[1]["Args"].init_ckpt == "i", "the training itself keeps it"
    shims.apply()
    found = torch.load(tmp_path / "1.ckpt", weights_only=True)
    assert found["w"]._metadata == weights._metadata
