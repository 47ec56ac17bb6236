"""The plain-text table that a run prints at its end, and the confusion matrix. Everything fits in 100 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from s3prl_emotion.evaluation.comparability import (
    CHANCE_MARGIN,
    TRANSDUCTIVE,
    corpus_title,
    headline_ua,
    lacking,
    missing_folds,
    near_chance,
    not_comparable,
    protocol_marks,
    say_folds,
    start_remarks,
)
from s3prl_emotion.evaluation.metrics import columns, measures, rates
from s3prl_emotion.published import SUPERB_FOLDS, PublishedResult
from s3prl_emotion.reporting.layout import WIDTH, interval, or_dash, percent, tabulated, wrap
from s3prl_emotion.runs.results import Results, RunSettings

SUPERB_HEAD = (
    "The leaderboard's head is linear, time mean, linear, its learning rate tuned per upstream; its metric is plain "
    "accuracy (WA)."
)


def results_table(results: Results, published: Sequence[PublishedResult] = ()) -> str:
    """Lay out the record of a run, with published numbers of the same upstream beneath.

    Rates are printed in percent with two decimals. A published number is called comparable only if corpus, labels and
    protocol are those of the run, all folds are there and the settings are not scaled down.

    Args:
        results: the record of a run, as :func:`s3prl_emotion.evaluation.summarise` makes it
        published: what :func:`s3prl_emotion.evaluation.superb_rows` and ``paper_rows`` return for the upstream

    Returns:
        lines of at most 100 columns, without a newline at the end
    """
    blocks = [_title(results), _fold_table(results), *_remarks(results)]
    leaderboard = [row for row in published if row.protocol == "superb"]
    if leaderboard:
        blocks.append(_leaderboard(results, leaderboard))
    else:
        blocks.append(wrap(f"SUPERB leaderboard: no row is known for upstream {results.upstream}"))
    others = [row for row in published if row.protocol != "superb"]
    if others:
        blocks.append("\n".join(_other(results, row) for row in others))
    return "\n\n".join(blocks)


def confusion_table(results: Results) -> str:
    """Lay out the confusion matrix, summed over folds: truth in rows, prediction in columns, recall in percent.

    The column titles become numbers where the labels do not fit in 100 columns.
    """
    labels, matrix = results.labels, results.confusion
    recalls = [percent(row[i] / sum(row)) if sum(row) else "-" for i, row in enumerate(matrix)]

    def layout(rows: Sequence[str], columns: Sequence[str]) -> str:
        cells = [[name, *map(str, row), recall] for name, row, recall in zip(rows, matrix, recalls, strict=True)]
        return tabulated(["truth \\ predicted", *columns, "recall"], cells)

    table = layout(labels, labels)
    if max(map(len, table.splitlines())) > WIDTH:
        numbers = [str(number) for number in range(1, len(labels) + 1)]
        table = layout([f"{number} {label}" for number, label in zip(numbers, labels, strict=True)], numbers)
    return f"Confusion matrix, {sum(map(sum, matrix))} utterances of {len(results.folds)} folds\n{table}"


def _title(results: Results) -> str:
    parts = {
        "upstream": results.upstream,
        "downstream": results.downstream,
        "corpus": corpus_title(results),
        "protocol": results.protocol.name,
        "selection": results.protocol.selection,
        "dev": results.protocol.dev,
        "labels": ", ".join(results.labels),
        "seed": results.seed,
    }
    return wrap(" | ".join(f"{key} {value}" for key, value in parts.items()))


def _fold_table(results: Results) -> str:
    titles = {name: rate.title for name, rate in columns().items() if name in results.rates}
    found = [results.rates[name] for name in titles]
    rows = [
        [str(fold.fold), str(fold.n), *(percent(fold.rates.get(name)) for name in titles), or_dash(fold.step)]
        for fold in results.folds
    ]
    rows.append(["mean", "", *(percent(rate.mean) for rate in found), ""])
    rows.append(["std", "", *(percent(rate.std) for rate in found), ""])
    old = results.ci95_folds_method is None  # of before there were two intervals
    if not old:
        rows.append(["95 % speakers", "", *(interval(rate.ci95) for rate in found), ""])
    rows.append(["95 % folds", "", *(interval(rate.ci95 if old else rate.ci95_folds) for rate in found), ""])
    if results.pooled is not None:
        pooled = [results.pooled.get(name) for name in titles]
        rows.append(["pooled", "", *(percent(None if rate is None else rate.value) for rate in pooled), ""])
        rows.append(["95 % pooled", "", *(interval(None if rate is None else rate.ci95) for rate in pooled), ""])
    chance = [percent(results.chance if name == "ua" else None) for name in titles]
    rows.append(["chance", "", *chance, ""])
    table = tabulated(["fold", "n", *(f"{title} %" for title in titles.values()), "step"], rows)
    notes = [] if old else [f"95 % speakers: {results.ci95_method}."]
    if len(results.folds) < 2:
        notes.append("One fold: neither a standard deviation nor an interval over folds.")
    else:
        method = results.ci95_folds_method or results.ci95_method
        notes.append(f"std: sample standard deviation over folds. 95 % folds: {method}.")
    if results.pooled is not None:
        notes.append("pooled: the predictions of all folds in one confusion matrix; 95 % pooled: by the same speakers.")
    return "\n".join([table, *map(wrap, notes), *map(wrap, _further_metrics(results))])


def _further_metrics(results: Results) -> list[str]:
    """Rates without a column and what the probabilities are worth, in one line; nothing for a record without them."""
    parts = [
        f"{rate.title} {rate.shown(results.rates[name].mean)}"
        for name, rate in rates().items()
        if not rate.column and name in results.rates
    ]
    for name, measure in measures().items():
        if (value := results.measures.get(name)) is not None:
            parts.append(f"{measure.title} {measure.shown(value)}")
    return [", ".join(parts)] if parts else []


def _remarks(results: Results) -> list[str]:
    """Warnings and notes about the run itself."""
    lines = []
    missing = missing_folds(results)
    if missing:
        lines.append(
            f"warning: incomplete: {say_folds(missing)} missing, "
            f"{len(results.folds)} of {len(results.folds_expected)} folds scored"
        )
    figure, kind = headline_ua(results)
    if results.headline is not None and results.pooled is not None and kind == "pooled":
        bounds = interval(results.pooled["ua"].ci95)
        lines.append(
            f"headline: UA {percent(figure)} ({bounds}) over the pooled predictions, not the mean over folds "
            f"{percent(results.rates['ua'].mean)}: {results.headline.reason}"
        )
    lines += [f"division: {text}" for text in lacking(results)]
    if results.protocol.order:
        lines.append(f"dev drawn as S3PRL draws it; order of utterances: {results.protocol.order}")
    if near_chance(results):
        lines.append(
            f"warning: {kind} UA {percent(figure)} is not more than {100 * CHANCE_MARGIN:.0f} points "
            f"above chance ({percent(results.chance)}): little or nothing was learned"
        )
    if results.settings is not None and "classical" in results.settings.further:
        lines.append(f"classical model: {results.settings.further['classical']}")
    settings = _settings(results.settings)
    if settings:
        lines.append(settings)
    counted = {} if results.settings is None else results.settings.further.get("epochs_in_steps", {})
    if counted:
        told = ", ".join(f"{steps} in fold {fold}" for fold, steps in counted.items())
        lines.append(f"epochs counted in optimiser steps (the count is ours): {told}")
    if text := _text(results.settings):
        lines.append(text)
    if results.deviations:
        lines.append(f"unlike the configuration that ships: {'; '.join(results.deviations)}")
    lines += start_remarks(results)
    for mark in protocol_marks(results):
        said = ": audio of the test folds was used, unlabelled, in pretraining" if mark == TRANSDUCTIVE else ""
        lines.append(mark + said)
    return ["\n".join(map(wrap, lines))] if lines else []


def _settings(settings: RunSettings | None) -> str:
    """Name the settings that differ from the configuration file's; empty if none does and the run is no demo."""
    if settings is None:
        return ""
    file = settings.file or {}
    shown = []
    for key, value in settings.further.items():
        if key == "text":
            continue  # has a line of its own
        if key in file and file[key] == value:
            continue
        if key in file:
            named = str(value) if key == "total_steps" and isinstance(value, str) else f"{key} {value}"
            shown.append(f"{named} (file: {file[key]})")
        elif settings.demo and key not in ("epochs_in_steps", "pretrained"):  # named as a deviation
            shown.append(f"{key} {value}")
    if settings.demo:
        return f"demo settings: {', '.join(shown) or 'scaled down'}; not the configuration file's"
    return f"settings: {', '.join(shown)}; not the configuration file's" if shown else ""


