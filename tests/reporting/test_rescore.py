"""Numbers are recomputed from the predictions, whatever the old record says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation import Prediction, read_results, summarise, write_predictions, write_results
from s3prl_emotion.reporting import recompute

LABELS = ["a", "b"]
PREDICTIONS = [
    Prediction(1, "u1", "s", "a", "a", (0.9, 0.1)),
    Prediction(1, "u2", "s", "b", "a", (0.8, 0.2)),
    Prediction(2, "u3", "s", "b", "b", None),
]


def _run(folder: Path) -> dict:
    protocol = {"name": "strict", "split_sha256": "0", "dev": "d", "selection": "s", "transductive": False}
    results = summarise(
        PREDICTIONS,
        LABELS,
        upstream="fbank",
        checkpoint_sha256=None,
        downstream="emotion_mean",
        corpus="emodb",
        protocol=protocol,
        steps={1: 10, 2: 20},
        seed=1,
        versions={"numpy": "old"},
        settings={"demo": True},
        folds_expected=[1, 2, 3],
    )
    write_predictions(folder / "predictions.csv", PREDICTIONS, LABELS)
    write_results(folder / "results.json", results)
    return results


def test_recomputing_an_untouched_run_changes_nothing(tmp_path: Path) -> None:
    results = _run(tmp_path)
    assert recompute(tmp_path) == results
    assert read_results(tmp_path / "results.json") == results


def test_numbers_come_from_the_predictions(tmp_path: Path) -> None:
    results = _run(tmp_path)
    forged = json.loads(json.dumps(results))
    forged["ua"]["mean"] = forged["folds"][0]["wa"] = 1.0
    forged["complete"] = True
    forged["remark"] = "kept"
    write_results(tmp_path / "results.json", forged)
    assert recompute(tmp_path) == {**results, "remark": "kept"}
    assert read_results(tmp_path / "results.json")["ua"]["mean"] == pytest.approx(0.75)


def test_changed_predictions_change_the_numbers(tmp_path: Path) -> None:
    _run(tmp_path)
    write_predictions(tmp_path / "predictions.csv", PREDICTIONS[:2], LABELS)
    results = recompute(tmp_path)
    assert [fold["fold"] for fold in results["folds"]] == [1]
    assert results["ua"] == {"mean": 0.5, "std": None, "ci95": None, "ci95_folds": None}
    assert results["folds_expected"] == [1, 2, 3]


@pytest.mark.parametrize("name", ["predictions.csv", "results.json"])
def test_a_missing_file_says_what_to_do(tmp_path: Path, name: str) -> None:
    _run(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(RunError, match=rf"holds no {name}. Expected the folder of a run.*run the experiment again"):
        recompute(tmp_path)


def test_files_of_different_runs_are_refused(tmp_path: Path) -> None:
    _run(tmp_path)
    write_predictions(tmp_path / "predictions.csv", PREDICTIONS, ["b", "a"])
    with pytest.raises(RunError, match=r"has the labels \['b', 'a'\], results.json has \['a', 'b'\]"):
        recompute(tmp_path)
    write_predictions(tmp_path / "predictions.csv", [Prediction(3, "u", "s", "a", "a")], LABELS)
    with pytest.raises(RunError, match=r"folds \[3\], which results.json does not list: run those folds again"):
        recompute(tmp_path)
    write_predictions(tmp_path / "predictions.csv", [], LABELS)
    with pytest.raises(RunError, match="there are no predictions"):
        recompute(tmp_path)
