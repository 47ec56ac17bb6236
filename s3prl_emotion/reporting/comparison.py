"""Comparisons as text, Markdown, JSON and CSV."""

from __future__ import annotations

import io
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from s3prl_emotion.evaluation.comparability import say_folds
from s3prl_emotion.evaluation.metrics import columns, measures, rates
from s3prl_emotion.printable import markdown
from s3prl_emotion.published import rate_of
from s3prl_emotion.reporting.layout import WIDTH, Rows, interval, listed, p_value, percent, tabulated, wrap
from s3prl_emotion.reporting.table import SUPERB_HEAD


def comparison_text(comparison: Mapping[str, Any], markdown: bool = False) -> str:
    """Lay out what :func:`s3prl_emotion.evaluation.comparison.compare` found.

    Rates and differences are in percent, and percentage points, with two decimals.

    Args:
        comparison: the comparison
        markdown: with headings and pipe tables, and without a bound on the width

    Returns:
        lines without a newline at the end
    """
    page = _Page(markdown)
    for block in comparison["blocks"]:
        _heading(page, block)
        _comparison_text_systems(page, block, comparison["metric"])
        _comparison_text_published(page, block)
        _comparison_text_differences(page, block, comparison["metric"], comparison["comparisons"])
    page.add(
        *(f"not finished, so not compared: {folder}: no fold has a result yet" for folder in comparison["unfinished"])
    )
    page.add("Methods:", *(f"{name}: {text}." for name, text in comparison["methods"].items()))
    return "\n\n".join(page.parts)


class _Headline(NamedTuple):
    """Where a mean over folds, or a rate over the pooled predictions, stands in a system's figures."""

    name: str
    title: str  # what a column's title says of it
    value: str
    interval: str


HEADLINES = (_Headline("mean", "", "mean", "ci95"), _Headline("pooled", "pooled ", "pooled", "pooled_ci95"))


class _Page:
    """Paragraphs and tables, in either form."""

    def __init__(self, markdown: bool) -> None:
        self.markdown = markdown
        self.parts: list[str] = []

    def heading(self, text: str) -> None:
        self.parts.append(f"## {markdown(text)}" if self.markdown else f"{text}\n{'=' * len(text)}")

    def add(self, *lines: str) -> None:
        """A paragraph; in Markdown several lines are a list."""
        if not lines:
            return
        if not self.markdown:
            self.parts.append("\n".join(map(wrap, lines)))
        else:
            self.parts.append(markdown(lines[0]) if len(lines) == 1 else listed(lines))

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table whose first cells are ``KEY name``.

        Where it does not fit in the width, titles stand in several lines; where that is not enough, the names go.
        """
        if self.markdown:
            self.parts.append(tabulated(headers, rows, "github"))
            return
        table = tabulated(headers, rows)
        if _is_wide(table):
            headers = list(map(_in_lines, headers))
            table = tabulated(headers, rows)
        if _is_wide(table):
            table = tabulated(headers, [[row[0].split(" ")[0], *row[1:]] for row in rows])
        self.parts.append(table)


def _in_lines(title: str) -> str:
    """A column's title in short lines, with ``%`` beside what it belongs to."""
    kept = title.replace(" %", "\xa0%").replace(" minus ", " minus\xa0")
    return textwrap.fill(kept, 5, break_long_words=False, break_on_hyphens=False).replace("\xa0", " ")


def _is_wide(table: str) -> bool:
    return max(map(len, table.splitlines())) > WIDTH


def _heading(page: _Page, block: Mapping[str, Any]) -> None:
    protocol = block["protocol"]
    page.heading(f"Block {block['number']}: {block['corpus']}, protocol {protocol['name']}")
    lines = [
        f"selection {protocol['selection']}; dev {protocol['dev']}; labels {', '.join(protocol['labels'])}; scored "
        f"{say_folds(block['folds'])}"
    ]
    if protocol.get("order"):
        lines.append(f"dev drawn as S3PRL draws it; order of utterances: {protocol['order']}")
    if block["headline"]["of"] == "pooled":
        lines.append(f"headline: the pooled rates, not the means over folds: {block['headline']['reason']}")
    lines += [f"division: {text}" for text in block["lacking"]]
    lines += [f"marked: {mark}" for mark in block["marks"]]
    lines += [f"not comparable with block {item['block']}: {item['reason']}" for item in block["apart"]]
    page.add(*lines)


