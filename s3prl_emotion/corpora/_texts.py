"""Texts of tables in one form, and those that stand for a missing value.

``Ärger`` with one letter and with a combining mark are different texts and look the same: all are read in Unicode's
composed form (NFC), which is said. Texts such as ``nan`` are what other programs write where there is nothing.
"""

from __future__ import annotations

import logging
import unicodedata
from pathlib import Path

from s3prl_emotion.errors import CorpusError

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
