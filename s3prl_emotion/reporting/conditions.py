"""A system under disturbances, as text, Markdown or CSV."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from s3prl_emotion.evaluation.conditions import CONDITION_METHODS, ConditionRow
from s3prl_emotion.evaluation.metrics import columns
from s3prl_emotion.evaluation.seed_groups import SeedGroup
from s3prl_emotion.reporting.layout import Rows, interval, listed, p_value, percent, tabulated, wrap

SHOWN = ("ua", "wa")
COLUMNS = (
    *("condition", "n", "metric", "value", "ci95_low", "ci95_high", "difference", "difference_low", "difference_high"),
    *("p_bootstrap", "p_holm", "of", "disturbance_seed", "upstream", "downstream", "corpus", "protocol", "folds"),
    *("seeds", "source"),
)


@dataclass(frozen=True)
class Robustness:
    """What was found of one system."""

    system: SeedGroup
    folds: tuple[int, ...]
    rows: tuple[ConditionRow, ...]  # the undisturbed one first
    seed: int  # of the disturbances
    remarks: tuple[str, ...]


def robustness_text(found: Sequence[Robustness], markdown: bool = False) -> str:
    """Each system as a table; rates in percent, differences in points."""
    parts = [part for item in found for part in _parts(item, markdown)]
    methods = ["Methods:", *(f"{name}: {text}." for name, text in CONDITION_METHODS.items())]
    return "\n\n".join([*parts, _lines(methods, markdown)])


def _parts(item: Robustness, markdown: bool) -> list[str]:
    results = item.system.results
    seeds = ", ".join(map(str, item.system.seeds))
    title = (
        f"Disturbed: {results.upstream} + {results.downstream} on {results.corpus}, protocol "
        f"{results.protocol.name}, seed{'s' if len(item.system.seeds) > 1 else ''} {seeds}, test of fold"
        f"{'s' if len(item.folds) > 1 else ''} {', '.join(map(str, item.folds))}"
    )
    of = "pooled " if results.is_pooled else ""
    parts = [f"## {title}" if markdown else wrap(title)]
    for name in SHOWN:
        metric = f"{of}{columns()[name].title}"
        headers = ["condition", "n", f"{metric} %", "95 % interval", "difference", "95 % interval", "p Holm"]
        parts.append(tabulated(headers, [_row(row, name) for row in item.rows], "github" if markdown else "simple"))
    return [*parts, _lines([*item.remarks, f"seed of the disturbances: {item.seed}"], markdown)]


def _row(row: ConditionRow, name: str) -> list[str]:
    cells = [row.condition, str(row.n), percent(row.values[name]), interval(row.ci95[name])]
    if not row.differences:
        return [*cells, "", "", ""]
    paired = row.paired.get(name)
    return [
        *cells,
        f"{100 * row.differences[name]:+.2f}",
        interval(None if paired is None else paired.interval),
        p_value(row.p_holm.get(name)),
    ]


def _lines(lines: Sequence[str], markdown: bool) -> str:
    return listed(lines) if markdown else "\n".join(map(wrap, lines))


def robustness_csv(found: Sequence[Robustness]) -> str:
    """One rate of one condition per row; rates are fractions."""
    buffer = io.StringIO()
    writer = Rows(buffer, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for item in found:
        results = item.system.results
        about = {
            "of": "pooled" if results.is_pooled else "mean",
            "disturbance_seed": item.seed,
            "upstream": results.upstream,
            "downstream": results.downstream,
            "corpus": results.corpus,
            "protocol": results.protocol.name,
            "folds": "; ".join(map(str, item.folds)),
            "seeds": "; ".join(map(str, item.system.seeds)),
            "source": "; ".join(str(run.folder) for run in item.system.runs),
        }
        for name in columns():
            for row in item.rows:
                low, high = row.ci95[name] or ("", "")
                cells = {"condition": row.condition, "n": row.n, "metric": name, "value": row.values[name]}
                cells |= {"ci95_low": low, "ci95_high": high, **about}
                if row.differences:
                    cells["difference"] = row.differences[name]
                if name in row.paired:
                    paired = row.paired[name]
                    cells["difference_low"], cells["difference_high"] = paired.interval
                    cells |= {"p_bootstrap": paired.p, "p_holm": row.p_holm[name]}
                writer.writerow(cells)
    return buffer.getvalue().rstrip("\n")
