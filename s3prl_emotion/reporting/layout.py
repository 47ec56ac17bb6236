"""Layout of numbers and lines: percent with two decimals, at most 100 columns."""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tabulate import tabulate

from s3prl_emotion.printable import cell, markdown

WIDTH = 100


def tabulated(headers: Sequence[str], rows: Sequence[Sequence[str]], style: str = "simple") -> str:
    """Cells as a table, the first column to the left; ``style`` is one of tabulate's, such as ``github``."""
    if style == "github":
        headers, rows = list(map(markdown, headers)), [list(map(markdown, row)) for row in rows]
    align = ["left", *["right"] * (len(headers) - 1)]
    table = tabulate(rows, headers=headers, tablefmt=style, colalign=align, disable_numparse=True)
    return "\n".join(line.rstrip() for line in table.splitlines())


def percent(fraction: float | None) -> str:
    """A fraction in percent, without the sign; a dash for None."""
    return "-" if fraction is None else f"{100 * fraction:.2f}"


def interval(bounds: Sequence[float] | None) -> str:
    """Bounds of an interval in percent; a dash for None."""
    return "-" if bounds is None else f"{percent(bounds[0])} to {percent(bounds[1])}"


def p_value(p: float | None) -> str:
    """A p with four decimals; a dash for None."""
    if p is None:
        return "-"
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def or_dash(value: Any) -> str:
    """A value as text; a dash for None."""
    return "-" if value is None else str(value)


class Rows(csv.DictWriter):  # type: ignore[type-arg]
    """Rows of a report in CSV, without formulas in the names that others chose."""

    def writerow(self, rowdict: Mapping[Any, Any]) -> Any:
        """One row."""
        return super().writerow({key: cell(value) for key, value in rowdict.items()})

    def writerows(self, rowdicts: Iterable[Mapping[Any, Any]]) -> None:
        """Several."""
        for row in rowdicts:
            self.writerow(row)


def listed(lines: Sequence[str]) -> str:
    """Lines as a list in Markdown."""
    return "\n".join(f"- {markdown(line)}" for line in lines)


def wrap(text: str) -> str:
    """A paragraph in lines of at most 100 columns, indented from the second on."""
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
