"""Short runs on the small demo corpus, through the real command line, Runner and checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from s3prl_emotion.cli import main

SHORT = (
    "config.runner.total_steps={steps},,config.runner.eval_step={every},,config.runner.save_step={every},,"
    "config.runner.log_step={every},,config.optimizer.lr=1e-3"
)

Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, demo_root: Path) -> Run:
    """``run(*options, steps=4, every=2, more="")``: the command line on the demo corpus, in ``tmp_path / "run"``."""

    def start(*options: str, steps: int = 4, every: int = 2, more: str = "", folder: Path | None = None) -> int:
        override = SHORT.format(steps=steps, every=every) + (f",,{more}" if more else "")
        return main(
            [
                "run",
                *("--corpus", "demo", "--data", str(demo_root), "--device", "cpu"),
                *("-p", str(folder or tmp_path / "run"), "-o", override),
                *options,
            ]
        )

    return start
