"""What the rows of the campaign share, and the line of counts at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, demo_root: Path) -> Path:
    """A finished run of two folds on the demo corpus. Copy it before changing it."""
    from s3prl_emotion.cli import main

    folder = tmp_path_factory.mktemp("finished") / "run"
    override = (
        "config.runner.total_steps=4,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.log_step=2"
    )
    argv = ["run", "-u", "fbank", "-d", "emotion_mean_std", "--corpus", "demo", "--data", str(demo_root)]
    argv += ["--device", "cpu", "--fold", "1,2", "--cache-root", str(folder.parent / "cache"), "-p", str(folder)]
    assert main([*argv, "-o", override]) == 0
    return folder


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line: how many rows of each kind were held against the program, and how many failed."""
    counts: dict[str, list[int]] = {}
    for outcome, place in (("passed", 0), ("failed", 1), ("error", 1), ("skipped", 2)):
        for report in terminalreporter.stats.get(outcome, []):
            path, _, _ = getattr(report, "nodeid", "").partition("::")
            if "faults/" in path and (report.when == "call" or outcome in ("error", "skipped")):
                counts.setdefault(Path(path).stem.removeprefix("test_"), [0, 0, 0])[place] += 1
    if counts:
        total = [sum(column) for column in zip(*counts.values(), strict=True)]
        kinds = ", ".join(f"{kind} {sum(row)}" for kind, row in sorted(counts.items()))
        terminalreporter.write_line(
            f"fault campaign: {sum(total)} rows ({kinds}): {total[0]} as expected, {total[1]} not, {total[2]} skipped"
        )
