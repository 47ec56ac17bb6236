"""Trained runs on a tiny upstream, shared by the tests of this room. Do not write into them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from s3prl_emotion.cli import main
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.runs.prediction import Prediction, read_predictions

STEPS = (
    "config.runner.total_steps=4,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.log_step=2,,"
    "config.optimizer.lr=1e-4"
)


@pytest.fixture(scope="session")
def train(tmp_path_factory, demo_root, cache_root) -> Callable[..., Path]:
    """``train(*options, more="")``: a run on the demo corpus; gives its folder."""

    def start(*options: str, more: str = "") -> Path:
        folder = tmp_path_factory.mktemp("trained") / "run"
        given = ["--corpus", "demo", "--data", str(demo_root), "--device", "cpu", "-p", str(folder)]
        override = STEPS + (f",,{more}" if more else "")
        assert main(["run", *given, *options, "-o", override]) == 0
        return folder

    return start


@pytest.fixture(scope="session")
def trained(train, tiny_hubert, cache_root) -> Path:
    """Folds 1 and 2 of attentive correlation on three layers of width 16; states stored as float32."""
    return train(
        *("-u", "hf_auto_custom", "-k", str(tiny_hubert), "-d", "emotion_attn_corr", "--fold", "1,2"),
        *("--cache-root", str(cache_root), "--cache-dtype", "float32"),
    )


@pytest.fixture(scope="session")
def tuned(train, tiny_hubert) -> Path:
    """Folds 1 and 2 of a fine-tuned run whose audio is cut to its first second; tested without padding."""
    return train(
        *("-u", "hf_auto_custom", "-k", str(tiny_hubert), "-d", "emotion_attn_pool", "--fold", "1,2"),
        *("-f", "-s", "last_hidden_state"),
        more="config.downstream_expert.datarc.max_duration_s=1.0,,config.downstream_expert.datarc.eval_batch_size=1",
    )


@pytest.fixture(scope="session")
def some_test_files() -> Callable[[Path, int], tuple[list[Path], list[Prediction]]]:
    """``(run, fold)`` to every third test file of that fold, with the run's own predictions."""

    def pick(run: Path, fold: int) -> tuple[list[Path], list[Prediction]]:
        manifest = Manifest.read(run / "manifest.jsonl")
        rows, _ = read_predictions(run / f"fold{fold}" / "predictions.csv")
        return [manifest.path_of(manifest.by_id[row.utterance]) for row in rows[::3]], rows[::3]

    return pick
