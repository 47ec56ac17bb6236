"""Any corpus through a table: CSV, TSV or JSON lines with one row, of one line, per utterance.

Relative paths start from the table's folder. Columns: ``path``, ``label`` and ``speaker``, which is empty or
``Unknown`` where nobody knows who speaks; optional ``id``, ``fold`` (the fold that tests on the row), ``session``,
``text``, ``start_s`` and ``end_s`` (seconds, or pandas' ``0 days 00:00:01.5``) where a row is a stretch of a longer
file, ``source`` (the id of the utterance that this one was made from by augmentation), ``split`` (``train``, ``dev``
or ``test`` of the corpus' own division, for protocol ``official``), and ``soft:<label>``, one column per class, for
annotators' votes as rates that sum to 1; an empty one is 0, a row with none has no votes. Columns of other names are
named by options: ``path=file``. audformat's ``file``, ``start`` and ``end`` are known. Any further columns become
attributes where the option ``attributes`` names them.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora._attributes import AttributeColumns
from s3prl_emotion.corpora._columns import COLUMNS, OPTIONAL, REQUIRED, SOFT, Columns
from s3prl_emotion.corpora._corpus import FEW, Corpus
from s3prl_emotion.corpora._rows import (
    LAYOUT,
    Texts,
    label_of,
    looks,
    number_of,
    optional_of,
    path_of,
    rows_of,
    seconds_of,
    sentence_of,
    speaker_of,
    text_of,
)
from s3prl_emotion.corpora.manifest import UNLABELLED, Manifest, Utterance
from s3prl_emotion.corpora.official import part_of, wanted_parts
from s3prl_emotion.corpora.spelling import certain
from s3prl_emotion.errors import CorpusError, suggest

logger = logging.getLogger(__name__)

SOFT_TOLERANCE = 1e-3  # rates in tables are rounded; they are made to sum to 1 exactly
MAX_FOLD = 1_000_000
_SHOWN = 5


def read_table(
    table: Path,
    audio_root: str | Path | None = None,
    labels: Sequence[str] | str | None = None,
    name: str = "table",
    attributes: Sequence[str] | str | None = None,
    splits: Sequence[str] | str | None = None,
    *,
    path: str = "path",
    label: str = "label",
    speaker: str = "speaker",
    id: str = "id",
    fold: str = "fold",
    session: str = "session",
    text: str = "text",
    start_s: str = "start_s",
    end_s: str = "end_s",
    source: str = "source",
    split: str = "split",
) -> Manifest:
    """Read a table.

    Args:
        table: the file; its ending tells the format
        audio_root: the folder that relative paths start from; the table's own if not given
        labels: the classes in the order of their indices, as a list or with commas; the sorted labels of the table if
            not given
        name: the corpus' name in run folders and reports
        attributes: further columns to keep, as a list or with commas: ``sex,age``
        splits: values of the column ``split`` to read, with commas; rows of others are left out, and may lack a label
        path: what this column is called in the table; the same for every other

    Returns:
        rows in the order of the table. An id that is not given is the path without its ending, with the times

    Raises:
        CorpusError: naming file, row and column (rows count from 1, a header line is row 1)
    """
    names = (path, label, speaker, id, fold, session, text, start_s, end_s, source, split)
    columns = Columns(table, dict(zip(COLUMNS, names, strict=True)), REQUIRED)
    return _read(table, audio_root, labels, name, columns, attributes, splits)


def read_speakers(table: Path, name: str) -> Manifest:
    """Read a table for pretraining: ``label`` may be missing or empty, which gives
    :data:`~s3prl_emotion.corpora.manifest.UNLABELLED`.

    Args:
        table: the file
        name: the manifest's

    Raises:
        CorpusError: as :func:`read_table`
    """
    return _read(table, None, None, name, Columns(table, {}, ("path", "speaker")))


def _read(
    table: Path,
    audio_root: str | Path | None,
    labels: Sequence[str] | str | None,
    name: str,
    columns: Columns,
    attributes: Sequence[str] | str | None = None,
    splits: Sequence[str] | str | None = None,
) -> Manifest:
    texts = Texts(table)
    classes = _classes(labels, table, texts)
    own = {*REQUIRED, *OPTIONAL, *(field.name for field in dataclasses.fields(Utterance))} - {"split"}
    further = AttributeColumns(attributes, table, (*sorted(own), *columns.renamed))
    wanted = wanted_parts(splits, f"{table}: option splits")
    utterances: list[Utterance] = []
    rows: dict[str, int] = {}
    twins: dict[str, str] = {}
    warned: set[tuple[str, str]] = set()
    left_out: Counter[str] = Counter()
    for row, given in rows_of(table, functools.partial(columns.check, noticed=set(further.names))):
        where = f"{table}: row {row}"
        values = columns.of(given)
        part = part_of(text_of(values, "split", where, (str, int)))
        if wanted and part not in wanted:
            left_out[part or "(empty)"] += 1
            continue
        if "label" not in columns.required and not str(values.get("label") or "").strip():
            values["label"] = UNLABELLED
        utterance = _utterance(values, where, texts, classes)
        utterance = dataclasses.replace(
            utterance, attributes=further.of(given, where, texts), official_part=part or None
        )
        if utterance.id in rows:
            column = "id" if values.get("id") else "path"
            raise CorpusError(
                f"{where}, column {column!r}: {utterance.id!r} is already in row {rows[utterance.id]}. Without a "
                "column 'id', the path without its ending is the id: give ids where that is not unique"
            )
        twin = twins.setdefault(looks(utterance.label), utterance.label)
        if certain(twin) != certain(utterance.label) and (twin, utterance.label) not in warned:
            warned.add((twin, utterance.label))
            what = "case" if twin.casefold() == utterance.label.casefold() else "case, spaces or invisible characters"
            logger.warning(
                "%s: labels %r and %r differ by %s only and are two classes", where, twin, utterance.label, what
            )
        rows[utterance.id] = row
        utterances.append(utterance)
    if left_out:
        listed = ", ".join(f"{part} {count}" for part, count in sorted(left_out.items()))
        logger.warning("%s: rows of other splits are left out: %s", table, listed)
    if not utterances:
        raise CorpusError(f"{table}: the table has no rows" + (f" of the splits {', '.join(wanted)}" if wanted else ""))
    further.check()
    texts.report()
    found = classes if classes is not None else tuple(sorted({item.label for item in utterances}))
    _check_soft(utterances, found, table, rows)
    root = table.parent if audio_root is None else Path(audio_root).expanduser().absolute()
    utterances = _with_sources(utterances, table, root)
    _check_sources(utterances, table, rows)
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
    """Sources as ids: a path to a row's file stands for the row's id, and ``1.0`` for the id ``1``; others are named,
    since nothing has that id."""
    ids = {item.id for item in utterances}
    if all(item.source is None or item.source in ids for item in utterances):
        return utterances
    by_file = {os.path.realpath(root / item.path): item.id for item in utterances}
    spelled: dict[str, str | None] = {}
    for name in ids:
        spelled[certain(name)] = None if certain(name) in spelled else name

    def linked(source: str) -> str:
        return by_file.get(os.path.realpath(root / source)) or spelled.get(certain(source)) or source

    items = [
        item if item.source is None or item.source in ids else dataclasses.replace(item, source=linked(item.source))
        for item in utterances
    ]
    strange = sorted({item.source for item in items if item.source is not None and item.source not in ids})
    if strange:
        logger.warning(
            "%s: column 'source': %d name no row's id or path, first %r: only rows that share such a name are siblings",
            table,
            len(strange),
            strange[0],
        )
    return items


def _check_sources(utterances: Sequence[Utterance], table: Path, rows: Mapping[str, int]) -> None:
    """Refuse rows that are made from each other in a circle."""
    source_of = {item.id: item.source for item in utterances if item.source is not None}
    ends: set[str] = set()  # from here a chain is known to end
    for first in source_of:
        chain: dict[str, None] = {}
        name: str | None = first
        while name in source_of and name not in ends:
            if name in chain:
                circle = [*list(chain)[list(chain).index(name) :], name]
                shown = " from ".join(repr(item) for item in (*circle[:_SHOWN], *circle[_SHOWN:][-1:]))
                raise CorpusError(
                    f"{table}: row {rows[name]}, column 'source': rows are made from each other in a circle: {shown}. "
                    "Leave the source of a recording empty"
                )
            chain[name] = None
            name = source_of[name]
        ends.update(chain)


def _utterance(values: dict[str, Any], where: str, texts: Texts, classes: Sequence[str] | None) -> Utterance:
    path = path_of(values, where)
    label = label_of(values, where, texts, classes or ())
    speaker = speaker_of(values, where, texts)
    if classes is not None and label not in classes:
        guess = suggest(label, classes)
        raise CorpusError(f"{where}, column 'label': {label!r} is not one of the labels given. {guess}")
    fold = number_of(values, "fold", where)
    start_s, end_s = (seconds_of(values, column, where) for column in ("start_s", "end_s"))
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


def _check_soft(utterances: Sequence[Utterance], labels: Sequence[str], table: Path, rows: Mapping[str, int]) -> None:
    """Refuse votes for what is no class, and votes that never are for the label."""
    against = []
    voted = [item for item in utterances if item.soft]
    for item in voted:
        votes = item.soft or {}
        for label in votes:
            if label not in labels:
                raise CorpusError(
                    f"{table}: row {rows[item.id]}, column {SOFT + label!r}: no class {label!r}. "
                    f"{suggest(label, labels)}"
                )
        if votes.get(item.label, 0.0) < max(votes.values()):
            against.append(item)
    if not against:
        return
    first = against[0]
    most = max(first.soft or {}, key=lambda label: (first.soft or {})[label])
    shown = f"first row {rows[first.id]}, whose label is {first.label!r} and most votes are for {most!r}"
    if len(against) == len(voted) >= FEW:
        raise CorpusError(
            f"{table}: columns '{SOFT}<label>': in all {len(voted)} rows with votes another class has more than the "
            f"label, {shown}. Are the columns exchanged?"
        )
    logger.warning(
        "%s: in %d of %d rows with votes another class has more than the label, %s",
        table,
        len(against),
        len(voted),
        shown,
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
