"""Rows of tables: cells, columns and texts."""

from __future__ import annotations

import logging
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora._files import check_slashes
from s3prl_emotion.corpora.manifest import is_encodable, json_object
from s3prl_emotion.errors import CorpusError

# Texts of tables in one form, and those that stand for a missing value.
#
# ``Ärger`` with one letter and with a combining mark are different texts and look the same: all are read in Unicode's
# composed form (NFC), which is said. Texts such as ``nan`` are what other programs write where there is nothing.

logger = logging.getLogger(__name__)

MISSING = frozenset({"nan", "-nan", "null", "none", "n/a", "na", "<na>", "#n/a", "#na", "nil"})
"""What pandas, R, spreadsheets and databases write for a missing value, in lower case."""


def is_missing(text: str) -> bool:
    """Whether a text stands for a missing value."""
    return text.casefold() in MISSING


def looks(text: str) -> str:
    """What is left of a name without case, white space, invisible characters and forms of letters."""
    letters = unicodedata.normalize("NFKC", text).casefold()
    return "".join(letter for letter in letters if not letter.isspace() and unicodedata.category(letter) != "Cf")


class Texts:
    """Reads texts of one table, and counts those whose form was changed."""

    def __init__(self, table: Path) -> None:
        self._table = table
        self._changed: list[str] = []

    def name(self, text: str, where: str) -> str:
        """A text that names something, in composed form.

        Raises:
            CorpusError: if it holds control characters or half of a surrogate pair
        """
        if text.isascii() and text.isprintable():
            return text
        for letter in text:
            category = unicodedata.category(letter)
            if category in ("Cc", "Cs"):
                kind = "a control character" if category == "Cc" else "half of a surrogate pair, no character"
                raise CorpusError(f"{where}: {text!r} holds {kind} (U+{ord(letter):04X}). Write it without")
        composed = unicodedata.normalize("NFC", text)
        if composed != text:
            self._changed.append(f"{where.removeprefix(f'{self._table}: ')}: {composed}")
        return composed

    def report(self) -> None:
        """Say how many texts were brought into composed form."""
        if self._changed:
            logger.warning(
                "%s: %d texts are read in composed form (Unicode NFC), first %s",
                self._table,
                len(self._changed),
                self._changed[0],
            )


# The rows of a table as mappings from column to cell: strict CSV or TSV, or JSON lines. Rows are lines.
#
# A field in quotation marks ends on its line. One that seems to go on below is refused: a mark left open by mistake
# looks just the same, and would swallow rows up to the next mark. Texts with line breaks go into JSON lines.

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


MAX_NUMBER = 1 << 63  # of a name in digits
_LONGEST = 60  # of a value shown in a message
_DURATION = re.compile(r"(?:(\d+) days?)? ?\+?(?:(\d+):(\d\d):(\d\d(?:\.\d+)?))?", re.ASCII)


def text_of(values: dict[str, Any], column: str, where: str, kinds: tuple[type, ...] = (str,)) -> str:
    """A cell without the spaces around it; empty where there is nothing.

    Raises:
        CorpusError: if the cell of a JSON line is no text, nor of the other ``kinds``
    """
    value = values.get(column)
    if value is None:
        return ""
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise CorpusError(f"{where}, column {column!r}: expected a text, found {_shown(value)}")
    if isinstance(value, (int, float)) and not abs(value) <= MAX_NUMBER:
        raise CorpusError(f"{where}, column {column!r}: a number of that size is no name. Write it as a text")
    return str(value).strip()


def label_of(values: dict[str, Any], where: str, texts: Texts, known: Sequence[str] = ()) -> str:
    """A label: a text that is there, and does not stand for a missing value, unless it is ``known``."""
    place = f"{where}, column 'label'"
    value = texts.name(text_of(values, "label", where), place)  # a number would be the index of a class
    if not value:
        raise CorpusError(f"{place}: empty, expected a value")
    if is_missing(value) and value not in known:
        raise CorpusError(
            f"{place}: {value!r} stands for a missing value. Fill it in, or leave the row out. To have a class "
            f"{value!r}, name all classes with --corpus-option labels=A,B"
        )
    return value


def speaker_of(values: dict[str, Any], where: str, texts: Texts) -> str:
    """A speaker; whole numbers stand for their digits, and nothing for a speaker who is not known."""
    value = values.get("speaker")
    if isinstance(value, float) and value.is_integer():
        values = {"speaker": int(value)}
    return texts.name(text_of(values, "speaker", where, (str, int)), f"{where}, column 'speaker'")


def path_of(values: dict[str, Any], where: str) -> str:
    """A file's name as it is on the disk: in whatever form its letters are."""
    value = text_of(values, "path", where)
    if not value:
        raise CorpusError(f"{where}, column 'path': empty, expected a value")
    if "\0" in value or not is_encodable(value):
        raise CorpusError(f"{where}, column 'path': {value!r} cannot be a file's name")
    check_slashes(value, f"{where}, column 'path'")
    return value


def optional_of(values: dict[str, Any], column: str, where: str, texts: Texts) -> str | None:
    """An id, session or source; whole numbers stand for their digits."""
    number = values.get(column)
    if isinstance(number, float) and number.is_integer():
        values = {column: int(number)}
    value = texts.name(text_of(values, column, where, (str, int)), f"{where}, column {column!r}")
    if is_missing(value):
        raise CorpusError(f"{where}, column {column!r}: {value!r} stands for a missing value. Leave the cell empty")
    return value or None


def sentence_of(values: dict[str, Any], where: str) -> str | None:
    """What is said; a text that stands for a missing value could be what is said, too."""
    value = text_of(values, "text", where)
    if not is_encodable(value):
        raise CorpusError(f"{where}, column 'text': holds half of a surrogate pair, no character")
    return unicodedata.normalize("NFC", value) or None


def number_of(values: dict[str, Any], column: str, where: str) -> float | None:
    value = values.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None
        if isinstance(value, str) and "_" in value:
            number = None  # Python's own way to write digits
    except (ValueError, OverflowError):
        number = None
    if number is None:
        raise CorpusError(f"{where}, column {column!r}: expected a number, found {_shown(value)}")
    if not math.isfinite(number) or number < 0:
        raise CorpusError(f"{where}, column {column!r}: expected a number that is not negative, found {_shown(value)}")
    return number


def seconds_of(values: dict[str, Any], column: str, where: str) -> float | None:
    """A time in seconds, or as pandas and audformat write it: ``0 days 00:00:01.500000``, and ``NaT`` for none."""
    value = values.get(column)
    text = value.strip() if isinstance(value, str) else ""
    if text == "NaT":
        return None
    found = _DURATION.fullmatch(text) if text else None
    if found is None or not any(found.groups()):
        return number_of(values, column, where)
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return 86400 * days + 3600 * hours + 60 * minutes + seconds


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
