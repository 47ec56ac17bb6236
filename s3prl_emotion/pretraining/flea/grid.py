"""Layers x numbers of clusters: one extraction and one fine-tuning, many clusterings and continued pretrainings."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s3prl_emotion.errors import ConfigError, suggest
from s3prl_emotion.experiment.jobs import work_through
from s3prl_emotion.files import write_atomically
from s3prl_emotion.locks import only_here
from s3prl_emotion.pretraining.flea import evaluate, recipe, stages
from s3prl_emotion.pretraining.flea.plan import FleaPlan, check_layers
from s3prl_emotion.pretraining.flea.stages import Cell
from s3prl_emotion.pretraining.trainer_state import processes
from s3prl_emotion.reporting.layout import Rows, interval, percent, tabulated, wrap
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.results import read_results

CSV_FILE = "grid.csv"
KEYS = ("layers", "clusters")
COLUMNS = (
    *("layer", "clusters", "ua", "ua_ci95_low", "ua_ci95_high", "wa", "folds", "dev", "dev_metric"),
    *("inertia", "silhouette"),
    *("ami_emotion", "ami_speaker", "ami_sentence", "masked_accuracy", "unigram", "chance"),
)


def parse(texts: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """``layers=1-3,6 clusters=50,100`` as layers and numbers of clusters.

    Raises:
        ConfigError: naming what is wrong
    """
    found: dict[str, tuple[int, ...]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        if not equals or key not in KEYS:
            raise ConfigError(f"--grid {text!r}: expected layers=1-12 or clusters=50,100. {suggest(key, KEYS)}")
        if key in found:
            raise ConfigError(f"--grid {text!r}: {key} is given twice")
        numbers: list[int] = []
        for part in values.split(","):
            match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
            span = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
            if not span or span[0] < 1:
                raise ConfigError(f"--grid {text!r}: {part!r} is neither a number nor a span such as 1-12")
            numbers += span
        if len(set(numbers)) != len(numbers):
            raise ConfigError(f"--grid {text!r}: a number is named twice")
        found[key] = tuple(numbers)
    for key in KEYS:
        if key not in found:
            raise ConfigError(f"--grid: {key}=... is missing")
    if min(found["clusters"]) < 2:
        raise ConfigError(f"--grid: clusters={min(found['clusters'])}, expected at least 2: one is nothing to predict")
    return found["layers"], found["clusters"]


def run(plan: FleaPlan, layers: tuple[int, ...], clusters: tuple[int, ...]) -> str:
    """Run every cell that no other process has taken, wait for those that are taken, and lay out all.

    Returns:
        the table; ``grid.csv`` in the run's folder holds the same
    """
    if processes() > 1:
        raise ConfigError("--grid: start independent processes, each with the same command: they share the cells")
    check_layers(plan.base, layers, "--grid layers=")
    stages.check(plan)
    for fold in plan.numbers:
        with only_here(plan.folder / f"fold{fold}", wait=True):  # what all cells share is made by one process
            recipe.run_stage(plan, "tapt", fold, Cell(layers[0], clusters[0]))
            recipe.run_stage(plan, "finetune", fold, Cell(layers[0], clusters[0]))
    cells = [Cell(layer, count, f"grid/layer{layer}-clusters{count}") for layer in layers for count in clusters]
    work_through(cells, lambda cell: _take(plan, cell, layers), lambda cell: cell.below)
    rows = [row for cell in cells if (row := figures(plan, cell)) is not None]
    _write_csv(plan.folder / CSV_FILE, rows)
    return _table(plan, rows)


def _take(plan: FleaPlan, cell: Cell, layers: tuple[int, ...]) -> bool:
    """Run a cell to its end, unless another process is at it."""
    folder = plan.folder / cell.below
    folder.mkdir(parents=True, exist_ok=True)
    with only_here(folder, skip=True) as taken:
        if not taken:
            return False
        for fold in plan.numbers:
            for name in ("cluster", "cpt", "export"):
                recipe.run_stage(plan, name, fold, cell, layers)
        settings = plan.settings
        stages.fine_tune(
            plan,
            stages.upstream_of(plan, "cpt", cell.below),
            settings.finetune.downstream,
            settings.evaluate.config,
            folder / "run",
            plan.numbers,
        )
    return True


def figures(plan: FleaPlan, cell: Cell) -> dict[str, Any] | None:
    """A finished cell's row: figures of its run, and means over folds of its stages'; None if it is not finished."""
    path = RunFolder(plan.folder / cell.below / "run").results
    if not path.is_file():
        return None
    results = read_results(path)
    tested = [fold.fold for fold in results.folds]
    if not set(plan.numbers) <= set(tested):
        return None
    clusterings, trainings = [], []
    for fold in tested:
        clusterings.append((stages.cluster_stage(plan, fold, cell).finished() or {})["metrics"])
        trainings.append((stages.cpt_stage(plan, fold, cell).finished() or {})["metrics"])
    low, high = results.rates["ua"].ci95 or (None, None)
    return {
        "layer": cell.layer,
        "clusters": cell.clusters,
        "ua": results.rates["ua"].mean,
        "ua_ci95_low": low,
        "ua_ci95_high": high,
        "wa": results.rates["wa"].mean,
        "folds": " ".join(map(str, tested)),
        "dev": _mean(list(evaluate.dev_scores(RunFolder(plan.folder / cell.below / "run"), tested).values())),
        "dev_metric": evaluate.selection(plan),
        "inertia": _mean([item["inertia"] for item in clusterings]),
        "silhouette": _mean([item["silhouette"] for item in clusterings]),
        **{
            f"ami_{name}": _mean([item["ami"][name] for item in clusterings])
            for name in ("emotion", "speaker", "sentence")
        },
        "masked_accuracy": _mean([item["dev"]["masked_accuracy"] for item in trainings]),
        "unigram": _mean([item["unigram"] for item in trainings]),
        "chance": _mean([item["chance"] for item in trainings]),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) and known else None


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    buffer = io.StringIO()
    writer = Rows(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: "" if value is None else value for key, value in row.items()} for row in rows)
    write_atomically(path, buffer.getvalue())


def _chosen(rows: Sequence[dict[str, Any]], dev: str) -> str:
    """The cell that dev chooses, the one whose test figure is fair to name."""
    best = max(rows, key=lambda row: row["dev"])  # the first of equal ones
    ties = sum(row["dev"] == best["dev"] for row in rows)
    tied = f", the first of {ties} cells with that score" if ties > 1 else ""
    low, high = best["ua_ci95_low"], best["ua_ci95_high"]
    return wrap(
        f"best {dev} ({percent(best['dev'])}{tied}): layer {best['layer']}, K = {best['clusters']}, UA "
        f"{percent(best['ua'])} "
        f"({interval(None if low is None else (low, high))}). The cell with the best UA would be chosen on the test "
        "sets: its figure flatters"
    )


def _table(plan: FleaPlan, rows: Sequence[dict[str, Any]]) -> str:
    def rounded(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    cells = [
        [
            f"layer {row['layer']}, K = {row['clusters']}",
            percent(row["ua"]),
            interval(None if row["ua_ci95_low"] is None else (row["ua_ci95_low"], row["ua_ci95_high"])),
            percent(row["wa"]),
            percent(row["dev"]),
            f"{row['inertia']:.4g}",
            *(rounded(row[key]) for key in ("silhouette", "ami_emotion", "ami_speaker", "ami_sentence")),
            *(percent(row[key]) for key in ("masked_accuracy", "unigram")),
        ]
        for row in rows
    ]
    dev = f"dev {evaluate.selection(plan).upper()} %"
    head = ["cell", "UA %", "95 % interval", "WA %", dev, "inertia", "silhouette", "AMI emotion", "speaker", "sentence"]
    lines = [
        f"FLEA on {plan.manifest.corpus}, protocol {plan.folds.protocol}, {plan.settings.finetune.downstream}",
        "",
        tabulated([*head, "masked %", "unigram %"], cells),
        "",
        *([_chosen(rows, dev)] if rows else []),
    ]
    return "\n".join([*lines, "", str(plan.folder / CSV_FILE)])
