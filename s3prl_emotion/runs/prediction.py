"""The record of a run: ``predictions.csv``, one row per scored utterance, from which every number is recomputed.

Columns: ``fold, utterance, speaker, truth, predicted``, one ``p_<label>`` per class, in the order of the labels, and,
where annotators' votes are known, one ``s_<label>`` per class: the rates of their votes.
"""

from __future__ import annotations

import csv
import io
import math
import numbers
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from s3prl_emotion.errors import RunError
from s3prl_emotion.files import write_atomically

COLUMNS = ("fold", "utterance", "speaker", "truth", "predicted")
PROBABILITY_PREFIX = "p_"
SOFT_PREFIX = "s_"
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Prediction:
    """One scored utterance."""

    fold: int  # the fold whose test set holds the utterance, from 0 or 1 upwards
    utterance: str  # unique within the fold
    speaker: str  # may be empty where the corpus does not tell
    truth: str
    predicted: str
    probabilities: tuple[float, ...] | None = None  # one per label, in the order of the labels; they sum to 1
    soft: tuple[float, ...] | None = None  # annotators' rates, one per label; they sum to 1


def check_predictions(predictions: Sequence[Prediction], labels: Sequence[str]) -> None:
    """Check what :func:`read_predictions` checks, on objects.

    Raises:
        RunError: naming the fold, utterance and field of the first fault
    """
    _check_labels(labels, "labels")
    for item, fault in zip(predictions, _faults(predictions, labels), strict=True):
        if fault is not None:
            field, message = fault
            raise RunError(f"prediction of utterance {item.utterance!r} in fold {item.fold!r}: {field!r}: {message}")


def write_predictions(path: str | Path, predictions: Sequence[Prediction], labels: Sequence[str]) -> None:
    """Write ``predictions.csv`` (UTF-8), replacing it in one step.

    Probabilities and annotators' rates are written in full precision, so that reading gives equal numbers, and left
    blank when ``None``. The columns ``s_<label>`` are there only if some prediction has annotators' rates.

    Raises:
        RunError: if a prediction is invalid; nothing is written then
    """
    check_predictions(predictions, labels)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    prefixes = [PROBABILITY_PREFIX]
    if any(item.soft is not None for item in predictions):
        prefixes.append(SOFT_PREFIX)
    writer.writerow([*COLUMNS, *(prefix + label for prefix in prefixes for label in labels)])
    for item in predictions:
        cells: list[str] = []
        for values in (item.probabilities, item.soft)[: len(prefixes)]:
            cells += [""] * len(labels) if values is None else [repr(float(value)) for value in values]
        writer.writerow([int(item.fold), item.utterance, item.speaker, item.truth, item.predicted, *cells])
    write_atomically(Path(path), buffer.getvalue())


def read_predictions(path: str | Path) -> tuple[list[Prediction], list[str]]:
    """Read ``predictions.csv``.

    Returns:
        the predictions in the order of the file, and the labels in the order of its ``p_<label>`` columns

    Raises:
        RunError: if the file is missing or malformed; the message names the file, the row (the header is row 1) and
            the column
    """
    path = Path(path)
    if not path.is_file():
        raise RunError(f"{path}: no such file. Run the experiment first: it writes the predictions of every fold.")
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"{path}: not a CSV file in UTF-8: {error}") from error
    if not rows:
        raise RunError(f"{path}: the file is empty; expected the columns {', '.join(COLUMNS)} and p_<label>")
    header = rows[0]
    labels = _labels_of(header, path)
    numbered = [(number, row) for number, row in enumerate(rows[1:], start=2) if row]
    predictions = [_parse(header, row, labels, f"{path}: row {number}") for number, row in numbered]
    for (number, _), fault in zip(numbered, _faults(predictions, labels), strict=True):
        if fault is not None:
            column, message = fault
            raise RunError(f"{path}: row {number}, column {column!r}: {message}")
    return predictions, labels