def _titles() -> dict[str, str]:
    return {name: rate.title for name, rate in columns().items()}


def _comparison_text_systems(page: _Page, block: Mapping[str, Any], metric: str) -> None:
    titles = _titles()
    others = [rate for rate in titles if rate != metric]
    of, other = HEADLINES if block["headline"]["of"] == "mean" else HEADLINES[::-1]
    headers = ["system", "seeds", f"{of.title}{titles[metric]} %", "95 % interval"]
    headers += [f"{other.name} %"] if page.markdown else []  # in plain text it stands in the line of the system
    headers += ["std folds", "std seeds", *(f"{titles[rate]} %" for rate in others), "ECE %"]
    rows = []
    for system in block["systems"]:
        found = system["figures"]
        main = found[metric]
        cells = [f"{system['key']} {system['name']}", str(len(system["seeds"])), percent(main[of.value])]
        cells += [interval(main[of.interval]), *([percent(main[other.value])] if page.markdown else [])]
        cells += [percent(main["std_folds"]), percent(main["std_seeds"])]
        rows.append([*cells, *(percent(found[rate][of.value]) for rate in others), percent(found["ece"])])
    page.table(headers, rows)
    lines = []
    for system in block["systems"]:
        seeds = ", ".join(map(str, system["seeds"]))
        parts = [f"{system['name']}, {'seed' if len(system['seeds']) == 1 else 'seeds'} {seeds}"]
        beside = system["figures"][metric]
        parts += [*system["marks"], *system["remarks"]]
        parts.append(
            f"{other.name} {titles[metric]} {percent(beside[other.value])} ({interval(beside[other.interval])})"
        )
        parts.append(", ".join(system["source"]))
        lines.append(f"{system['key']}: {'; '.join(parts)}")
    page.add(*lines)


def _comparison_text_published(page: _Page, block: Mapping[str, Any]) -> None:
    systems = {system["key"]: system for system in block["systems"]}
    numbers = {id(row): number for number, row in enumerate(block["published"], start=1)}
    comparable = [row for row in block["published"] if row["comparable_with"]]
    for metric in sorted({row["metric"] for row in comparable}):
        rows = [row for row in comparable if row["metric"] == metric]
        cells = []
        for key in sorted({key for row in rows for key in row["comparable_with"]}, key=list(systems).index):
            found = systems[key]["figures"][rate_of(metric)]
            folds = [percent(found["folds"].get(str(fold))) for fold in block["folds"]]
            label = f"{key} {systems[key]['name']}"
            cells.append([label, *folds, percent(found["mean"]), percent(found["std_folds"])])
        for row in rows:
            folds = [percent(value) for value in row["folds"]] or ["-"] * len(block["folds"])
            label = f"[{numbers[id(row)]}] {_name(row)}"
            cells.append([label, *folds, percent(row["accuracy"]), percent(row["std"])])
        page.table([f"{metric} %, published", *(f"fold {fold}" for fold in block["folds"]), "mean", "std"], cells)
        sources = [
            f"[{numbers[id(row)]}] {_name(row)}: {_source(row)}; comparable with {', '.join(row['comparable_with'])}: "
            "same corpus, labels and protocol"
            for row in rows
        ]
        if any(row["protocol"] == "superb" for row in rows):
            sources.append(SUPERB_HEAD)
        page.add(*sources)
    apart: dict[tuple[str, str], list[str]] = {}  # what one source says of one system stands in one line
    for row in block["published"]:
        spread = "" if row["std"] is None else f" ({percent(row['std'])})"
        for reason, keys in _by_reason(row["reasons"]).items():
            ending = f"{_source(row)}; not comparable with {', '.join(keys)}: {reason}"
            apart.setdefault((_name(row), ending), []).append(f"{row['metric']} {percent(row['accuracy'])}{spread}")
    page.add(*(f"published: {name}: {', '.join(found)} %, {ending}" for (name, ending), found in apart.items()))


