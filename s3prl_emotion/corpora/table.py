"""Any corpus through a table: CSV, TSV or JSON lines with one row per utterance.

Columns: ``path``, ``label`` and ``speaker``; optional ``id``, ``fold`` (the fold that tests on the row), ``session``,
``text``, ``start_s`` and ``end_s`` (seconds) where a row is a stretch of a longer file, ``source`` (the id of the
utterance that this one was made from by augmentation), and ``soft:<label>``, one column per class, for annotators'
votes as rates that sum to 1; an empty one is 0, a row with none has no votes.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora._corpus import Corpus
from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.errors import CorpusError, nearest

logger = logging.getLogger(__name__)

REQUIRED = ("path", "label", "speaker")
OPTIONAL = ("id", "fold", "session", "text", "start_s", "end_s", "source")
SOFT = "soft:"
SOFT_TOLERANCE = 1e-3  # rates in tables are rounded; they are made to sum to 1 exactly
LAYOUT = "a .csv, .tsv or .jsonl file with the columns path, label and speaker"


def read_table(
    table: Path,
    audio_root: str | Path | None = None,
    labels: Sequence[str] | str | None = None,
    name: str = "table",
) -> Manifest:
    """Read a table.

    Args:
        table: the file; its ending tells the format
        audio_root: the folder that relative paths start from; the table's own if not given
        labels: the classes in the order of their indices, as a list or with commas; the sorted labels of the table if
            not given
        name: the corpus' name in run folders and reports

    Returns:
        rows in the order of the table. An id that is not given is the path without its ending, with the times

    Raises:
        CorpusError: naming file, row and column (rows count from 1, a header line is row 1)
    """
    if not table.is_file():
        raise CorpusError(f"{table}: expected {LAYOUT}")
    classes = [item.strip() for item in labels.split(",")] if isinstance(labels, str) else labels
    utterances: list[Utterance] = []
    rows_of: dict[str, int] = {}
    spellings: dict[str, str] = {}
    warned: set[tuple[str, str]] = set()
    for row, values in _rows(table):
        where = f"{table}: row {row}"
        utterance = _utterance(values, where)
        if utterance.id in rows_of:
            column = "id" if values.get("id") else "path"
            raise CorpusError(
                f"{where}, column {column!r}: {utterance.id!r} is already in row {rows_of[utterance.id]}. Without a "
                "column 'id', the path without its ending is the id: give ids where that is not unique"
            )
        twin = spellings.setdefault(utterance.label.casefold(), utterance.label)
        if twin != utterance.label and (twin, utterance.label) not in warned:
            warned.add((twin, utterance.label))
            logger.warning("%s: labels %r and %r differ by case only and are two classes", where, twin, utterance.label)
        if classes is not None and utterance.label not in classes:
            guess = nearest(utterance.label, classes)
            raise CorpusError(f"{where}, column 'label': {utterance.label!r} is not one of the labels given. {guess}")
        rows_of[utterance.id] = row
        utterances.append(utterance)
    if not utterances:
        raise CorpusError(f"{table}: the table has no rows")
    found = tuple(classes) if classes is not None else tuple(sorted({item.label for item in utterances}))
    _check_soft(utterances, found, table, rows_of)
    root = table.parent if audio_root is None else Path(audio_root).expanduser().absolute()
    utterances = _with_sources(utterances, table, root)
    return Manifest(name, found, root.as_posix(), tuple(utterances))


def _with_sources(utterances: list[Utterance], table: Path, root: Path) -> list[Utterance]:
    """Sources as ids: a path to a row's file stands for the row's id; others are named, since nothing has that id."""
    ids = {item.id for item in utterances}
    if all(item.source is None or item.source in ids for item in utterances):
        return utterances
    by_file = {os.path.realpath(root / item.path): item.id for item in utterances}
    linked = [
        item
        if item.source is None or item.source in ids
        else dataclasses.replace(item, source=by_file.get(os.path.realpath(root / item.source), item.source))
        for item in utterances
    ]
    strange = sorted({item.source for item in linked if item.source is not None and item.source not in ids})
    if strange:
        logger.warning(
            "%s: column 'source': %d name no row's id or path, first %r: only rows that share such a name are siblings",
            table,
            len(strange),
            strange[0],
        )
    return linked


def _rows(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    suffix = table.suffix.lower()
    try:
        if suffix in (".csv", ".tsv"):
            yield from _csv_rows(table, "\t" if suffix == ".tsv" else ",")
        elif suffix in (".jsonl", ".json"):
            yield from _json_rows(table)
        else:
            raise CorpusError(f"{table}: unknown kind of table {suffix!r}. Expected {LAYOUT}")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{table}: not UTF-8 text ({error}). Save the table as UTF-8") from error


def _csv_rows(table: Path, delimiter: str) -> Iterator[tuple[int, dict[str, Any]]]:
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        header = [name.strip() for name in next(reader, [])]
        if len(set(header)) != len(header):
            raise CorpusError(f"{table}: row 1: a column name appears twice: {', '.join(header)}")
        _check_columns(header, f"{table}: row 1")
        for row, cells in enumerate(_cells(reader, table), start=2):
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise CorpusError(f"{table}: row {row}: expected {len(header)} columns, found {len(cells)}")
            yield row, {name: cell.strip() for name, cell in zip(header, cells, strict=True)}


def _cells(reader: Iterable[list[str]], table: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise CorpusError(f"{table}: not readable as a table: {error}; is a quotation mark left open?") from error


def _json_rows(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    columns: set[str] = set()
    with table.open(encoding="utf-8-sig") as file:
        for row, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except json.JSONDecodeError as error:
                raise CorpusError(f"{table}: row {row}: not JSON: {error}") from error
            if not isinstance(values, dict):
                raise CorpusError(f"{table}: row {row}: expected a JSON object, found {type(values).__name__}")
            if not set(values) <= columns or not set(REQUIRED) <= set(values):
                columns |= set(values)
                _check_columns(list(values), f"{table}: row {row}")
            yield row, values


def _check_columns(found: Sequence[str], where: str) -> None:
    for column in REQUIRED:
        if column not in found:
            raise CorpusError(f"{where}: no column {column!r}. {nearest(column, [item for item in found if item])}")
    for column in found:
        if column not in REQUIRED + OPTIONAL and not column.startswith(SOFT):
            logger.warning("%s: column %r is not used. %s", where, column, nearest(column, REQUIRED + OPTIONAL))


def _utterance(values: dict[str, Any], where: str) -> Utterance:
    path, label, speaker = (_text(values, column, where) for column in REQUIRED)
    fold = _number(values, "fold", where)
    start_s, end_s = (_number(values, column, where) for column in ("start_s", "end_s"))
    if fold is not None and (fold < 1 or fold != int(fold)):
        raise CorpusError(f"{where}, column 'fold': expected a whole number from 1 up, found {values['fold']!r}")
    if end_s is not None and end_s <= (start_s or 0.0):
        raise CorpusError(f"{where}, column 'end_s': {end_s:g} does not come after the start, {start_s or 0.0:g}")
    times = (
        "" if start_s is None and end_s is None else f"@{start_s or 0.0:.3f}-{'' if end_s is None else f'{end_s:.3f}'}"
    )
    name = _optional(values, "id") or PurePosixPath(path).with_suffix("").as_posix() + times
    source = _optional(values, "source")
    if source == name:
        raise CorpusError(f"{where}, column 'source': {source!r} is the row itself; leave it empty for a recording")
    return Utterance(
        id=name,
        path=path,
        label=label,
        speaker=speaker,
        session=_optional(values, "session"),
        fold=None if fold is None else int(fold),
        text=_optional(values, "text"),
        start_s=start_s,
        end_s=end_s,
        source=source,
        soft=_soft(values, where),
    )


def _soft(values: dict[str, Any], where: str) -> dict[str, float] | None:
    rates: dict[str, float] = {}
    for column in values:
        rate = _number(values, column, where) if column.startswith(SOFT) else None
        if rate is not None and rate > 1:
            raise CorpusError(f"{where}, column {column!r}: expected a rate in [0, 1], found {values[column]!r}")
        if rate is not None:
            rates[column.removeprefix(SOFT)] = rate
    total = math.fsum(rates.values())
    if rates and abs(total - 1) > SOFT_TOLERANCE:
        columns = ", ".join(repr(SOFT + label) for label in rates)
        raise CorpusError(f"{where}, columns {columns}: expected rates that sum to 1, found {total:g}")
    return {label: rate / total for label, rate in rates.items() if rate} or None


def _check_soft(utterances: Sequence[Utterance], labels: Sequence[str], table: Path, rows_of: dict[str, int]) -> None:
    for item in utterances:
        for label in item.soft or {}:
            if label not in labels:
                raise CorpusError(
                    f"{table}: row {rows_of[item.id]}, column {SOFT + label!r}: no class {label!r}. "
                    f"{nearest(label, labels)}"
                )


def _optional(values: dict[str, Any], column: str) -> str | None:
    value = values.get(column)
    return None if value is None or str(value).strip() == "" else str(value).strip()


def _text(values: dict[str, Any], column: str, where: str) -> str:
    value = _optional(values, column)
    if value is None:
        raise CorpusError(f"{where}, column {column!r}: empty, expected a value")
    return value


def _number(values: dict[str, Any], column: str, where: str) -> float | None:
    value = _optional(values, column)
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        raise CorpusError(f"{where}, column {column!r}: expected a number, found {value!r}") from None
    if not math.isfinite(number) or number < 0:
        raise CorpusError(f"{where}, column {column!r}: expected a number that is not negative, found {value!r}")
    return number


corpora.register("table")(
    Corpus(
        name="table",
        reader=read_table,
        labels=(),
        licence="that of the corpus the table describes",
        citation="that of the corpus the table describes",
        source="the user",
        named_by_data=True,
        layout=LAYOUT,
    )
)
