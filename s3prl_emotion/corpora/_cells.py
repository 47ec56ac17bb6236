"""The cells of a row of a table, each as what its column is for. Errors begin with file, row and column."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from s3prl_emotion.corpora._files import check_slashes
from s3prl_emotion.corpora._texts import Texts, is_missing
from s3prl_emotion.corpora.manifest import is_encodable
from s3prl_emotion.errors import CorpusError

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