def _source(row: Mapping[str, Any]) -> str:
    note = f" ({row['note']})" if row["note"] else ""
    return f"{row['source']}, protocol {row['protocol']}{note}"


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['upstream']} + {row['downstream']}" if row["downstream"] else str(row["upstream"])


def _by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, reason in reasons.items():
        found.setdefault(reason, []).append(key)
    return found


def _comparison_text_differences(page: _Page, block: Mapping[str, Any], metric: str, comparisons: int) -> None:
    if not block["differences"]:
        return
    names = {system["key"]: system["name"] for system in block["systems"]}
    titles = _titles()
    of = "pooled " if block["headline"]["of"] == "pooled" else ""
    headers = [f"{of}{titles[metric]}, minus {block['baseline']}", "points", "95 % interval", "detectable"]
    headers += ["p bootstrap", "p Holm", *(["p McNemar"] if metric == "wa" else []), "p corrected t"]
    rows = []
    for item in block["differences"]:
        found = item[metric]
        cells = [f"{item['key']} {names[item['key']]}", f"{100 * found['difference']:+.2f}", interval(found["ci95"])]
        cells.append("-" if found["detectable"] is None else f"± {percent(found['detectable'])}")
        p_values = [found["p_bootstrap"], found["p_holm"], found["p_corrected_t"]]
        if metric == "wa":
            p_values.insert(2, item["mcnemar"]["median"])
        rows.append([*cells, *map(p_value, p_values)])
    page.table(headers, rows)
    lines = [f"p Holm: p bootstrap adjusted for {comparisons} {'comparison' if comparisons == 1 else 'comparisons'}"]
    known = [item[metric]["detectable"] for item in block["differences"] if item[metric]["detectable"] is not None]
    if known:
        below = " to ".join(dict.fromkeys((percent(min(known)), percent(max(known)))))
        lines.append(
            f"detectable: with these speakers and seeds a true difference below {below} points goes unseen "
            "in more than one experiment of five: do not rank systems that are closer"
        )
    for item in block["differences"]:
        pairs = [f"{a} with {b}" for a, b in item["mcnemar"]["seeds"] if a != b]
        if pairs and metric == "wa":
            lines.append(f"{item['key']}: no seed in common with {block['baseline']}; McNemar pairs {', '.join(pairs)}")
        if found_none := [name for name in ("p_bootstrap", "p_corrected_t") if item[metric][name] is None]:
            without = "pooled rates have no folds" if of else "one fold only, or no folds.json"
            why = {"p_bootstrap": "one speaker only", "p_corrected_t": without}
            lines.append(f"{item['key']}: {'; '.join(f'no {name}: {why[name]}' for name in found_none)}")
    page.add(*lines)


COLUMNS = (
    *("block", "kind", "key", "name", "metric", "value", "ci95_low", "ci95_high", "std_folds", "std_seeds", "folds"),
    *("seeds", "baseline", "p_bootstrap", "p_holm", "p_mcnemar", "p_corrected_t", "comparable_with", "reason"),
    *("corpus", "protocol", "protocol_sha256", "split_sha256", "marks", "source"),
    *("headline", "pooled", "pooled_ci95_low", "pooled_ci95_high", "standard_error", "detectable"),
)


