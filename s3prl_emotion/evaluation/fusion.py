"""Late fusion: the mean of several runs' log-probabilities, utterance by utterance, as a run like any other.

p ∝ exp(1/M Σ_m log p_m), the normalised geometric mean of M systems, all with the same weight. Nothing is trained, so
nothing can be fitted to a test set. Probabilities below :data:`FLOOR` count as that (ours): a classifier that counts
neighbours gives zeros, and a zero would decide against all others.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation.comparability import not_comparable_runs
from s3prl_emotion.evaluation.runs import Run, find_runs, read_run
from s3prl_emotion.evaluation.seed_groups import SeedGroup, check_same_utterances, group
from s3prl_emotion.evaluation.summary import summarise_again
from s3prl_emotion.files import write_atomically
from s3prl_emotion.runs.composite import FUSION
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.prediction import Prediction
from s3prl_emotion.runs.results import Results, RunSettings

FLOOR = 1e-6


def fuse(runs: Sequence[Run]) -> Run:
    """Fuse runs over the same utterances.

    Args:
        runs: two or more, each of another system

    Returns:
        a run without a folder of its own: ``folder`` is that of the first, ``members`` are the runs

    Raises:
        RunError: if they cannot be compared, are the same run, or one has no probabilities
    """
    if len(runs) < 2:
        raise RunError(f"late fusion needs at least two runs, got {len(runs)}")
    first = runs[0]
    for place, other in enumerate(runs):
        if other.folder.resolve() in [run.folder.resolve() for run in runs[:place]]:
            raise RunError(f"late fusion: {other.folder} is named twice")
        reason = not_comparable_runs(other.results, first.results)
        if reason is not None:
            raise RunError(f"late fusion: {other.folder} is not comparable with {first.folder}: {reason}")
        check_same_utterances(first, other)
        missing = next((item for item in other.predictions if item.probabilities is None), None)
        if missing is not None:
            raise RunError(
                f"late fusion: {other.folder} has no probabilities, first of {missing.utterance!r} in fold "
                f"{missing.fold}. Fuse runs whose predictions.csv has them"
            )
    predictions = _fused([run.predictions for run in runs], first.results.labels)
    return Run(
        first.folder,
        _results(runs, predictions),
        predictions,
        first.train_sizes,
        any(run.stale for run in runs),
        tuple(runs),
    )


def fuse_systems(paths: Sequence[Path]) -> list[Run]:
    """Fuse what folders hold, seed by seed.

    Args:
        paths: of each member a run folder, or a folder that holds the runs of one system, which differ in the seed

    Returns:
        a run for each seed that all members have; one of their single runs, where these differ in the seed

    Raises:
        RunError: if a folder holds several systems, or the members have no seed in common
    """
    members: list[SeedGroup] = []
    for path in paths:
        folders, _ = find_runs([path])
        systems = group([read_run(folder) for folder in folders])
        if len(systems) != 1:
            raise RunError(
                f"--fuse {path}: holds {len(systems)} systems. Name the folder of one run, or of one system's seeds"
            )
        members += systems
    by_seed = [{run.results.seed: run for run in system.runs} for system in members]
    common = [seed for seed in by_seed[0] if all(seed in found for found in by_seed)] if by_seed else []
    if not common and all(len(found) == 1 for found in by_seed):
        return [fuse([run for found in by_seed for run in found.values()])]
    if not common:
        told = "; ".join(f"{path}: {', '.join(map(str, found))}" for path, found in zip(paths, by_seed, strict=True))
        raise RunError(f"--fuse: the runs have no seed in common ({told})")
    return [fuse([found[seed] for found in by_seed]) for seed in common]


def write_fusion(run: Run, root: Path) -> Path:
    """Write a fused run as a folder that ``compare`` and ``evaluate`` read: predictions, numbers, folds.

    Args:
        run: what :func:`fuse` returned
        root: ``<root>/<upstreams>/<downstreams>/<corpus>-<protocol>`` is written, its seed at the end

    Raises:
        RunError: if something else is there
    """
    results = run.results
    place = f"{results.corpus_name or results.corpus}-{results.protocol.name}-seed{results.seed}"
    folder = RunFolder(root / results.upstream.replace("/", "__") / results.downstream.replace("/", "__") / place)
    if folder.is_begun or (folder.results.is_file() and FUSION not in json.loads(folder.results.read_text("utf-8"))):
        raise RunError(f"{folder.path}: a run is there already, which is no fusion. Name another folder")
    folder.path.mkdir(parents=True, exist_ok=True)
    folds = RunFolder(run.members[0].folder).folds
    if folds.is_file():
        write_atomically(folder.folds, folds.read_text(encoding="utf-8"))
    folder.write_scores(results, run.predictions)
    return folder.path


def _fused(members: Sequence[Sequence[Prediction]], labels: Sequence[str]) -> tuple[Prediction, ...]:
    """The members' predictions, sorted alike, as one; of equal probabilities the first class counts."""
    given = np.array([[item.probabilities for item in rows] for rows in members], dtype=float)  # (M, utterances, K)
    logs = np.log(np.maximum(given, FLOOR)).mean(axis=0)
    scores = np.exp(logs - logs.max(axis=1, keepdims=True))
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    return tuple(
        dataclasses.replace(item, predicted=labels[int(row.argmax())], probabilities=tuple(map(float, row)))
        for item, row in zip(members[0], probabilities, strict=True)
    )


def _results(runs: Sequence[Run], predictions: Sequence[Prediction]) -> Results:
    first = runs[0].results
    upstreams, downstreams = ([getattr(run.results, key) for run in runs] for key in ("upstream", "downstream"))
    common = [text for text in first.deviations if all(text in run.results.deviations for run in runs)]
    own = [f"{_name(run.results)}: {text}" for run in runs for text in run.results.deviations if text not in common]
    settings = RunSettings(demo=first.is_demo, deviations=tuple(dict.fromkeys([*common, *own])))
    named = dataclasses.replace(
        first,
        upstream="+".join(dict.fromkeys(upstreams)),
        downstream=f"fusion({'+'.join(dict.fromkeys(downstreams))})",
        checkpoint_sha256=None,
    )
    steps = dict.fromkeys(first.numbers)
    results = summarise_again(named, predictions, first.labels, steps, settings)
    return dataclasses.replace(results, further={FUSION: [_member(run) for run in runs]})


def _member(run: Run) -> dict[str, Any]:
    results = run.results
    return {
        "upstream": results.upstream,
        "checkpoint_sha256": results.checkpoint_sha256,
        "downstream": results.downstream,
        "seed": results.seed,
        "folder": str(run.folder),
    }


def _name(results: Results) -> str:
    return f"{results.upstream} {results.downstream}"
