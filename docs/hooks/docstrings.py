"""Docstrings as Markdown: what is reStructuredText in them is translated when the reference is built."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe
from latex2mathml.converter import convert

_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`~?([^`]+)`")
_MATH = re.compile(r":math:`([^`]+)`")
_DISPLAY = re.compile(r"^\.\. math:: (.*(?:\n +\S.*)*)", re.MULTILINE)
_CODE = re.compile(r"^\.\. code-block:: (\w+)\n((?:\n| +.*\n?)+)", re.MULTILINE)
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
_LITERAL = re.compile(r"::\n+(?= {4})")
_COMMENT = re.compile(r"^ +(\w+): .*?  # (.+)$")


class MarkdownDocstrings(griffe.Extension):
    """Translates roles, formulae and literal blocks; lists the fields of a dataclass with their comments."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        fields = [
            f"    {match[1]}: {match[2]}"
            for line in cls.lines
            if (match := _COMMENT.match(line)) and not match[1].startswith("_") and match[1] in cls.members
        ]
        if cls.docstring is not None and fields:
            cls.docstring.value = "\n".join([cls.docstring.value, "", "Attributes:", *fields])


def as_markdown(text: str) -> str:
    """A docstring in Markdown, with formulae in MathML, which browsers show by themselves."""
    text = _DISPLAY.sub(lambda match: f'\n<div class="math">{_formula(match[1], "block")}</div>\n', text)
    text = _MATH.sub(lambda match: _formula(match[1], "inline"), text)
    text = _ROLE.sub(lambda match: f"`{match[1].rpartition('.')[2] if '~' in match[0] else match[1]}`", text)
    text = _CODE.sub(lambda match: f"```{match[1]}\n{textwrap.dedent(match[2]).strip()}\n```\n\n", text)
    text = _LITERAL.sub(":\n\n", text)
    return _EXAMPLE.sub("Examples:", text)


def _formula(latex: str, display: str) -> str:
    formula: str = convert(" ".join(latex.split()), display=display)
    return formula.replace("\n", "")