def _labels_of(header: list[str], path: Path) -> list[str]:
    for column in COLUMNS:
        if column not in header:
            raise RunError(f"{path}: row 1: column {column!r} is missing; the header is {', '.join(header)}")
    found: dict[str, list[str]] = {PROBABILITY_PREFIX: [], SOFT_PREFIX: []}
    for column in header:
        if header.count(column) > 1:
            raise RunError(f"{path}: row 1: column {column!r} occurs {header.count(column)} times")
        if column in COLUMNS:
            continue
        if column[:2] not in found:
            raise RunError(
                f"{path}: row 1: unknown column {column!r}; expected {', '.join(COLUMNS)}, p_<label> and s_<label>"
            )
        found[column[:2]].append(column[2:])
    labels, soft = found[PROBABILITY_PREFIX], found[SOFT_PREFIX]
    _check_labels(labels, f"{path}: row 1: the p_<label> columns")
    if soft and sorted(soft) != sorted(labels):
        raise RunError(f"{path}: row 1: the s_<label> columns name {soft}, the p_<label> columns {labels}")
    return labels


def _check_labels(labels: Sequence[str], where: str) -> None:
    if not labels or "" in labels or len(set(labels)) != len(labels):
        raise RunError(f"{where}: expected one non-empty name per class and no name twice, found {list(labels)}")


def _parse(header: list[str], row: list[str], labels: list[str], where: str) -> Prediction:
    if len(row) < len(header):
        raise RunError(
            f"{where}, column {header[len(row)]!r}: missing; the row has {len(row)} of {len(header)} columns"
        )
    if len(row) > len(header):
        raise RunError(f"{where}: has {len(row)} columns, the header {len(header)}: {row[len(header) :]} is too much")
    cells = dict(zip(header, row, strict=True))
    try:
        fold = int(cells["fold"])
    except ValueError:
        raise RunError(f"{where}, column 'fold': expected a whole number, found {cells['fold']!r}") from None
    probabilities, soft = (
        _numbers({prefix + label: cells.get(prefix + label, "") for label in labels}, where)
        for prefix in (PROBABILITY_PREFIX, SOFT_PREFIX)
    )
    return Prediction(
        fold, cells["utterance"], cells["speaker"], cells["truth"], cells["predicted"], probabilities, soft
    )


def _numbers(texts: dict[str, str], where: str) -> tuple[float, ...] | None:
    """The cells of some columns as numbers; None where all are blank."""
    if not any(texts.values()):
        return None
    values = []
    for column, text in texts.items():
        try:
            values.append(float(text))
        except ValueError:
            raise RunError(f"{where}, column {column!r}: expected a number in [0, 1], found {text!r}") from None
    return tuple(values)


def _faults(predictions: Sequence[Prediction], labels: Sequence[str]) -> Iterator[tuple[str, str] | None]:
    """For each prediction the column and description of its first fault, or None."""
    known = set(labels)
    seen: set[tuple[int, str]] = set()
    for item in predictions:
        yield _fault(item, labels, known, seen)
        seen.add((item.fold, item.utterance))


def _fault(
    item: Prediction, labels: Sequence[str], known: set[str], seen: set[tuple[int, str]]
) -> tuple[str, str] | None:
    if isinstance(item.fold, bool) or not isinstance(item.fold, numbers.Integral) or item.fold < 0:
        return "fold", f"expected a whole number from 0 upwards, found {item.fold!r}"
    if not item.utterance:
        return "utterance", "expected a name, found nothing"
    if (item.fold, item.utterance) in seen:
        return "utterance", f"{item.utterance!r} occurs twice in fold {item.fold}"
    for column, label in (("truth", item.truth), ("predicted", item.predicted)):
        if label not in known:
            return column, f"{label!r} is not one of the labels {', '.join(labels)}"
    return _faulty_numbers(item.probabilities, labels, PROBABILITY_PREFIX, "probabilities") or _faulty_numbers(
        item.soft, labels, SOFT_PREFIX, "annotators' rates"
    )


def _faulty_numbers(
    values: Sequence[float] | None, labels: Sequence[str], prefix: str, what: str
) -> tuple[str, str] | None:
    if values is None:
        return None
    if len(values) != len(labels):
        return what, f"{len(values)} {what} for {len(labels)} labels"
    for label, value in zip(labels, values, strict=True):
        if not 0 <= value <= 1:  # also catches NaN
            return prefix + label, f"expected a number in [0, 1], found {value!r}"
    total = math.fsum(values)
    if abs(total - 1) > SUM_TOLERANCE:
        columns = f"{prefix}{labels[0]} ... {prefix}{labels[-1]}"
        return columns, f"the {what} sum to {total:.6g}, expected 1 within {SUM_TOLERANCE}"
    return None
