"""What FLEA refuses before anything is extracted or trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from s3prl_emotion.cli import main
from s3prl_emotion.pretraining.flea import grid
from s3prl_emotion.pretraining.masked import check_masks
from s3prl_emotion.pretraining.objective import MaskSettings

MASK = "{0}.training.mask.length=300"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("cpt.training.batch.seconds=1e999", "cpt.training.batch.seconds: expected a finite number, found inf"),
        ("cpt.training.batch.seconds=1e300", "parts of part_seconds 15, expected at most 10000"),
        ("tapt.training.batch.buckets=0", "buckets must be at least 1, got 0"),
        ("tapt.training.temperature=1e999", "tapt.training.temperature: expected a finite number, found inf"),
        ("tapt.training.penalty=1e999", "expected a finite number"),
        ("tapt.training.optimiser.lr=1e999", "expected a finite number"),
        ("tapt.training.optimiser.clip=1e999", "expected a finite number"),
        ("finetune.config.optimizer.lr=1e999", "finetune.config.optimizer.lr: expected a finite number, found inf"),
        ("evaluate.config.optimizer.rate=1", "unknown key 'rate' of AdamW"),
        ("evaluate.config.finetune.layerdrop=2", "finetune: layerdrop must be in [0, 1), got 2"),
        ("finetune.config.runner.total_step=1", "unknown key 'total_step'"),
        ("tapt.training.optimiser.warmup_steps=30", "warmup_steps 30 must be below steps 30: the rate would only rise"),
        ("tapt.layer=3", "tapt.layer: 3: "),
        ("cluster.layer=9", "has 2 transformer blocks, so layers are 1 to 2"),
        ("tapt.training.mask.length=300", "tapt: the longest clip has 1"),
        ("cpt.training.mask.length=300", "a mask is mask.length 300 long, so nothing would be masked or trained"),
    ],
)
def test_settings(override: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["pretrain", "flea", "--demo", "--device", "cpu", "-p", str(tmp_path / "run")]
    assert main([*command, "--cache-root", str(tmp_path / "cache"), "-o", override]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert not (tmp_path / "cache").exists()
    assert not list((tmp_path / "run").glob("fold[0-9]*"))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (("layers=1", "clusters=1"), "--grid: clusters=1, expected at least 2"),
        (("layers=1-9", "clusters=4"), "--grid layers=3: "),
    ],
)
def test_grids(cells: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A layer that the base does not have is named before stage 1."""
    command = ["pretrain", "flea", "--demo", "--device", "cpu", "-p", str(tmp_path / "run")]
    assert main([*command, "--cache-root", str(tmp_path / "cache"), "--grid", *cells]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()
    assert not list((tmp_path / "run").glob("fold[0-9]*"))


def test_masks_that_fit_into_no_clip() -> None:
    from s3prl_emotion.errors import ConfigError

    check_masks(10, MaskSettings(), "x")
    check_masks(9, MaskSettings(rule="fairseq"), "x")
    with pytest.raises(ConfigError, match=r"x has 9 frames, and a mask is mask\.length 10 long"):
        check_masks(9, MaskSettings(), "x")


def test_ties_of_cells_are_told() -> None:
    def row(layer: int, dev: float) -> dict[str, Any]:
        return {"layer": layer, "clusters": 5, "ua": 0.5, "ua_ci95_low": None, "ua_ci95_high": None, "dev": dev}

    assert "of 2 cells with that score" in " ".join(grid._chosen([row(1, 0.6), row(2, 0.6)], "dev UA %").split())
    assert "cells with" not in grid._chosen([row(1, 0.6), row(2, 0.5)], "dev UA %")


def test_a_study_checks_its_heads_before_it_pretrains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["pretrain", "contrastive", "--demo", "--study", "--device", "cpu", "-p", str(tmp_path / "run")]
    command += ["--cache-root", str(tmp_path / "cache"), "-o", "study.config.optimizer.rate=1"]
    assert main(command) == 2
    assert "unknown key 'rate'" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()
