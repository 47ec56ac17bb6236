"""The prediction file: round trip, and errors that name file, row and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_emotion.errors import RunError
from s3prl_emotion.runs.prediction import Prediction, read_predictions, write_predictions

LABELS = ["a", "b"]
HEADER = "fold,utterance,speaker,truth,predicted,p_a,p_b"


def _file(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "predictions.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_round_trip_is_exact(tmp_path: Path) -> None:
    items = [
        Prediction(1, "Ses01F_impro01_F000", "01F", "a", "b", (1 / 3, 2 / 3)),
        Prediction(2, "Ses01F_impro01_F000", "01F", "b", "b", (1e-17, 1.0)),
        Prediction(2, 'with, comma and "quotes" und Umlaut ä', "", "a", "a", None),
    ]
    path = tmp_path / "deep" / "predictions.csv"
    write_predictions(path, items, LABELS)
    assert read_predictions(path) == (items, LABELS)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == HEADER
    assert lines[3].endswith(",a,a,,")
    assert [file.name for file in path.parent.iterdir()] == ["predictions.csv"]


def test_annotators_rates_round_trip(tmp_path: Path) -> None:
    items = [
        Prediction(1, "u", "s", "a", "b", (1 / 3, 2 / 3), (0.75, 0.25)),
        Prediction(1, "v", "s", "a", "a", None, (1.0, 0.0)),
        Prediction(1, "w", "s", "a", "a"),
    ]
    path = tmp_path / "predictions.csv"
    write_predictions(path, items, LABELS)
    assert path.read_text().splitlines()[0] == HEADER + ",s_a,s_b"
    assert read_predictions(path) == (items, LABELS)


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (HEADER + ",s_a", "1,u,s,a,a,,,1", "row 1: the s_<label> columns name ['a'], the p_<label> columns ['a', 'b']"),
        (HEADER + ",s_a,s_b", "1,u,s,a,a,,,0.5,x", "row 2, column 's_b': expected a number in [0, 1], found 'x'"),
        (HEADER + ",s_a,s_b", "1,u,s,a,a,,,2,-1", "row 2, column 's_a': expected a number in [0, 1], found 2.0"),
        (HEADER + ",s_a,s_b", "1,u,s,a,a,,,0.5,0.4", "row 2, column 's_a ... s_b': the annotators' rates sum to 0.9"),
    ],
)
def test_bad_annotators_rates_are_named(tmp_path: Path, header: str, row: str, message: str) -> None:
    path = _file(tmp_path, row, header=header)
    with pytest.raises(RunError) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_labels_survive_without_probabilities_and_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, [], ["sad", "p_odd", "happy"])
    assert read_predictions(path) == ([], ["sad", "p_odd", "happy"])


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_bytes(("\ufeff" + HEADER + "\r\n1,u,s,a,a,,\r\n").encode())
    assert read_predictions(path)[0] == [Prediction(1, "u", "s", "a", "a", None)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x,u,s,a,a,,", "row 3, column 'fold': expected a whole number, found 'x'"),
        ("-1,u,s,a,a,,", "row 3, column 'fold': expected a whole number from 0 upwards, found -1"),
        ("1,,s,a,a,,", "row 3, column 'utterance': expected a name"),
        ("1,first,s,a,a,,", "row 3, column 'utterance': 'first' occurs twice in fold 1"),
        ("1,u,s,c,a,,", "row 3, column 'truth': 'c' is not one of the labels a, b"),
        ("1,u,s,a,c,,", "row 3, column 'predicted': 'c' is not one of the labels a, b"),
        ("1,u,s,a,a,0.5,", "row 3, column 'p_b': expected a number in [0, 1], found ''"),
        ("1,u,s,a,a,0.5,half", "row 3, column 'p_b': expected a number in [0, 1], found 'half'"),
        ("1,u,s,a,a,nan,1", "row 3, column 'p_a': expected a number in [0, 1], found nan"),
        ("1,u,s,a,a,1.5,-0.5", "row 3, column 'p_a': expected a number in [0, 1], found 1.5"),
        ("1,u,s,a,a,0.5,0.502", "row 3, column 'p_a ... p_b': the probabilities sum to 1.002, expected 1 within"),
        ("1,u,s,a,a,0.5", "row 3, column 'p_b': missing; the row has 6 of 7 columns"),
        ("1,u,s,a,a,0.5,0.5,9", "row 3: has 8 columns, the header 7"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, message: str) -> None:
    path = _file(tmp_path, "1,first,s,a,a,0.5,0.5", row)
    with pytest.raises(RunError) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_small_rounding_of_probabilities_is_accepted(tmp_path: Path) -> None:
    assert len(read_predictions(_file(tmp_path, "1,u,s,a,a,0.5,0.5009"))[0]) == 1


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("fold,utterance,speaker,predicted,p_a,p_b", "column 'truth' is missing"),
        ("fold,utterance,speaker,truth,predicted", "expected one non-empty name per class"),
        (HEADER + ",p_", "expected one non-empty name per class"),
        (HEADER + ",p_a", "column 'p_a' occurs 2 times"),
        (HEADER + ",note", "unknown column 'note'"),
    ],
)
def test_a_bad_header_is_named(tmp_path: Path, header: str, message: str) -> None:
    path = _file(tmp_path, header=header)
    with pytest.raises(RunError) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(f"{path}: row 1")
    assert message in str(caught.value)


def test_missing_empty_and_binary_files(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    with pytest.raises(RunError, match="no such file"):
        read_predictions(path)
    path.write_text("")
    with pytest.raises(RunError, match="the file is empty"):
        read_predictions(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunError, match="not a CSV file in UTF-8"):
        read_predictions(path)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Prediction(1, "u", "s", "a", "c"), "utterance 'u' in fold 1: 'predicted': 'c' is not one of the labels a, b"),
        (Prediction(1, "u", "s", "a", "a", (1.0,)), "1 probabilities for 2 labels"),
        (Prediction(1, "ok", "s", "a", "a"), "'ok' occurs twice in fold 1"),
        (Prediction(1.5, "u", "s", "a", "a"), "expected a whole number"),  # type: ignore[arg-type]
    ],
)
def test_a_bad_prediction_is_refused_and_the_old_file_stays(tmp_path: Path, bad: Prediction, message: str) -> None:
    path = tmp_path / "predictions.csv"
    good = Prediction(1, "ok", "s", "a", "a")
    write_predictions(path, [good], LABELS)
    with pytest.raises(RunError, match=message):
        write_predictions(path, [good, bad], LABELS)
    assert read_predictions(path)[0] == [good]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "predictions.csv"
    good = Prediction(1, "ok", "s", "a", "a")
    write_predictions(path, [good], LABELS)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_predictions(path, [], LABELS)
    assert read_predictions(path)[0] == [good]
    assert [file.name for file in tmp_path.iterdir()] == ["predictions.csv"]
