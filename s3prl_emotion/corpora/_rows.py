"""The rows of a table as mappings from column to cell: strict CSV or TSV, or JSON lines. Rows are lines.

A field in quotation marks ends on its line. One that seems to go on below is refused: a mark left open by mistake
looks just the same, and would swallow rows up to the next mark. Texts with line breaks go into JSON lines.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora.manifest import json_object
from s3prl_emotion.errors import CorpusError

LAYOUT = (
    "a .csv, .tsv or .jsonl file with the columns path, label and speaker; relative paths start from its own folder"
)
_LINE_END = re.compile(r"\r\n|\n|\r")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_SHOWN = 40


CheckColumns = Callable[[Sequence[str], str], None]


def rows_of(table: Path, check: CheckColumns) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows that hold something, with their numbers: the line in the file, from 1; a header line is row 1.

    Args:
        table: the file; its ending tells the format
        check: called with the columns and where they are, for a header line, and for JSON lines as new ones come up

    Raises:
        CorpusError: naming file and row, if the table cannot be read as what its ending says
    """
    suffix = table.suffix.lower()
    if not table.is_file():
        raise CorpusError(f"{table}: expected {LAYOUT}")
    if suffix in (".csv", ".tsv"):
        yield from _separated(table, "\t" if suffix == ".tsv" else ",", check)
    elif suffix in (".jsonl", ".json"):
        yield from _json_lines(table, check)
    else:
        raise CorpusError(f"{table}: unknown kind of table {suffix!r}. Expected {LAYOUT}")


def _lines(table: Path) -> list[str]:
    content = table.read_bytes()
    if content.startswith(_UTF_16):
        raise CorpusError(f"{table}: not UTF-8 text but UTF-16, as spreadsheets export it. Save the table as UTF-8")
    if b"\0" in content:
        row = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise CorpusError(f"{table}: row {row}: holds a zero byte: no table, or not UTF-8. Save the table as UTF-8")
    try:
        return _LINE_END.split(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise CorpusError(f"{table}: row {row}: not UTF-8 text ({error.reason}). Save the table as UTF-8") from error


def _separated(table: Path, delimiter: str, check: CheckColumns) -> Iterator[tuple[int, dict[str, Any]]]:
    lines = _lines(table)
    header = _cells(lines[0], delimiter, f"{table}: row 1")
    if len(header) == 1:
        _check_delimiter(lines[0], delimiter, table)
    twice = [repr(name) for name, count in Counter(header).items() if count > 1]
    if twice:
        raise CorpusError(f"{table}: row 1: a column name appears twice: {', '.join(twice)}")
    check(header, f"{table}: row 1")
    for row, line in enumerate(lines[1:], start=2):
        cells = _cells(line, delimiter, f"{table}: row {row}")
        if not any(cells):
            continue
        if len(cells) != len(header):
            raise CorpusError(f"{table}: row {row}: expected {len(header)} columns, found {len(cells)}")
        yield row, dict(zip(header, cells, strict=True))


def _cells(line: str, delimiter: str, where: str) -> list[str]:
    """The fields of a line after RFC 4180, with any delimiter; a quotation mark inside of a field is doubled."""
    if '"' not in line:
        return [cell.strip() for cell in line.split(delimiter)]
    shown = repr(line if len(line) <= _SHOWN else line[:_SHOWN] + "...")
    cells = []
    for field in _fields(line, delimiter):
        cell = field.strip()
        if _QUOTED.fullmatch(cell):
            cell = cell[1:-1].replace('""', '"').strip()
        elif cell.startswith('"'):
            raise CorpusError(
                f"{where}: the quotation mark that opens a field is not closed at its end, on the same line: {shown}. "
                "A row is one line: close the mark, or give texts with line breaks as .jsonl"
            )
        elif '"' in cell:
            raise CorpusError(
                f"{where}: a quotation mark within a field that does not begin with one: {shown}. Put such a field in "
                'quotation marks and double those inside: "say ""yes"""'
            )
        cells.append(cell)
    return cells


def _fields(line: str, delimiter: str) -> list[str]:
    """A line cut at the delimiters that are outside of quotation marks."""
    fields, begin, quoted = [], 0, False
    for place, character in enumerate(line):
        if character == '"':
            quoted = not quoted
        elif character == delimiter and not quoted:
            fields.append(line[begin:place])
            begin = place + 1
    return [*fields, line[begin:]]


def _check_delimiter(line: str, delimiter: str, table: Path) -> None:
    for other, name in _SEPARATORS.items():
        if other != delimiter and line.count(other) >= 2:
            raise CorpusError(
                f"{table}: row 1: columns are separated by {name}, expected {_SEPARATORS[delimiter]}. Save the table "
                "with commas as .csv, or with tabs as .tsv"
            )


def _json_lines(table: Path, check: CheckColumns) -> Iterator[tuple[int, dict[str, Any]]]:
    known: set[frozenset[str]] = set()
    for row, line in enumerate(_lines(table), start=1):
        if not line.strip():
            continue
        if line.strip() in ("[", "{"):
            raise CorpusError(f"{table}: row {row}: not JSON: {line.strip()!r} alone, expected a whole object")
        values = json_object(line, f"{table}: row {row}")
        if (columns := frozenset(values)) not in known:
            check(list(values), f"{table}: row {row}")
            known.add(columns)
        yield row, values
