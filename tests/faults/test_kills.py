"""Kills at every step that puts a file in its place: the same command goes on, and ends as if nothing had been."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.processes import end, killed_at, start
from s3prl_emotion.cli import main
from s3prl_emotion.runs.folder import RunFolder

pytestmark = pytest.mark.slow

STEPS = "config.runner.total_steps=4,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.log_step=2"
TRAINING = [
    *(
        ("replace", name, 1, after)
        for name in ("manifest.jsonl", "folds.json", "audit.json")
        for after in (False, True)
    ),
    *(("replace", "run.json", 1, after) for after in (False, True)),
    *(("save", f"{name}.ckpt", 1, False) for name in ("dev-best", "states-2", "states-4")),
    *(
        ("replace", f"{name}.ckpt", 1, after)
        for name in ("dev-best", "states-2", "states-4")
        for after in (False, True)
    ),
    ("replace", "fold2/states-2.ckpt", 1, True),
    ("save", "fold2/.states-4.ckpt", 1, False),
    *(("replace", f"fold1/{name}", 1, False) for name in ("dev_predictions.csv", "dev_fold1_truth.txt")),
    *(("replace", "fold1/test_predictions.csv", 1, after) for after in (False, True)),
    *(("replace", "fold1/predictions.csv", 1, after) for after in (False, True)),
    *(("replace", "fold1/fold.json", 1, after) for after in (False, True)),
    ("replace", "fold2/fold.json", 1, True),
    *(("replace", "run/predictions.csv", 1, after) for after in (False, True)),
    *(("replace", "results.json", 1, after) for after in (False, True)),
]


def _command(finished_run: Path, demo: Path, folder: Path, *more: str) -> list[str]:
    argv = ["run", "-u", "fbank", "-d", "emotion_mean_std", "--corpus", "demo", "--data", str(demo), "--device", "cpu"]
    argv += ["--fold", "1,2", "--cache-root", str(finished_run.parent / "cache"), "-p", str(folder), "-o", STEPS]
    return [*argv, *more]


def _results(folder: Path) -> dict[str, bytes]:
    """Everything that a run ends with, byte by byte; logs too, since no step is written twice."""
    names = ("predictions.csv", "results.json", "folds.json", "fold1/predictions.csv", "fold2/predictions.csv")
    logs = ("fold1/layer_weights.csv", "fold1/log.log", "fold2/log.log")
    return {name: (folder / name).read_bytes() for name in (*names, *logs) if (folder / name).is_file()}


def _name(point: tuple[str, str, int, bool]) -> str:
    return f"{point[0]} {point[1]} {'after' if point[3] else 'before'}".replace("/", " ")


@pytest.mark.parametrize("point", TRAINING, ids=_name)
def test_a_run_that_was_killed(
    point: tuple[str, str, int, bool], finished_run: Path, demo_root: Path, tmp_path: Path
) -> None:
    argv = _command(finished_run, demo_root, tmp_path / "run")
    assert end(start(argv, tmp_path / "log", killed_at(*point))) == -9, (tmp_path / "log").read_text()
    assert main(argv) == 0
    logs = {name: text for name, text in _results(finished_run).items() if not name.endswith("log.log")}
    assert {name: text for name, text in _results(tmp_path / "run").items() if not name.endswith("log.log")} == logs
    for fold in ("fold1", "fold2"):
        lines = [
            [line for line in (folder / fold / "log.log").read_text().splitlines() if not line.startswith("test:")]
            for folder in (finished_run, tmp_path / "run")
        ]
        assert lines[0] == lines[1], "every step is logged once"
    assert not list((tmp_path / "run").rglob(".*.tmp"))


@pytest.mark.parametrize(
    "point",
    [("replace", name, 1, after) for name in ("learning_rates.json", "lrdev/results.json") for after in (False, True)]
    + [("replace", "lrdev/predictions.csv", 1, False), ("replace", "lr0.01/results.json", 1, False)],
    ids=_name,
)
def test_a_sweep_that_was_killed(
    point: tuple[str, str, int, bool], finished_run: Path, demo_root: Path, tmp_path: Path
) -> None:
    argv = ["sweep", *_command(finished_run, demo_root, tmp_path)[1:-4], "--lr", "1e-2,1e-3", "-o", STEPS]
    assert main([*argv, "--root", "whole"]) == 0
    killed = [*argv, "--root", "killed"]
    assert end(start(killed, tmp_path / "log", killed_at(*point))) == -9, (tmp_path / "log").read_text()
    assert main(killed) == 0
    found = [
        {
            path.relative_to(root): path.read_bytes()
            for path in root.rglob("*")
            if path.name in ("results.json", "learning_rates.json", "predictions.csv")
        }
        for root in (Path("whole"), Path("killed"))
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 3 * 3 + 4 - 2


@pytest.mark.parametrize("earlier", [False, True], ids=["the first", "over an earlier one"])
@pytest.mark.parametrize(
    "point",
    [
        ("replace", "head", 1, False),
        ("replace", "head", 1, True),
        (*("replace", "README.md"), 1, False),
        ("replace", ".old", 1, True),
    ],
    ids=_name,
)
def test_an_export_that_was_killed(
    point: tuple[str, str, int, bool], earlier: bool, finished_run: Path, tmp_path: Path
) -> None:
    argv = ["export", str(finished_run), "--device", "cpu", "--out", str(tmp_path / "head")]
    if earlier:
        assert main([*argv, "--fold", "1"]) == 0
    elif point[1] == ".old":
        pytest.skip("there is no earlier one to put away")
    assert end(start(argv, tmp_path / "log", killed_at(*point))) == -9, (tmp_path / "log").read_text()
    assert main(argv) == 0
    assert json.loads((tmp_path / "head" / "config.json").read_text())["folds"] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head", "log"]


def test_an_earlier_export_comes_back(finished_run: Path, tmp_path: Path) -> None:
    """A kill between two renames leaves it under a hidden name; the next export, though it fails, puts it back."""
    argv = ["export", str(finished_run), "--device", "cpu", "--out", str(tmp_path / "head"), "--fold", "1"]
    assert main(argv) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "head").iterdir()}
    assert end(start(argv, tmp_path / "log", killed_at("replace", ".old", 1, True))) == -9
    assert not (tmp_path / "head").exists()
    (tmp_path / "notes").mkdir()

    def fail() -> None:
        from s3prl_emotion.inference import export

        export.model_card = lambda _: 1 / 0  # type: ignore[assignment]

    assert end(start(argv, tmp_path / "log", fail)) == 70
    assert {path.name: path.read_bytes() for path in (tmp_path / "head").iterdir()} == before


def _together(barrier: object) -> Callable[[], None]:
    """Let two processes find the folder free before either of them claims it."""

    def inject() -> None:
        check, waited = RunFolder.is_for, []

        def both(*args: object) -> bool:
            found = check(*args)  # type: ignore[arg-type]
            if not waited:
                waited.append(True)
                barrier.wait(60)  # type: ignore[attr-defined]
            return found

        RunFolder.is_for = both  # type: ignore[assignment,method-assign]

    return inject


@pytest.mark.parametrize("attempt", range(3))
def test_two_requests_for_one_folder(attempt: int, finished_run: Path, demo_root: Path, tmp_path: Path) -> None:
    """Folds 1 and 2 with other seeds and rates: one of them is refused, whoever is late."""
    barrier = multiprocessing.get_context("fork").Barrier(2)
    children = []
    for fold, seed, rate in (("1", "1", "1e-3"), ("2", "2", "1e-1")):
        argv = _command(finished_run, demo_root, tmp_path / "run", "--fold", fold, "--seed", seed)
        argv[argv.index("-o") + 1] += f",,config.optimizer.lr={rate}"
        children.append(start(argv, tmp_path / f"log{fold}", _together(barrier)))
    statuses = [end(child) for child in children]
    logs = [(tmp_path / f"log{fold}").read_text() for fold in (1, 2)]
    assert sorted(statuses) == [0, 2], logs
    winner = statuses.index(0)
    assert "holds a run with other settings" in logs[1 - winner]
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["seed"] == winner + 1
    assert [fold["fold"] for fold in results["folds"]] == [winner + 1]
    assert sorted(path.parent.name for path in (tmp_path / "run").glob("fold*/fold.json")) == [f"fold{winner + 1}"]


def test_two_folds_of_one_run_at_the_same_time(finished_run: Path, demo_root: Path, tmp_path: Path) -> None:
    barrier = multiprocessing.get_context("fork").Barrier(2)
    children = [
        start(
            _command(finished_run, demo_root, tmp_path / "run", "--fold", fold),
            tmp_path / f"log{fold}",
            _together(barrier),
        )
        for fold in ("1", "2")
    ]
    assert [end(child) for child in children] == [0, 0], [(tmp_path / f"log{fold}").read_text() for fold in (1, 2)]
    assert (tmp_path / "run" / "results.json").read_bytes() == (finished_run / "results.json").read_bytes()


def test_a_claim_of_a_process_that_died_is_free(finished_run: Path, demo_root: Path, tmp_path: Path) -> None:
    """Nothing was computed for it: another request may have the folder."""
    argv = _command(finished_run, demo_root, tmp_path / "run")
    assert end(start(argv, tmp_path / "log", killed_at("replace", "run.json", 1, True))) == -9
    assert main([*argv, "--seed", "5"]) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["seed"] == 5
    assert os.path.isfile(tmp_path / "run" / "results.json")
