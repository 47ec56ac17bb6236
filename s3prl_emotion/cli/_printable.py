"""Printing names that others chose: a file's name may hold an escape sequence, which a terminal would obey."""

from __future__ import annotations

import logging
import unicodedata

_KEPT = "\n\t"
_UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control and format characters, halves of surrogates, line separators
_JOINERS = "\u200c\u200d"  # which spell words in several scripts, and change no direction


def printable(text: str) -> str:
    r"""The text with control, format and undecodable characters as ``\x1b``, ``\u202e`` and such; line ends stay."""
    if text.isprintable():
        return text
    return "".join(character if _is_safe(character) else _escaped(character) for character in text)


def _is_safe(character: str) -> bool:
    return character in _KEPT or character in _JOINERS or unicodedata.category(character) not in _UNSAFE


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


class PrintableFormatter(logging.Formatter):
    """Log lines without anything that a terminal would obey."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one text."""
        return printable(super().format(record))
