"""Any corpus through a table: CSV, TSV or JSON lines with one row, of one line, per utterance.

Relative paths start from the table's folder. Columns: ``path``, ``label`` and ``speaker``; optional ``id``, ``fold``
(the fold that tests on the row), ``session``, ``text``, ``start_s`` and ``end_s`` (seconds) where a row is a stretch of
a longer file, ``source`` (the id of the utterance that this one was made from by augmentation), and ``soft:<label>``,
one column per class, for annotators' votes as rates that sum to 1; an empty one is 0, a row with none has no votes.
Any further columns become attributes where the option ``attributes`` names them.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora._attributes import AttributeColumns
from s3prl_emotion.corpora._cells import name_of, number_of, optional_of, path_of, sentence_of
from s3prl_emotion.corpora._corpus import Corpus
from s3prl_emotion.corpora._rows import LAYOUT, rows_of
from s3prl_emotion.corpora._texts import Texts, looks
from s3prl_emotion.corpora.manifest import UNLABELLED, Manifest, Utterance
from s3prl_emotion.errors import CorpusError, nearest

logger = logging.getLogger(__name__)

REQUIRED = ("path", "label", "speaker")
OPTIONAL = ("id", "fold", "session", "text", "start_s", "end_s", "source")
SOFT = "soft:"
SOFT_TOLERANCE = 1e-3  # rates in tables are rounded; they are made to sum to 1 exactly
SPEAKERS = ("named", "unknown")
MAX_FOLD = 1_000_000


def read_table(
    table: Path,
    audio_root: str | Path | None = None,
    labels: Sequence[str] | str | None = None,
    name: str = "table",
    speakers: str = "named",
    attributes: Sequence[str] | str | None = None,
) -> Manifest:
    """Read a table.

    Args:
        table: the file; its ending tells the format
        audio_root: the folder that relative paths start from; the table's own if not given
        labels: the classes in the order of their indices, as a list or with commas; the sorted labels of the table if
            not given
        name: the corpus' name in run folders and reports
        speakers: ``unknown`` where nobody knows who speaks, and the column ``speaker`` tells nothing
        attributes: further columns to keep, as a list or with commas: ``sex,age``

    Returns:
        rows in the order of the table. An id that is not given is the path without its ending, with the times

    Raises:
        CorpusError: naming file, row and column (rows count from 1, a header line is row 1)
    """
    if speakers not in SPEAKERS:
        raise CorpusError(f"{table}: option speakers: expected {' or '.join(SPEAKERS)}, found {speakers!r}")
    return _read(table, audio_root, labels, name, speakers == "unknown", REQUIRED, attributes)


def read_speakers(table: Path, name: str) -> Manifest:
    """Read a table for pretraining: ``label`` may be missing or empty, which gives
    :data:`~s3prl_emotion.corpora.manifest.UNLABELLED`.

    Args:
        table: the file
        name: the manifest's

    Raises:
        CorpusError: as :func:`read_table`
    """
    return _read(table, None, None, name, False, ("path", "speaker"))


def _read(
    table: Path,
    audio_root: str | Path | None,
    labels: Sequence[str] | str | None,
    name: str,
    nameless: bool,
    required: Sequence[str],
    attributes: Sequence[str] | str | None = None,
) -> Manifest:
    texts = Texts(table)
    classes = _classes(labels, table, texts)
    further = AttributeColumns(
        attributes, table, (*REQUIRED, *OPTIONAL, *(field.name for field in dataclasses.fields(Utterance)))
    )
    utterances: list[Utterance] = []
    rows: dict[str, int] = {}
    twins: dict[str, str] = {}
    warned: set[tuple[str, str]] = set()
    for row, values in rows_of(table, functools.partial(_check_columns, required, set(further.names))):
        where = f"{table}: row {row}"
        if "label" not in required and not str(values.get("label") or "").strip():
            values["label"] = UNLABELLED
        utterance = _utterance(values, where, texts, classes, nameless)
        utterance = dataclasses.replace(utterance, attributes=further.of(values, where, texts))
        if utterance.id in rows:
            column = "id" if values.get("id") else "path"
            raise CorpusError(
                f"{where}, column {column!r}: {utterance.id!r} is already in row {rows[utterance.id]}. Without a "
                "column 'id', the path without its ending is the id: give ids where that is not unique"
            )
        twin = twins.setdefault(looks(utterance.label), utterance.label)
        if twin != utterance.label and (twin, utterance.label) not in warned:
            warned.add((twin, utterance.label))
            what = "case" if twin.casefold() == utterance.label.casefold() else "case, spaces or invisible characters"
            logger.warning(
                "%s: labels %r and %r differ by %s only and are two classes", where, twin, utterance.label, what
            )
        rows[utterance.id] = row
        utterances.append(utterance)
    if not utterances:
        raise CorpusError(f"{table}: the table has no rows")
    further.check()
    texts.report()
    found = classes if classes is not None else tuple(sorted({item.label for item in utterances}))
    _check_soft(utterances, found, table, rows)
    root = table.parent if audio_root is None else Path(audio_root).expanduser().absolute()
    utterances = _with_sources(utterances, table, root)
    return Manifest(name, found, root.as_posix(), tuple(utterances))


def _classes(labels: Sequence[str] | str | None, table: Path, texts: Texts) -> tuple[str, ...] | None:
    if labels is None:
        return None
    given = labels.split(",") if isinstance(labels, str) else labels
    found = tuple(texts.name(item.strip(), f"{table}: option labels") for item in given)
    if not all(found) or len(set(found)) < len(found):
        raise CorpusError(f"{table}: option labels: expected different class names with commas, found {labels!r}")
    return found


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


def _check_columns(required: Sequence[str], noticed: set[str], found: Sequence[str], where: str) -> None:
    for column in required:
        if column not in found:
            raise CorpusError(f"{where}: no column {column!r}. {nearest(column, [item for item in found if item])}")
    for column in found:
        if column in REQUIRED + OPTIONAL or column.startswith(SOFT) or column in noticed:
            continue
        noticed.add(column)
        close = difflib.get_close_matches(column, REQUIRED + OPTIONAL, n=1, cutoff=0.75)
        if close:
            logger.warning("%s: column %r is not used. Did you mean %r?", where, column, close[0])
        else:
            logger.info("%s: column %r is not used", where, column)


def _utterance(
    values: dict[str, Any], where: str, texts: Texts, classes: Sequence[str] | None, nameless: bool
) -> Utterance:
    path = path_of(values, where)
    label = name_of(values, "label", where, texts, classes or ())
    speaker = "" if nameless else name_of(values, "speaker", where, texts)
    if classes is not None and label not in classes:
        guess = nearest(label, classes)
        raise CorpusError(f"{where}, column 'label': {label!r} is not one of the labels given. {guess}")
    fold = number_of(values, "fold", where)
    start_s, end_s = (number_of(values, column, where) for column in ("start_s", "end_s"))
    if fold is not None and (fold < 1 or fold != int(fold) or fold > MAX_FOLD):
        raise CorpusError(f"{where}, column 'fold': expected a whole number from 1 up, found {values['fold']!r}")
    if end_s is not None and end_s <= (start_s or 0.0):
        raise CorpusError(f"{where}, column 'end_s': {end_s:g} does not come after the start, {start_s or 0.0:g}")
    times = (
        "" if start_s is None and end_s is None else f"@{start_s or 0.0:.3f}-{'' if end_s is None else f'{end_s:.3f}'}"
    )
    name = optional_of(values, "id", where, texts) or texts.name(
        PurePosixPath(path).with_suffix("").as_posix() + times, f"{where}, column 'path'"
    )
    source = optional_of(values, "source", where, texts)
    if source == name:
        raise CorpusError(f"{where}, column 'source': {source!r} is the row itself; leave it empty for a recording")
    return Utterance(
        id=name,
        path=path,
        label=label,
        speaker=speaker,
        session=optional_of(values, "session", where, texts),
        fold=None if fold is None else int(fold),
        text=sentence_of(values, where),
        start_s=start_s,
        end_s=end_s,
        source=source,
        soft=_soft(values, where, texts),
    )


def _soft(values: dict[str, Any], where: str, texts: Texts) -> dict[str, float] | None:
    rates: dict[str, float] = {}
    for column in values:
        rate = number_of(values, column, where) if column.startswith(SOFT) else None
        if rate is None:
            continue
        if rate > 1:
            raise CorpusError(f"{where}, column {column!r}: expected a rate in [0, 1], found {values[column]!r}")
        label = texts.name(column.removeprefix(SOFT), f"{where}, column {column!r}")
        if label in rates:
            raise CorpusError(f"{where}, column {column!r}: two columns have the votes for {label!r}")
        rates[label] = rate
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
