"""UA and WA layer by layer, as text and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from s3prl_emotion.evaluation.comparability import corpus_title
from s3prl_emotion.evaluation.layers import OfLayer, systems
from s3prl_emotion.printable import cell
from s3prl_emotion.reporting.layout import interval, percent, tabulated, wrap
from s3prl_emotion.runs.results import Results

NOTE = (
    "95 %: by drawn speakers, of each layer by itself. The layer that is best here is best on the test folds: the "
    "figure of a chosen layer is its own only where the choice was made elsewhere."
)
COLUMNS = ("upstream", "downstream", "seed", "corpus", "protocol", "layer", "of")
RATES = ("ua", "wa")


def layers_table(found: Sequence[OfLayer]) -> str:
    """A table for each upstream, classifier and seed; lines of at most 100 columns."""
    blocks = []
    for items in systems(found):
        first = items[0].results
        titles = {"upstream": first.upstream, "downstream": first.downstream, "corpus": corpus_title(first)}
        titles |= {"protocol": first.protocol.name, "seed": str(first.seed)}
        heading = wrap(" | ".join(f"{key} {value}" for key, value in titles.items()))
        rows = []
        for item in items:
            cells = [
                text
                for name in RATES
                for value, bounds in [_figures(item.results, name)]
                for text in (percent(value), interval(bounds))
            ]
            rows.append([str(item.layer), *cells])
        of = "pooled" if first.is_pooled else "mean over folds"
        heads = ["layer", *(text for name in RATES for text in (f"{name.upper()} %", "95 %"))]
        blocks.append(f"{heading}\n\n{tabulated(heads, rows)}\n{wrap(f'UA and WA: {of}.')}")
    return "\n\n".join([*blocks, wrap(NOTE)])


def layers_csv(found: Sequence[OfLayer]) -> str:
    """One row for each layer; rates are fractions."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*COLUMNS, *(f"{name}{end}" for name in RATES for end in ("", "_low", "_high")), "run"])
    for item in found:
        results = item.results
        numbers = [text for name in RATES for text in _cells(*_figures(results, name))]
        about = [results.upstream, results.downstream, results.seed, results.corpus_name or results.corpus]
        of = "pooled" if results.is_pooled else "mean"
        writer.writerow(map(cell, [*about, results.protocol.name, item.layer, of, *numbers, item.folder]))
    return buffer.getvalue()


def _figures(results: Results, name: str) -> tuple[float, tuple[float, float] | None]:
    """The rate to quote, and its interval by speakers."""
    if results.is_pooled and results.pooled is not None:
        return results.pooled[name].value, results.pooled[name].ci95
    return results.rates[name].mean, results.rates[name].ci95


def _cells(value: float, bounds: tuple[float, float] | None) -> list[str]:
    return [repr(value), *(("", "") if bounds is None else map(repr, bounds))]