def comparison_json(comparison: Mapping[str, Any]) -> str:
    """The whole comparison as JSON; rates are fractions."""
    text = json.dumps(comparison, indent=2, ensure_ascii=False, allow_nan=False)
    return re.sub("[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text)  # which a terminal would obey


def comparison_csv(comparison: Mapping[str, Any]) -> str:
    """One row per number: ``kind`` is ``system``, ``published``, ``difference`` or ``unfinished``; rates are fractions.

    ``headline`` tells which to quote, ``value``, the mean over folds, or ``pooled``; differences are of that one.

    ``folds`` holds ``number:rate`` parted by blanks; lists are parted by ``; ``.
    """
    buffer = io.StringIO()
    writer = Rows(buffer, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for block in comparison["blocks"]:
        for row in (
            *_comparison_export_systems(block),
            *_comparison_export_published(block),
            *_comparison_export_differences(block),
        ):
            writer.writerow({key: _cell(value) for key, value in {"block": block["number"], **row}.items()})
    for folder in comparison["unfinished"]:
        writer.writerow({"kind": "unfinished", "source": folder, "reason": "no fold has a result yet"})
    return buffer.getvalue().rstrip("\n")


def _cell(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "; ".join(map(str, value))
    return "" if value is None else str(value)


def _task(block: Mapping[str, Any]) -> dict[str, Any]:
    protocol = block["protocol"]
    return {
        "corpus": block["corpus"],
        "protocol": protocol["name"],
        "protocol_sha256": protocol["sha256"],
        "split_sha256": protocol["split_sha256"],
        "marks": block["marks"],
        "headline": block["headline"]["of"],
        "reason": [f"not comparable with block {item['block']}: {item['reason']}" for item in block["apart"]],
    }


def _bounds(interval: list[float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"ci95_low": low, "ci95_high": high}


def _folds(values: Mapping[Any, float]) -> str:
    return " ".join(f"{fold}:{value}" for fold, value in values.items())


def _comparison_export_systems(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for system in block["systems"]:
        about = {key: system[key] for key in ("key", "name", "seeds", "source")} | {"kind": "system", **_task(block)}
        if system["copy_of"] is not None:
            about["reason"] = [*about["reason"], f"a copy: the same predictions as {system['copy_of']}"]
        for rate in rates():
            found = system["figures"][rate]
            spread = {key: found[key] for key in ("std_folds", "std_seeds")}
            numbers = {"value": found["mean"], **_bounds(found["ci95"]), **spread, "folds": _folds(found["folds"])}
            low, high = found["pooled_ci95"] or (None, None)
            numbers |= {"pooled": found["pooled"], "pooled_ci95_low": low, "pooled_ci95_high": high}
            yield {**about, "corpus": system["corpus"], "metric": rate, **numbers}
        for name in measures():
            if system["figures"][name] is not None:
                yield {**about, "corpus": system["corpus"], "metric": name, "value": system["figures"][name]}


def _comparison_export_published(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for row in block["published"]:
        yield {
            "kind": "published",
            "name": f"{row['upstream']} {row['downstream']}".strip(),
            "metric": rate_of(row["metric"]),
            "value": row["accuracy"],
            "std_folds": row["std"],
            "folds": _folds(dict(enumerate(row["folds"], start=1))),
            "comparable_with": row["comparable_with"],
            "reason": [f"not comparable with {key}: {reason}" for key, reason in row["reasons"].items()],
            "corpus": row["corpus"],
            "protocol": row["protocol"],
            "source": f"{row['source']} ({row['note']})" if row["note"] else row["source"],
        }


def _comparison_export_differences(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    systems = {system["key"]: system for system in block["systems"]}
    for item in block["differences"]:
        both = systems[item["key"]], systems[item["baseline"]]
        for rate in rates():
            found = item[rate]
            yield {
                "kind": "difference",
                "key": item["key"],
                "baseline": item["baseline"],
                "name": f"{both[0]['name']} minus {both[1]['name']}",
                "metric": rate,
                "value": found["difference"],
                **_bounds(found["ci95"]),
                **{name: found[name] for name in ("p_bootstrap", "p_holm", "p_corrected_t")},
                **{name: found[name] for name in ("standard_error", "detectable")},
                "p_mcnemar": item["mcnemar"]["median"] if rate == "wa" else None,
                **_task(block),
                "source": [*both[0]["source"], *both[1]["source"]],
            }