def _text(settings: RunSettings | None) -> str:
    """What a head that reads texts was given; empty for all others."""
    text = None if settings is None else settings.further.get("text")
    if not isinstance(text, Mapping):
        return ""
    parts = [f"text: {text.get('source')}"]
    if text.get("model") is not None:
        wer = text.get("wer")
        parts.append(f"heard by {text['model']}" + ("" if wer is None else f", word error rate {percent(wer)} %"))
    parts.append(f"read by {text.get('encoder')}, {'trained' if text.get('trainable') else 'frozen'}")
    if text.get("empty"):
        parts.append(f"{text['empty']} empty")
    if text.get("cut"):
        parts.append(f"{text['cut']} cut to {text.get('max_tokens')} tokens")
    if text.get("chance"):
        parts.append(str(text.get("remark")))
    return "; ".join(parts)


def _leaderboard(results: Results, rows: Sequence[PublishedResult]) -> str:
    reasons = [not_comparable(results, row) for row in rows]
    cells = []
    if None in reasons:
        own = {fold.fold: percent(fold.rates["wa"]) for fold in results.folds}
        cells.append(["this run", *(own.get(fold, "-") for fold in SUPERB_FOLDS), percent(results.rates["wa"].mean)])
    for number, row in enumerate(rows, start=1):
        folds = [percent(value) for value in row.folds] or ["-"] * len(SUPERB_FOLDS)
        cells.append([f"{row.upstream} [{number}]", *folds, percent(row.accuracy)])
    lines = [tabulated(["SUPERB, WA %", *(f"fold {fold}" for fold in SUPERB_FOLDS), "mean"], cells)]
    for number, row in enumerate(rows, start=1):
        lines.append(wrap(f"[{number}] {row.source}{f' ({row.note})' if row.note else ''}"))
    for reason in dict.fromkeys(reasons):
        lines.append(
            wrap(f"not comparable: {reason}" if reason else "comparable (WA): same corpus, labels and protocol")
        )
    lines.append(wrap(SUPERB_HEAD))
    return "\n".join(lines)


def _other(results: Results, row: PublishedResult) -> str:
    spread = "" if row.std is None else f" ({percent(row.std)})"
    name = f"{row.upstream} + {row.downstream}" if row.downstream else row.upstream
    reason = not_comparable(results, row)
    verdict = f"not comparable: {reason}" if reason else f"comparable ({row.metric}): same corpus, labels and protocol"
    note = f" ({row.note})" if row.note else ""
    return wrap(f"published: {name}: {row.metric} {percent(row.accuracy)}{spread} %, {row.source}{note}; {verdict}")
