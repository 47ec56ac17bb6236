"""Epochs of a configuration: counted in optimiser steps for each fold, before S3PRL sees them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s3prl_emotion.cli import main
from s3prl_emotion.config import from_mapping, read_yaml
from s3prl_emotion.downstream.config import RunnerConfig
from s3prl_emotion.downstream.settings import said_last
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.s3prl_runner.arguments import mapping
from s3prl_emotion.s3prl_runner.checkpoints import load_checkpoint
from s3prl_emotion.s3prl_runner.registration import downstream_configs
from s3prl_emotion.s3prl_runner.validation import check_settings


@pytest.mark.parametrize(
    ("utterances", "batch", "accumulated", "epochs", "total", "each"),
    [
        (100, 32, 1, 3, 12, 4),  # ceil(100 / 32) = 4
        (3550, 4, 4, 6, 1332, 222),  # 888 batches, 222 steps
        (10, 4, 4, 6, 6, 1),  # 3 batches, of which 4 would be accumulated
        (1, 32, 1, 1, 1, 1),
    ],
)
def test_counts_by_hand(utterances: int, batch: int, accumulated: int, epochs: int, total: int, each: int) -> None:
    runner = RunnerConfig(epochs=epochs, gradient_accumulate_steps=accumulated).counted(utterances, batch)
    assert (runner.total_steps, runner.eval_step, runner.epochs) == (total, each, None)
    assert runner.counted(5, 1) == runner


def test_an_interval_of_ones_own_is_kept() -> None:
    assert RunnerConfig(epochs=2, eval_step=3).counted(100, 32).eval_step == 3
    with pytest.raises(ValueError, match="eval_step 9 is above total_steps 8"):
        RunnerConfig(epochs=2, eval_step=9).counted(100, 32)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "file: missing key 'total_steps'"),
        ({"total_steps": 5}, "file: missing key 'eval_step'"),
        ({"total_steps": 5, "eval_step": 1, "epochs": 2}, "epochs 2 and total_steps 5 both say how long to train"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": 1.5}, "file.epochs: expected int, found 1.5"),
        ({"epoch": 3}, "unknown key 'epoch'. Did you mean 'epochs'"),
    ],
)
def test_wrong_lengths(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(RunnerConfig, given, "file")
    assert message in str(caught.value)


def test_what_was_said_last_counts() -> None:
    epochs, steps = {"epochs": 6, "log_step": 1}, {"total_steps": 100, "eval_step": 10}
    assert said_last({**epochs, "total_steps": 2, "eval_step": 1}, epochs) == {
        "log_step": 1,
        "total_steps": 2,
        "eval_step": 1,
    }
    assert said_last({**steps, "epochs": 2}, steps) == {"epochs": 2}
    assert said_last({**steps, "eval_step": 3, "epochs": 2}, steps) == {"eval_step": 3, "epochs": 2}
    assert said_last({**epochs, "epochs": 2, "total_steps": 5}, epochs) == {
        "log_step": 1,
        "epochs": 2,
        "total_steps": 5,
    }


def test_configurations_without_epochs_are_recorded_as_before() -> None:
    path = downstream_configs()["emotion_mean"]
    runner = mapping("emotion_mean", *check_settings(read_yaml(path), "emotion_mean", str(path)))["runner"]
    assert set(runner) == {
        *("total_steps", "eval_step", "gradient_clipping", "gradient_accumulate_steps", "log_step", "save_step"),
        *("max_keep", "eval_dataloaders", "train_dataloader", "fp16", "evaluate_ratio"),
    }


def test_a_run_in_epochs(demo_root: Path, cache_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two epochs of each fold's own training part; a repeated command does nothing, and nothing is said to differ."""
    options = ["--corpus", "demo", "--data", str(demo_root), "--device", "cpu", "--cache-root", str(cache_root)]
    command = ["run", "-u", "fbank", "-d", "emotion_cnn", *options, "-p", str(tmp_path / "run"), "--fold", "1"]
    small = "config.downstream_expert.modelrc.pooling.width=4,,config.runner.epochs=2"
    assert main([*command, "-o", small]) == 0
    printed = capsys.readouterr().out
    trained = len(json.loads((tmp_path / "run" / "folds.json").read_text())["folds"][0]["train"])
    steps = 2 * -(-trained // 32)
    assert f"epochs counted in optimiser steps (the count is ours): {steps} in fold 1" in printed
    assert "2 epochs (file: 60 epochs)" in printed
    fold = json.loads((tmp_path / "run" / "fold1" / "fold.json").read_text())
    assert (fold["total_steps"], fold["differs"]) == (steps, [])
    content = load_checkpoint(tmp_path / "run" / "fold1" / "dev-best.ckpt")
    assert content["Training"].settings.runner.total_steps == steps
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["config"]["runner"]["epochs"] == 2
    assert "total_steps" not in run["config"]["runner"]
    assert json.loads((tmp_path / "run" / "results.json").read_text())["settings"]["epochs_in_steps"] == {"1": steps}
    assert main([*command, "-o", small]) == 0
    assert main([*command, "-o", small.replace("epochs=2", "epochs=3")]) == 2
    assert "config.runner.epochs was 2 and is 3" in capsys.readouterr().err


def test_demo_counts_steps(demo_root: Path) -> None:
    from s3prl_emotion.experiment.request import Request, resolve_request

    given = {"upstream": "fbank", "downstream": "emotion_cnn", "device": "cpu"}
    runner = resolve_request(Request(given, corpus="demo", data=demo_root, demo=True)).training.settings.runner
    assert (runner.total_steps, runner.epochs) == (150, None)
    plan = resolve_request(
        Request(
            {**given, "downstream": "emotion_mean", "override": "config.runner.epochs=3"}, corpus="demo", data=demo_root
        )
    )
    assert (plan.training.settings.runner.total_steps, plan.training.settings.runner.epochs) == (None, 3)
    assert plan.remarks.deviations == ("3 epochs",)


def test_the_papers_fine_tuning() -> None:
    """arXiv 2312.11503: AdamW 5e-5, 500 warm-up steps, weight decay 0.01, 6 epochs, batches of 16 by accumulation."""
    path = downstream_configs()["emotion_finetune"]
    config = mapping("emotion_finetune", *check_settings(read_yaml(path), "emotion_finetune", str(path)))
    assert config["optimizer"] == {"name": "TorchOptim", "torch_optim_name": "AdamW", "lr": 5e-5, "weight_decay": 0.01}
    assert config["scheduler"]["num_warmup_steps"] == 500
    data = config["downstream_expert"]["datarc"]
    assert data["train_batch_size"] * config["runner"]["gradient_accumulate_steps"] == 16
    assert config["runner"]["epochs"] == 6


def test_ties_on_dev_are_told(run: Callable[..., int], tmp_path: Path) -> None:
    """A head that learns nothing scores the same at every evaluation; the log says which step is kept."""
    tiny_rate = "config.optimizer.lr=1e-12"
    assert run("-u", "fbank", "-d", "emotion_mean", "--fold", "1", steps=3, every=1, more=tiny_rate) == 0
    lines = (tmp_path / "run/fold1/log.log").read_text().splitlines()
    assert [line.partition(":")[0] for line in lines if line.startswith("Tie")] == [
        f"Tie on dev at step {step}" for step in (2, 3)
    ]
