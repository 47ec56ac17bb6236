"""Rates by group as text, Markdown or CSV."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from s3prl_emotion.evaluation.groups import GROUP_METHODS, Gap, Group, Grouping
from s3prl_emotion.evaluation.metrics import columns
from s3prl_emotion.printable import markdown as plain
from s3prl_emotion.reporting.layout import Rows, interval, listed, percent, tabulated, wrap

SHOWN = ("ua", "wa")
COLUMNS = (
    *("by", "kind", "group", "n", "speakers", "drawn", "lacking", "metric", "value", "ci95_low", "ci95_high"),
    *("pairs", "by_chance", "upstream", "downstream", "corpus", "protocol", "seeds", "source"),
)


def groupings_text(groupings: Sequence[Grouping], markdown: bool = False) -> str:
    """Each system and attribute as a table with its largest gaps; rates in percent, gaps in points."""
    parts = [part for grouping in groupings for part in _parts(grouping, markdown)]
    methods = ["Methods:", *(f"{name}: {text}." for name, text in GROUP_METHODS.items())]
    return "\n\n".join([*parts, _lines(methods, markdown)])


def _parts(grouping: Grouping, markdown: bool) -> list[str]:
    title = f"By {grouping.by}: {_name(grouping)}"
    heading = f"## {plain(title)}" if markdown else wrap(title)
    one = _is_of_recalls(grouping)
    titles = {"ua": "recall"} if one else {name: columns()[name].title for name in SHOWN}
    flagged = not one and any(group.lacking for group in grouping.groups)
    headers = [grouping.by, "n", "drawn"]
    headers += [text for title in titles.values() for text in (f"{title} %", "95 % interval")]
    rows = [_row(group, titles, flagged) for group in grouping.groups]
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


def _row(group: Group, titles: Iterable[str], flagged: bool) -> list[str]:
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


def _lines(lines: Sequence[str], markdown: bool) -> str:
    return listed(lines) if markdown else "\n".join(map(wrap, lines))


def groupings_csv(groupings: Sequence[Grouping]) -> str:
    """One number per row, rates as fractions; ``kind`` is ``group``, ``not told``, or ``gap`` (``HIGH minus LOW``)."""
    buffer = io.StringIO()
    writer = Rows(buffer, COLUMNS, lineterminator="\n", restval="")
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
