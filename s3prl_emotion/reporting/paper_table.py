"""The ladder as text, Markdown or CSV: ours beside the paper's figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from s3prl_emotion.printable import cell
from s3prl_emotion.reporting.layout import interval, percent, tabulated, wrap

COLUMNS = (
    *("protocol", "row", "upstream", "downstream", "metric", "value", "ci95_low", "ci95_high"),
    *("published", "source"),
)
NOTES = (
    "sum: UA + WA. 95 %: by speakers drawn with replacement. Ours are means over folds, or pooled rates where test "
    "folds lack classes.",
    "paper: arXiv 2312.11503, which shares speakers between train, dev and test and balances its classes "
    "before it divides them. Its notebook swaps the names of UA and WA; the figures stand under the paper's names.",
)


def ladder_text(rows: Sequence[Any], absent: Mapping[tuple[str, str], str], markdown: bool = False) -> str:
    """A table for each protocol, then what is not there and why, then why the paper's figures are not comparable.

    Args:
        rows: as :class:`s3prl_emotion.experiment.paper_table.TableRow` has them
        absent: of each protocol and row that has none, the reason
        markdown: with headings and pipe tables
    """
    parts = []
    for protocol in dict.fromkeys([*(row.protocol for row in rows), *(protocol for protocol, _ in absent)]):
        title = f"Protocol {protocol}"
        parts.append(f"## {title}" if markdown else f"{title}\n{'=' * len(title)}")
        headers = ["row", "UA %", "95 %", "WA %", "95 %", "sum", "paper UA, WA, sum"]
        cells = [_cells(row) for row in rows if row.protocol == protocol]
        if cells:
            parts.append(tabulated(headers, cells, "github" if markdown else "simple"))
        missing = [f"{name}: {reason}" for (other, name), reason in absent.items() if other == protocol]
        parts += ["\n".join(missing if markdown else map(wrap, missing))] if missing else []
        alike: dict[str, list[str]] = {}
        for row in rows:
            if row.protocol == protocol and row.not_comparable:
                alike.setdefault(row.not_comparable, []).append(row.rung.title)
        apart = [f"paper not comparable with {', '.join(titles)}: {reason}" for reason, titles in alike.items()]
        parts += ["\n".join(apart if markdown else map(wrap, apart))] if apart else []
    return "\n\n".join([*parts, "\n".join(NOTES if markdown else map(wrap, NOTES))])


def _cells(row: Any) -> list[str]:
    (ua, ua_bounds), (wa, wa_bounds) = row.rates["ua"], row.rates["wa"]
    ours = [percent(ua), interval(ua_bounds), percent(wa), interval(wa_bounds), percent(row.rates["ua_plus_wa"][0])]
    given = row.published
    theirs = (given.get("ua"), given.get("wa"), given["ua"] + given["wa"]) if given else ()
    return [row.rung.title, *ours, " ".join(map(percent, theirs)) or "-"]


def ladder_csv(rows: Sequence[Any]) -> str:
    """One number per row, rates as fractions, the paper's beside ours."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        for metric, (value, bounds) in row.rates.items():
            low, high = bounds or ("", "")
            given = {**row.published, **({"ua_plus_wa": sum(row.published.values())} if row.published else {})}
            source = "; ".join(map(str, row.folders))
            about = [row.protocol, row.rung.title, row.rung.upstream or "speech", row.rung.downstream]
            writer.writerow(map(cell, [*about, metric, value, low, high, given.get(metric, ""), source]))
    return buffer.getvalue().rstrip("\n")
