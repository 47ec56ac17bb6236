"""Several runs side by side: which belong together, what may be compared, and how far they are apart.

The comparison is one mapping that JSON can hold; :mod:`s3prl_emotion.reporting.comparison` and
:mod:`s3prl_emotion.reporting.comparison` only lay it out. All rates are fractions in [0, 1].
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation import metrics
from s3prl_emotion.evaluation.comparability import (
    corpus_title,
    lacking,
    missing_folds,
    not_comparable,
    not_comparable_runs,
    protocol_marks,
    start_remarks,
)
from s3prl_emotion.evaluation.fusion import fuse_systems
from s3prl_emotion.evaluation.paired_tests import holm
from s3prl_emotion.evaluation.runs import find_runs, read_run
from s3prl_emotion.evaluation.seed_groups import (
    DIFFERENCE_METHODS,
    MCNEMAR_METHOD,
    METHODS,
    SeedGroup,
    difference,
    figures,
    group,
)
from s3prl_emotion.mapping import to_mapping
from s3prl_emotion.published import PublishedResult, published_rows
from s3prl_emotion.runs.composite import FUSION
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.results import Results

SCHEMA = 1
_PROTOCOL_KEYS = ("name", "sha256", "split_sha256", "dev", "selection", "labels", "transductive", "order")


def compare(
    paths: Sequence[str | Path],
    baseline: str | Path | None = None,
    metric: str = "ua",
    fusions: Sequence[Sequence[str | Path]] = (),
) -> dict[str, Any]:
    """Compare runs.

    Runs that differ in the seed only are one system. Systems are in one block if
    :func:`~s3prl_emotion.evaluation.comparability.not_comparable_runs` finds nothing between them. Each block has a
    baseline, from which the differences of its other systems are taken.

    Args:
        paths: run folders, or folders that hold several
        baseline: a run folder whose system is its block's baseline; elsewhere, and by default, the first system is
        metric: a rate with a column of its own (``ua``, ``wa``, ``macro_f1``): what the texts show with interval
            and spread
        fusions: of each late fusion its members, run folders or folders of one system's seeds; they are compared too

    Returns:
        ``schema``, ``metric``, ``comparisons`` (how many differences there are; p are adjusted for that many by Holm's
        method), ``methods``, ``blocks`` and ``unfinished``, the folders of runs that were begun and have no result. A
        block has ``number``, ``corpus``, ``protocol``, ``folds``, ``headline`` (``of`` mean or pooled rates, and the
        ``reason``), ``lacking`` (classes of train and dev sets), ``marks``, ``apart`` (the reasons against each earlier
        block), ``systems``, ``published``, ``baseline`` and ``differences``. A system with a ``copy_of`` holds nothing
        but runs of an earlier one under other names; no difference is taken from it

    Raises:
        RunError: if a folder or file is missing or malformed, or runs of one division are not over the same utterances
    """
    if metric not in metrics.columns():
        raise RunError(f"metric {metric!r}: expected one of {', '.join(metrics.columns())}")
    wanted = None
    if baseline is not None:
        if not RunFolder(Path(baseline)).results.is_file():
            raise RunError(f"{baseline}: the baseline must be the folder of one run, which holds results.json")
        wanted = Path(baseline).resolve()
    members = [path for fusion in fusions for path in fusion]
    folders, unfinished = find_runs([*([] if baseline is None else [baseline]), *paths, *members])
    fused = [run for fusion in fusions for run in fuse_systems([Path(path) for path in fusion])]
    blocks: list[list[SeedGroup]] = []
    for system in group([*(read_run(folder) for folder in folders), *fused]):
        for block in blocks:
            if not_comparable_runs(system.results, block[0].results) is None:
                block.append(system)
                break
        else:
            blocks.append([system])
    keys = _keys()
    content = [_block(blocks, position, keys, wanted) for position in range(len(blocks))]
    differences = [item for block in content for item in block["differences"]]
    for rate in metrics.rates():
        known = {item["key"]: item[rate]["p_bootstrap"] for item in differences}
        adjusted = holm({key: p for key, p in known.items() if p is not None})
        for item in differences:
            item[rate]["p_holm"] = adjusted.get(item["key"])
    return {
        "schema": SCHEMA,
        "metric": metric,
        "comparisons": len(differences),
        "methods": {
            **METHODS,
            **(DIFFERENCE_METHODS if differences else {}),
            **(MCNEMAR_METHOD if differences and metric == "wa" else {}),
        },
        "blocks": content,
        "unfinished": [str(folder) for folder in unfinished],
    }


class _keys:
    """A, B, ... Z, AA, AB, ..."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> str:
        name, rest = "", self.count
        self.count += 1
        while rest >= 0:
            name = string.ascii_uppercase[rest % 26] + name
            rest = rest // 26 - 1
        return name


