"""Evaluation of FLEA: base, after TAPT and after CPT, fine-tuned with each pooling and compared."""

from __future__ import annotations

import dataclasses
import json
import logging
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s3prl_emotion.evaluation import metrics
from s3prl_emotion.evaluation.comparability import not_comparable
from s3prl_emotion.evaluation.comparison import compare
from s3prl_emotion.evaluation.paired_tests import holm
from s3prl_emotion.files import write_atomically
from s3prl_emotion.pretraining.flea import stages
from s3prl_emotion.pretraining.flea.plan import FleaPlan
from s3prl_emotion.protocols import protocols
from s3prl_emotion.published import paper_rows
from s3prl_emotion.reporting.layout import interval, p_value, percent, tabulated, wrap
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.record import read_json
from s3prl_emotion.runs.results import Results, read_results

logger = logging.getLogger(__name__)

UPSTREAMS = ("base", "tapt", "cpt")
NAMES = {"base": "base", "tapt": "after TAPT", "cpt": "after CPT"}
RESULT_FILE = "result.json"
TABLE_FILE = "table.txt"
_METHODS = (
    "95 % interval",
    "minus its base",
    "difference",
    "p Holm",
    "p McNemar",
    "p corrected t",
)  # that the table shows
_FIGURES = {"ua": "ua", "accuracy": "wa", "macro_f1": "macro_f1"}


def systems(plan: FleaPlan) -> dict[str, Path]:
    """Run folders by system, ``base-emotion_attn_pool`` first of each upstream in order."""
    return {
        f"{upstream}-{downstream}": stages.run_folder(plan, upstream, downstream)
        for upstream in UPSTREAMS
        for downstream in plan.settings.evaluate.downstreams
    }


def config_of(plan: FleaPlan, upstream: str, downstream: str) -> dict[str, Any]:
    """Changes of a downstream's configuration; stage 2 is the system of stage 1 with its downstream."""
    settings = plan.settings
    shared = upstream == "tapt" and downstream == settings.finetune.downstream
    return settings.finetune.config if shared else settings.evaluate.config


def run(plan: FleaPlan) -> dict[str, Any]:
    """Fine-tune and test what is not done yet, then compare.

    Returns:
        the content of ``result.json``; ``table.txt`` beside it is what is printed
    """
    for upstream in UPSTREAMS:
        for downstream in plan.settings.evaluate.downstreams:
            folder = stages.run_folder(plan, upstream, downstream)
            logger.info("%s with %s: %s", NAMES[upstream], downstream, folder)
            stages.fine_tune(
                plan,
                stages.upstream_of(plan, upstream),
                downstream,
                config_of(plan, upstream, downstream),
                folder,
                plan.numbers,
            )
    return compared(plan)


