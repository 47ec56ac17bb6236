"""Texts that others chose, for a terminal, a page and a spreadsheet: nothing in them is obeyed there."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

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


def one_line(text: str) -> str:
    """:func:`printable`, with blanks for line ends."""
    return " ".join(printable(text).split())


def markdown(text: str) -> str:
    """A text of one line that Markdown shows as it is: no tag, link, picture, code, table or heading begins in it."""
    plain = re.sub(r"([\\`\[\]|])", r"\\\1", one_line(text))
    plain = re.sub(r"&(?=[#A-Za-z])", "&amp;", plain)
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", plain)


def code(text: str) -> str:
    """A text as code within a line of Markdown."""
    plain = one_line(text)
    fence = "`" * (1 + _longest_run(plain))
    pad = " " if "`" in plain else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def block(text: str, language: str = "text") -> str:
    """Lines as a block of code in Markdown."""
    plain = printable(text)
    fence = "`" * max(3, 1 + _longest_run(plain))
    return f"{fence}{language}\n{plain}\n{fence}"


def cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula; numbers stay as they are."""
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
