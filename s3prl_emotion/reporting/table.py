"""The plain-text table that a run prints at its end, and the confusion matrix. Everything fits in 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from s3prl_emotion.evaluation.published import SUPERB_FOLDS, PublishedResult
from s3prl_emotion.reporting.comparability import CHANCE_MARGIN, missing_folds, near_chance, not_comparable, say_folds

WIDTH = 100
RATES = {"ua": "UA", "wa": "WA", "macro_f1": "macro-F1"}
SUPERB_HEAD = (
    "The leaderboard's head is linear, time mean, linear, its learning rate tuned per upstream; its metric is plain "
    "accuracy (WA)."
)


def results_table(results: Mapping[str, Any], published: Sequence[PublishedResult] = ()) -> str:
    """Lay out the record of a run, with published numbers of the same upstream beneath.

    Rates are printed in percent with two decimals. A published number is called comparable only if corpus, labels and
    protocol are those of the run, all folds are there and the settings are not scaled down.

    Args:
        results: a record of schema 1, as :func:`s3prl_emotion.evaluation.summarise` makes it
        published: what :func:`s3prl_emotion.evaluation.superb_rows` and ``paper_rows`` return for the upstream

    Returns:
        lines of at most 100 columns, without a newline at the end
    """
    blocks = [_title(results), _fold_table(results), *_remarks(results)]
    leaderboard = [row for row in published if row.protocol == "superb"]
    if leaderboard:
        blocks.append(_leaderboard(results, leaderboard))
    else:
        blocks.append(_wrap(f"SUPERB leaderboard: no row is known for upstream {results['upstream']}"))
    others = [row for row in published if row.protocol != "superb"]
    if others:
        blocks.append("\n".join(_other(results, row) for row in others))
    return "\n\n".join(blocks)


def confusion_table(results: Mapping[str, Any]) -> str:
    """Lay out the confusion matrix, summed over folds: truth in rows, prediction in columns, recall in percent.

    The column titles become numbers where the labels do not fit in 100 columns.
    """
    labels = results["protocol"]["labels"]
    matrix = results["confusion"]
    recalls = [_percent(row[i] / sum(row)) if sum(row) else "-" for i, row in enumerate(matrix)]

    def layout(rows: Sequence[str], columns: Sequence[str]) -> str:
        cells = [[name, *map(str, row), recall] for name, row, recall in zip(rows, matrix, recalls, strict=True)]
        return _tabulate(["truth \\ predicted", *columns, "recall"], cells)

    table = layout(labels, labels)
    if max(map(len, table.splitlines())) > WIDTH:
        numbers = [str(number) for number in range(1, len(labels) + 1)]
        table = layout([f"{number} {label}" for number, label in zip(numbers, labels, strict=True)], numbers)
    return f"Confusion matrix, {sum(map(sum, matrix))} utterances of {len(results['folds'])} folds\n{table}"


def _title(results: Mapping[str, Any]) -> str:
    protocol = results["protocol"]
    parts = {
        "upstream": results["upstream"],
        "downstream": results["downstream"],
        "corpus": results["corpus"],
        "protocol": protocol["name"],
        "selection": protocol["selection"],
        "dev": protocol["dev"],
        "labels": ", ".join(protocol["labels"]),
        "seed": results["seed"],
    }
    return _wrap(" | ".join(f"{key} {value}" for key, value in parts.items()))


def _fold_table(results: Mapping[str, Any]) -> str:
    rows = [
        [str(fold["fold"]), str(fold["n"]), *(_percent(fold[rate]) for rate in RATES), _or_dash(fold["step"])]
        for fold in results["folds"]
    ]
    rows.append(["mean", "", *(_percent(results[rate]["mean"]) for rate in RATES), ""])
    rows.append(["std", "", *(_percent(results[rate]["std"]) for rate in RATES), ""])
    rows.append(["95 % interval", "", *(_interval(results[rate]["ci95"]) for rate in RATES), ""])
    rows.append(["chance", "", _percent(results["chance"]), "-", "-", ""])
    table = _tabulate(["fold", "n", *(f"{name} %" for name in RATES.values()), "step"], rows)
    method = f"std: sample standard deviation over folds. 95 % interval: {results['ci95_method']}."
    if len(results["folds"]) < 2:
        method = "One fold: neither a standard deviation nor an interval over folds."
    return f"{table}\n{_wrap(method)}"


def _remarks(results: Mapping[str, Any]) -> list[str]:
    """Warnings and notes about the run itself."""
    lines = []
    missing = missing_folds(results)
    if missing:
        lines.append(
            f"warning: incomplete: {say_folds(missing)} missing, "
            f"{len(results['folds'])} of {len(results['folds_expected'])} folds scored"
        )
    if near_chance(results):
        lines.append(
            f"warning: mean UA {_percent(results['ua']['mean'])} is not more than {100 * CHANCE_MARGIN:.0f} points "
            f"above chance ({_percent(results['chance'])}): little or nothing was learned"
        )
    settings = _settings(results.get("settings"))
    if settings:
        lines.append(settings)
    if results["protocol"]["transductive"]:
        lines.append("transductive: audio of the test folds was used, unlabelled, in pretraining")
    return ["\n".join(map(_wrap, lines))] if lines else []


def _settings(settings: Mapping[str, Any] | None) -> str:
    """Name the settings that differ from the configuration file's; empty if none does and the run is no demo."""
    if not settings:
        return ""
    file = settings.get("file") or {}
    shown = []
    for key, value in settings.items():
        if key in ("demo", "file", "deviations") or (key in file and file[key] == value):
            continue
        if key in file:
            shown.append(f"{key} {value} (file: {file[key]})")
        elif settings.get("demo"):
            shown.append(f"{key} {value}")
    if settings.get("demo"):
        return f"demo settings: {', '.join(shown) or 'scaled down'}; not the configuration file's"
    return f"settings: {', '.join(shown)}; not the configuration file's" if shown else ""