def compared(plan: FleaPlan) -> dict[str, Any]:
    """Compare what is finished and write ``result.json`` and ``table.txt``."""
    folders = systems(plan)
    comparisons = {
        head: compare([folders[f"{upstream}-{head}"] for upstream in UPSTREAMS], folders[f"base-{head}"])
        for head in plan.settings.evaluate.downstreams
    }
    _adjust(comparisons)
    names = {str(folder.resolve()): name for name, folder in folders.items()}
    results = {name: read_results(RunFolder(folder).results) for name, folder in folders.items()}
    content = {
        "schema": 2,
        "recipe": "flea",
        "base": plan.base_name,
        "corpus": plan.manifest.corpus,
        "protocol": plan.folds.protocol,
        "inductive": plan.inductive,
        "demo": plan.wanted.demo,
        "stages": stage_figures(plan),
        "comparisons": comparisons,
        "published": published(results),
        "released_score": {name: released_score(plan, folder) for name, folder in folders.items()},
    }
    write_atomically(plan.folder / RESULT_FILE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    write_atomically(plan.folder / TABLE_FILE, table(content, names) + "\n")
    return content


def _adjust(comparisons: Mapping[str, Mapping[str, Any]]) -> None:
    """Holm's adjustment over the differences of all heads, which are one table."""
    differences = {
        (head, item["key"]): item
        for head, comparison in comparisons.items()
        for block in comparison["blocks"]
        for item in block["differences"]
    }
    for rate in metrics.rates():
        known = {key: item[rate]["p_bootstrap"] for key, item in differences.items()}
        adjusted = holm({"/".join(key): p for key, p in known.items() if p is not None})
        for key, item in differences.items():
            item[rate]["p_holm"] = adjusted.get("/".join(key))


def selection(plan: FleaPlan) -> str:
    """The metric that chose the checkpoint on dev, by its name in results."""
    return _FIGURES[protocols.get(plan.folds.protocol).selection]


def dev_scores(run: RunFolder, folds: Sequence[int]) -> dict[int, float]:
    """Dev score of each fold's checkpoint."""
    return {number: read_json(run.fold(number).record, "a finished fold")["dev_score"] for number in folds}


def released_score(plan: FleaPlan, folder: Path) -> dict[str, Any]:
    """What the paper's released script prints: (best dev + test there) / 2, averaged over folds.

    It is no result: half of it is the figure that chose the checkpoint.
    """
    metric = selection(plan)
    test = {fold.fold: fold.rates[metric] for fold in read_results(RunFolder(folder).results).folds}
    dev = dev_scores(RunFolder(folder), list(test))
    scores = {number: (dev[number] + value) / 2 for number, value in test.items()}
    return {
        "metric": metric,
        "definition": "(best dev + test at that step) / 2, mean over folds",
        "mean": statistics.fmean(scores.values()),
        "folds": scores,
    }


def stage_figures(plan: FleaPlan) -> dict[str, dict[str, Any]]:
    """Metrics of finished stages, by their place in the run's folder."""
    found = {}
    for path in sorted([*plan.folder.glob("*/stage.json"), *plan.folder.glob("fold*/*/stage.json")]):
        found[path.parent.relative_to(plan.folder).as_posix()] = read_json(path, "a stage")["metrics"]
    return found


def published(results: Mapping[str, Results]) -> list[dict[str, Any]]:
    """The paper's rows, and for the system that they describe the reason why they are not comparable, if so."""
    name = next(item for item in reversed(list(results)) if item.startswith("cpt-"))
    return [
        {
            "metric": row.metric,
            "value": row.accuracy,
            "source": row.source,
            "note": row.note,
            "system": name,
            "not_comparable": not_comparable(_as_the_paper(results[name]), row),
        }
        for row in paper_rows(None, "cpt_hubert")
    ]


def _as_the_paper(results: Results) -> Results:
    """A record without the deviations from SUPERB's way that the paper shares: -f, the last layer, the first 6 s."""
    settings = results.settings
    if settings is None:
        return results
    shared = ("upstream fine-tuned (-f)", "features -s last_hidden_state", "audio cut to 6.0 s")
    left = tuple(item for item in settings.deviations if item not in shared)
    return dataclasses.replace(results, settings=dataclasses.replace(settings, deviations=left))


def table(content: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The last table: UA and WA with intervals, differences from the base with paired tests, and the paper's row."""
    lines = [
        f"FLEA on {content['corpus']}, protocol {content['protocol']}, "
        f"{'inductive: no stage heard test audio' if content['inductive'] else 'transductive: test audio was heard'}"
        f"{'; demo settings: the figures say nothing' if content['demo'] else ''}"
    ]
    blocks = [block for comparison in content["comparisons"].values() for block in comparison["blocks"]]
    for rate in ("ua", "wa"):
        rows = []
        for block in blocks:
            differences = {item["key"]: item for item in block["differences"]}
            for system in block["systems"]:
                name = names[str(Path(system["source"][0]).resolve())]
                upstream, _, downstream = name.partition("-")
                figures, item = system["figures"][rate], differences.get(system["key"])
                cells = [f"{downstream.removeprefix('emotion_')}, {NAMES[upstream]}"]
                cells += [percent(figures["mean"]), interval(figures["ci95"])]
                if item is not None:
                    found = item[rate]
                    cells += [f"{100 * found['difference']:+.2f}", interval(found["ci95"]), p_value(found["p_holm"])]
                    cells.append(p_value(item["mcnemar"]["median"] if rate == "wa" else found["p_corrected_t"]))
                rows.append([*cells, *[""] * (7 - len(cells))])
        head = ["system", f"{rate.upper()} %", "95 % interval", "minus its base", "95 % interval"]
        lines += ["", tabulated([*head, "p Holm", "p McNemar" if rate == "wa" else "p corrected t"], rows)]
    told = {
        f"folds {', '.join(map(str, block['folds']))}; "
        f"{', '.join(block['marks'] or ['test audio unheard, speakers apart'])}": None
        for block in blocks
    }
    lines += ["", *map(wrap, told)]
    for head, comparison in content["comparisons"].items():
        for block in comparison["blocks"]:
            lines += [
                wrap(f"{head}: not comparable with block {item['block']}: {item['reason']}") for item in block["apart"]
            ]
    methods = {
        **next(iter(content["comparisons"].values()))["methods"],
        "minus its base": "the base under the same head, so that a difference is of the pretraining alone",
        "p Holm": "p bootstrap, adjusted for all differences of this table",
    }
    lines += ["", *(wrap(f"{name}: {text}") for name, text in methods.items() if name in _METHODS)]
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in content["published"]:
        said = (
            f"not comparable with {row['system']}: {row['not_comparable']}" if row["not_comparable"] else "comparable"
        )
        reasons.setdefault((row["source"], f"{row['note']}; {said}"), []).append(
            f"{row['metric']} {percent(row['value'])} %"
        )
    for (source, why), figures in reasons.items():
        lines.append(wrap(f"published: CPT-HuBERT {', '.join(figures)}, {source} ({why})"))
    lines += ["", *_stages(content["stages"])]
    return "\n".join(lines)


def _stages(stages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What trainings and clusterings came to, one line each."""
    rows = []
    for place, figures in stages.items():
        clustering = figures.get("clustering") or (figures if "inertia" in figures else None)
        dev = figures.get("dev", {})
        guesses = [figures.get("unigram"), figures.get("chance")]
        if clustering is None and not dev:
            continue
        ami = (clustering or {}).get("ami", {})
        cells = [
            place,
            *(percent(value) for value in (dev.get("masked_accuracy"), dev.get("unmasked_accuracy"), *guesses)),
        ]
        cells += [_rounded(ami.get(name)) for name in ("emotion", "speaker", "sentence")]
        rows.append([*cells, _rounded((clustering or {}).get("silhouette"))])
    if not rows:
        return []
    head = [
        "stage",
        "masked %",
        "unmasked %",
        "unigram %",
        "chance %",
        "AMI emotion",
        "speaker",
        "sentence",
        "silhouette",
    ]
    return [
        tabulated(head, rows),
        "",
        wrap(
            "masked %: dev frames under the mask whose cluster is predicted; unigram %: "
            "always the most frequent one. AMI: mutual information of clusters with what they may follow, adjusted for "
            "chance"
        ),
    ]


def _rounded(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def printed(folder: Path) -> str:
    """The table that :func:`compared` wrote."""
    return (folder / TABLE_FILE).read_text(encoding="utf-8").rstrip("\n")
