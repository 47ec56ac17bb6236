"""Numbers are recomputed from the predictions, whatever the old record says."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from reporting.runs import make_run

from s3prl_emotion.cli import main
from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation import summarise
from s3prl_emotion.evaluation.runs import recompute
from s3prl_emotion.mapping import to_mapping
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.prediction import Prediction, read_predictions, write_predictions
from s3prl_emotion.runs.results import Results, read_results, results_of, write_results

LABELS = ["a", "b"]
PREDICTIONS = [
    Prediction(1, "u1", "s", "a", "a", (0.9, 0.1)),
    Prediction(1, "u2", "s", "b", "a", (0.8, 0.2)),
    Prediction(2, "u3", "s", "b", "b", None),
]


def _run(folder: Path) -> Results:
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
    forged = to_mapping(results)
    forged["ua"]["mean"] = forged["folds"][0]["wa"] = 1.0
    forged["complete"] = True
    forged["remark"] = "kept"
    write_results(tmp_path / "results.json", results_of(forged, "forged"))
    assert recompute(tmp_path) == dataclasses.replace(results, further={"remark": "kept"})
    assert read_results(tmp_path / "results.json").rates["ua"].mean == pytest.approx(0.75)


def test_changed_predictions_change_the_numbers(tmp_path: Path) -> None:
    _run(tmp_path)
    before = recompute(tmp_path)
    first = PREDICTIONS[0]
    changed = dataclasses.replace(first, predicted="b" if first.predicted == "a" else "a", probabilities=None)
    write_predictions(tmp_path / "predictions.csv", [changed, *PREDICTIONS[1:]], LABELS)
    assert recompute(tmp_path).rates["ua"].mean != before.rates["ua"].mean


def test_lost_rows_are_refused_and_cost_nothing(tmp_path: Path) -> None:
    _run(tmp_path)
    results = (tmp_path / "results.json").read_bytes()
    write_predictions(tmp_path / "predictions.csv", PREDICTIONS[:2], LABELS)
    with pytest.raises(RunError, match=r"has no rows of folds \[2\], which results.json lists"):
        recompute(tmp_path)
    assert (tmp_path / "results.json").read_bytes() == results


def test_utterances_that_the_division_does_not_test_on_are_refused(tmp_path: Path) -> None:
    make_run(tmp_path)
    rows, labels = read_predictions(tmp_path / "predictions.csv")
    write_predictions(tmp_path / "predictions.csv", rows[1:], labels)
    with pytest.raises(RunError, match=r"fold 1 of predictions.csv does not hold exactly the 16 .*: 1 differ"):
        recompute(tmp_path)


def test_predictions_against_their_own_probabilities_are_named(tmp_path: Path, caplog) -> None:
    make_run(tmp_path)
    rows, labels = read_predictions(tmp_path / "predictions.csv")
    write_predictions(
        tmp_path / "predictions.csv", [dataclasses.replace(row, predicted=row.truth) for row in rows], labels
    )
    recompute(tmp_path)
    wrong = sum(row.predicted != row.truth for row in rows)
    assert f"in {wrong} rows of predictions.csv the predicted class is not the most probable one" in caplog.text


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
    with pytest.raises(RunError, match=r"has no rows of folds \[1, 2\]"):
        recompute(tmp_path)


@pytest.mark.parametrize("change", [{"truth": "sad"}, {"speaker": "somebody"}])
def test_truth_and_speaker_are_those_of_the_manifest(tmp_path: Path, change: dict[str, str]) -> None:
    make_run(tmp_path)
    rows, labels = read_predictions(tmp_path / "predictions.csv")
    items = tuple(Utterance(row.utterance, "a.wav", row.truth, row.speaker) for row in rows)
    Manifest("mine", tuple(labels), ".", items).write(tmp_path / "manifest.jsonl")
    recompute(tmp_path)
    write_predictions(tmp_path / "predictions.csv", [dataclasses.replace(rows[0], **change), *rows[1:]], labels)
    with pytest.raises(RunError, match=rf"for '{rows[0].utterance}', manifest.jsonl 'neutral' and '1F'"):
        recompute(tmp_path)


@pytest.mark.parametrize("read", ["compare", "evaluate"])
def test_a_changed_bit_of_the_predictions_is_said(tmp_path, capsys, read):
    """Also where no figure shows it; a record without a hash is read, and says that nothing was checked."""
    folder = RunFolder(tmp_path / "run")
    results = _run(tmp_path)
    folder.path.mkdir()
    folder.write_scores(results, PREDICTIONS)
    assert main([read, str(folder.path)]) == 0
    assert "was changed" not in capsys.readouterr().err
    rows, labels = read_predictions(folder.predictions)
    first = rows[0].probabilities
    nudged = (math.nextafter(first[0], 1.0), *first[1:])
    write_predictions(folder.predictions, [dataclasses.replace(rows[0], probabilities=nudged), *rows[1:]], labels)
    assert main([read, str(folder.path)]) == 0
    assert f"{folder.predictions} was changed after results.json was written" in capsys.readouterr().err
    write_results(folder.results, dataclasses.replace(results, predictions_sha256=None))
    assert main([read, str(folder.path)]) == 0
    assert "(an earlier version wrote it): not checked" in capsys.readouterr().err
