"""Tables by condition, layer and group."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from s3prl_emotion.evaluation.comparability import corpus_title
from s3prl_emotion.evaluation.conditions import CONDITION_METHODS, ConditionRow
from s3prl_emotion.evaluation.groups import GROUP_METHODS, Gap, Group, Grouping
from s3prl_emotion.evaluation.metrics import columns
from s3prl_emotion.evaluation.runs import OfLayer, systems
from s3prl_emotion.evaluation.seed_groups import SeedGroup
from s3prl_emotion.printable import cell
from s3prl_emotion.printable import markdown as plain
from s3prl_emotion.reporting.layout import Rows, interval, listed, p_value, percent, tabulated, wrap
from s3prl_emotion.runs.results import Results

SHOWN = ("ua", "wa")
CONDITIONS_COLUMNS = (
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
    parts = [part for item in found for part in _conditions_parts(item, markdown)]
    methods = ["Methods:", *(f"{name}: {text}." for name, text in CONDITION_METHODS.items())]
    return "\n\n".join([*parts, _lines(methods, markdown)])


def _conditions_parts(item: Robustness, markdown: bool) -> list[str]:
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
        parts.append(
            tabulated(headers, [_conditions_row(row, name) for row in item.rows], "github" if markdown else "simple")
        )
    return [*parts, _lines([*item.remarks, f"seed of the disturbances: {item.seed}"], markdown)]


def _conditions_row(row: ConditionRow, name: str) -> list[str]:
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
    writer = Rows(buffer, CONDITIONS_COLUMNS, lineterminator="\n", restval="")
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


NOTE = (
    "95 %: by drawn speakers, of each layer by itself. The layer that is best here is best on the test folds: the "
    "figure of a chosen layer is its own only where the choice was made elsewhere."
)
LAYERS_COLUMNS = ("upstream", "downstream", "seed", "corpus", "protocol", "layer", "of")
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
    writer.writerow([*LAYERS_COLUMNS, *(f"{name}{end}" for name in RATES for end in ("", "_low", "_high")), "run"])
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


GROUPS_COLUMNS = (
    *("by", "kind", "group", "n", "speakers", "drawn", "lacking", "metric", "value", "ci95_low", "ci95_high"),
    *("pairs", "by_chance", "upstream", "downstream", "corpus", "protocol", "seeds", "source"),
)


def groupings_text(groupings: Sequence[Grouping], markdown: bool = False) -> str:
    """Each system and attribute as a table with its largest gaps; rates in percent, gaps in points."""
    parts = [part for grouping in groupings for part in _groups_parts(grouping, markdown)]
    methods = ["Methods:", *(f"{name}: {text}." for name, text in GROUP_METHODS.items())]
    return "\n\n".join([*parts, _lines(methods, markdown)])


def _groups_parts(grouping: Grouping, markdown: bool) -> list[str]:
    title = f"By {grouping.by}: {_name(grouping)}"
    heading = f"## {plain(title)}" if markdown else wrap(title)
    one = _is_of_recalls(grouping)
    titles = {"ua": "recall"} if one else {name: columns()[name].title for name in SHOWN}
    flagged = not one and any(group.lacking for group in grouping.groups)
    headers = [grouping.by, "n", "drawn"]
    headers += [text for title in titles.values() for text in (f"{title} %", "95 % interval")]
    rows = [_groups_row(group, titles, flagged) for group in grouping.groups]
    table = tabulated([*headers, "without"] if flagged else headers, rows, "github" if markdown else "simple")
    remarks = [text for name, title in titles.items() for text in _gap(grouping.gaps[name], title)]
    return [heading, table, _lines(list(dict.fromkeys([*remarks, *_flags(grouping, flagged)])), markdown)]


def _is_of_recalls(grouping: Grouping) -> bool:
    """Whether each group has one class, so that its UA and its WA are the recall of that class."""
    classes = len(grouping.system.results.labels)
    return all(len(group.lacking) == classes - 1 for group in grouping.groups)


def _name(grouping: Grouping) -> str:
    results = grouping.system.results
    seeds = ", ".join(map(str, grouping.system.seeds))
    return (
        f"{results.upstream} + {results.downstream} on {results.corpus}, protocol {results.protocol.name}, "
        f"seed{'s' if len(grouping.system.seeds) > 1 else ''} {seeds}"
    )


def _groups_row(group: Group, titles: Iterable[str], flagged: bool) -> list[str]:
    cells = [group.name, str(group.n), f"{group.units} {group.drawn}"]
    for name in titles:
        cells += [percent(group.rates[name].value), interval(group.rates[name].ci95)]
    return [*cells, ", ".join(group.lacking)] if flagged else cells


def _gap(gap: Gap | None, title: str) -> list[str]:
    if gap is None:
        return ["no gap: there are not two groups with the same classes"]
    text = f"largest gap in {title}: {100 * gap.value:.2f} points, {gap.high} over {gap.low}"
    if gap.ci95 is None:
        text += "; no interval: one utterance only"
    else:
        told = "not told apart" if gap.ci95[0] <= 0 else "told apart"
        of = f" simultaneous over {gap.pairs} pairs," if gap.pairs > 1 else ""
        text += f", 95 % interval {interval(gap.ci95)},{of} {told}"
    if gap.by_chance is not None:
        text += f"; {100 * gap.by_chance:.2f} by chance if all were alike"
    if gap.left_out:
        text += f"; without {', '.join(gap.left_out)}, which lack classes"
    return [text]


def _flags(grouping: Grouping, flagged: bool) -> list[str]:
    flags = []
    same = [group.name for group in grouping.groups if group.rates["wa"].error == 0 and group.rates["ua"].error == 0]
    if same:
        flags.append(f"{', '.join(same)}: nothing varies when drawn: the interval is a point, and no certainty")
    if flagged:
        flags.append("without: classes that the group lacks; its UA is over fewer of them, which is easier")
    flags += [
        f"{group.name}: of {group.n} utterances the corpus does not tell it; in no gap"
        for group in grouping.groups
        if not group.told
    ]
    return flags


def groupings_csv(groupings: Sequence[Grouping]) -> str:
    """One number per row, rates as fractions; ``kind`` is ``group``, ``not told``, or ``gap`` (``HIGH minus LOW``)."""
    buffer = io.StringIO()
    writer = Rows(buffer, GROUPS_COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for grouping in groupings:
        results = grouping.system.results
        about = {
            "by": grouping.by,
            "upstream": results.upstream,
            "downstream": results.downstream,
            "corpus": results.corpus,
            "protocol": results.protocol.name,
            "seeds": "; ".join(map(str, grouping.system.seeds)),
            "source": "; ".join(str(run.folder) for run in grouping.system.runs),
        }
        for name in columns():
            for group in grouping.groups:
                rate = group.rates[name]
                low, high = rate.ci95 or ("", "")
                writer.writerow(
                    {
                        **about,
                        "kind": "group" if group.told else "not told",
                        "group": group.name,
                        "n": group.n,
                        "speakers": group.speakers,
                        "drawn": f"{group.units} {group.drawn}",
                        "lacking": "; ".join(group.lacking),
                        "metric": name,
                        "value": rate.value,
                        "ci95_low": low,
                        "ci95_high": high,
                    }
                )
            if (gap := grouping.gaps[name]) is not None:
                low, high = gap.ci95 or ("", "")
                writer.writerow(
                    {
                        **about,
                        "kind": "gap",
                        "group": f"{gap.high} minus {gap.low}",
                        "metric": name,
                        "value": gap.value,
                        "ci95_low": low,
                        "ci95_high": high,
                        "pairs": gap.pairs,
                        "by_chance": "" if gap.by_chance is None else gap.by_chance,
                    }
                )
    return buffer.getvalue().rstrip("\n")