def _leaderboard(results: Mapping[str, Any], rows: Sequence[PublishedResult]) -> str:
    reasons = [not_comparable(results, row) for row in rows]
    cells = []
    if None in reasons:
        own = {fold["fold"]: _percent(fold["wa"]) for fold in results["folds"]}
        cells.append(["this run", *(own.get(fold, "-") for fold in SUPERB_FOLDS), _percent(results["wa"]["mean"])])
    for number, row in enumerate(rows, start=1):
        folds = [_percent(value) for value in row.folds] or ["-"] * len(SUPERB_FOLDS)
        cells.append([f"{row.upstream} [{number}]", *folds, _percent(row.accuracy)])
    lines = [_tabulate(["SUPERB, WA %", *(f"fold {fold}" for fold in SUPERB_FOLDS), "mean"], cells)]
    for number, row in enumerate(rows, start=1):
        lines.append(_wrap(f"[{number}] {row.source}{f' ({row.note})' if row.note else ''}"))
    for reason in dict.fromkeys(reasons):
        lines.append(
            _wrap(f"not comparable: {reason}" if reason else "comparable (WA): same corpus, labels and protocol")
        )
    lines.append(_wrap(SUPERB_HEAD))
    return "\n".join(lines)


def _other(results: Mapping[str, Any], row: PublishedResult) -> str:
    spread = "" if row.std is None else f" ({_percent(row.std)})"
    name = f"{row.upstream} + {row.downstream}" if row.downstream else row.upstream
    reason = not_comparable(results, row)
    verdict = f"not comparable: {reason}" if reason else f"comparable ({row.metric}): same corpus, labels and protocol"
    note = f" ({row.note})" if row.note else ""
    return _wrap(f"published: {name}: {row.metric} {_percent(row.accuracy)}{spread} %, {row.source}{note}; {verdict}")


def _tabulate(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    align = ["left", *["right"] * (len(headers) - 1)]
    table = tabulate(rows, headers=headers, tablefmt="simple", colalign=align, disable_numparse=True)
    return "\n".join(line.rstrip() for line in table.splitlines())


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.2f}"


def _interval(bounds: Sequence[float] | None) -> str:
    return "-" if bounds is None else f"{_percent(bounds[0])} to {_percent(bounds[1])}"


def _or_dash(value: Any) -> str:
    return "-" if value is None else str(value)


def _wrap(text: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