def _block(blocks: Sequence[Sequence[SeedGroup]], position: int, keys: _keys, wanted: Path | None) -> dict[str, Any]:
    systems = blocks[position]
    results = systems[0].results
    protocol = to_mapping(results.protocol)
    named = {keys(): system for system in systems}
    baseline = next(iter(named))
    for key, system in named.items():
        if wanted in [run.folder.resolve() for run in system.runs if not run.members]:
            baseline = key
    copies = _copies(named)
    return {
        "number": position + 1,
        "corpus": corpus_title(results),
        "protocol": {key: protocol.get(key) for key in _PROTOCOL_KEYS},
        "folds": list(results.numbers),
        "headline": None if results.headline is None else to_mapping(results.headline),
        "lacking": lacking(results),
        "marks": protocol_marks(results),
        "apart": [
            {"block": number, "reason": not_comparable_runs(results, other[0].results)}
            for number, other in enumerate(blocks[:position], start=1)
        ],
        "systems": [
            _system(key, system, _unlike_namesakes(system, systems), copies.get(key)) for key, system in named.items()
        ],
        "published": _published(named),
        "baseline": baseline,
        "differences": [
            {"key": key, "baseline": baseline, **difference(system, named[baseline])}
            for key, system in named.items()
            if key != baseline and key not in copies
        ],
    }


_SAID = ("settings.", "config.downstream_expert.modelrc.pretrained.")
"""Settings that deviations tell in words."""


def _unlike_namesakes(system: SeedGroup, systems: Sequence[SeedGroup]) -> list[str]:
    """Settings in which systems of the same upstream and downstream differ, with this system's values."""
    mine = system.runs[0].about()
    others = [
        about
        for other in systems
        if other is not system and _name(other.results) == _name(system.results) and (about := other.runs[0].about())
    ]
    if not mine:  # put together by a sweep: it has no settings of its own
        return []
    keys = sorted({key for other in others for key in {*mine, *other} if mine.get(key) != other.get(key)})
    keys = [key for key in keys if not (key == "text.sha256" and "text.source" in keys)]  # the file's name tells it
    return [f"{key} {mine[key]}" for key in keys if mine.get(key) is not None and not key.startswith(_SAID)]


def _copies(named: Mapping[str, SeedGroup]) -> dict[str, str]:
    """Systems all of whose runs have the predictions of an earlier one's, to the last digit: the same runs again."""
    found: dict[str, str] = {}
    for key, system in named.items():
        for other in list(named)[: list(named).index(key)]:
            known = [run.predictions for run in named[other].runs]
            if all(run.predictions in known for run in system.runs):
                found[key] = found.get(other, other)
                break
    return found


def _system(key: str, system: SeedGroup, unlike: Sequence[str], copy_of: str | None) -> dict[str, Any]:
    results = system.results
    remarks = [] if copy_of is None else [f"a copy: the same predictions as {copy_of}, not compared"]
    if (members := results.further.get(FUSION)) is not None:
        told = " and ".join(f"{item['upstream']} {item['downstream']}" for item in members)
        remarks.append(f"late fusion, mean of the log-probabilities of {told}")
    remarks += [*start_remarks(results), *unlike, *results.deviations]
    rate = None if results.settings is None else results.settings.further.get("lr")
    if isinstance(rate, str):  # the words of a sweep
        remarks.append(f"lr {rate}")
    if results.is_demo:
        remarks.insert(0, "demo settings")
    if missing_folds(results):
        remarks.append(f"incomplete: {len(results.folds)} of {len(results.folds_expected)} folds")
    for run in system.runs:
        if run.stale:
            remarks.append(f"{run.folder}: results.json did not match predictions.csv, which counts")
    return {
        "key": key,
        "name": _name(results),
        "upstream": results.upstream,
        "checkpoint_sha256": results.checkpoint_sha256,
        "downstream": results.downstream,
        "corpus": corpus_title(results),
        "seeds": system.seeds,
        "source": [source for run in system.runs for source in run.sources],
        "copy_of": copy_of,
        "marks": protocol_marks(results),
        "remarks": remarks,
        "figures": figures(system),
    }


def _name(results: Results) -> str:
    return f"{results.upstream} {results.downstream}"


def _published(named: Mapping[str, SeedGroup]) -> list[dict[str, Any]]:
    """Every published row of the systems' upstreams, which systems it is comparable with, and why not with others."""
    systems_of: dict[PublishedResult, list[str]] = {}
    for key, system in named.items():
        upstream = system.results.upstream
        for row in published_rows(upstream, system.results.corpus):
            systems_of.setdefault(row, []).append(key)
    found = []
    for row, keys in systems_of.items():
        reasons = {key: not_comparable(named[key].results, row) for key in keys}
        found.append(
            {
                **asdict(row),
                "folds": list(row.folds),
                "comparable_with": [key for key, reason in reasons.items() if reason is None],
                "reasons": {key: reason for key, reason in reasons.items() if reason is not None},
            }
        )
    return found
