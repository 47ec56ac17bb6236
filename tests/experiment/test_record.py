"""The record of a finished fold: its predictions are those that were scored, or nothing."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest

from s3prl_emotion.errors import RunError
from s3prl_emotion.experiment.record import fold_predictions
from s3prl_emotion.runs.prediction import Prediction, read_predictions, write_predictions

LABELS = ("a", "b")
ROWS = [Prediction(1, "u", "s", "a", "a", (0.8, 0.2)), Prediction(1, "v", "s", "b", "a", (0.6, 0.4))]


def _finished(folder: Path) -> dict[str, Any]:
    write_predictions(folder / "predictions.csv", ROWS, LABELS)
    return {"predictions_sha256": hashlib.sha256((folder / "predictions.csv").read_bytes()).hexdigest()}


def test_predictions_of_a_finished_fold_are_those_that_were_written(tmp_path: Path) -> None:
    assert fold_predictions(tmp_path, _finished(tmp_path), LABELS, ["u", "v"]) == ROWS


@pytest.mark.parametrize("change", [{"predicted": "b", "probabilities": (0.2, 0.8)}, {"probabilities": (0.7, 0.3)}])
def test_edited_predictions_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    """Valid rows of the right utterances and classes, but not those that the checkpoint gave."""
    finished = _finished(tmp_path)
    write_predictions(tmp_path / "predictions.csv", [ROWS[0], dataclasses.replace(ROWS[1], **change)], LABELS)
    with pytest.raises(RunError, match=r"predictions\.csv was changed after the fold ended: score it again"):
        fold_predictions(tmp_path, finished, LABELS, ["u", "v"])


def test_other_classes_and_utterances_are_refused(tmp_path: Path) -> None:
    finished = _finished(tmp_path)
    with pytest.raises(RunError, match=r"has the classes a, b, the run's manifest\.jsonl b, a"):
        fold_predictions(tmp_path, finished, ("b", "a"), ["u", "v"])
    with pytest.raises(RunError, match="does not hold exactly the 1 test utterances"):
        fold_predictions(tmp_path, finished, LABELS, ["u"])


def test_no_result_is_put_together_from_edited_predictions(run, tmp_path: Path, capsys) -> None:
    options = ("-u", "fbank", "-d", "emotion_mean_std", "--fold", "1")
    assert run(*options) == 0
    path = tmp_path / "run" / "fold1" / "predictions.csv"
    rows, labels = read_predictions(path)
    wrong = next(index for index, row in enumerate(rows) if row.predicted != row.truth)
    better = dataclasses.replace(rows[wrong], predicted=rows[wrong].truth, probabilities=None)
    write_predictions(path, [*rows[:wrong], better, *rows[wrong + 1 :]], labels)
    before = (tmp_path / "run" / "results.json").read_bytes()
    assert run(*options) == 2
    assert "was changed after the fold ended: score it again with -m evaluate" in capsys.readouterr().err
    assert (tmp_path / "run" / "results.json").read_bytes() == before
