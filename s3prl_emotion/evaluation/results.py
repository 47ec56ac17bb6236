"""``results.json``: every number of a run, recomputed from its predictions.

The record follows schema 1: rates are fractions in [0, 1]; ``confusion`` has the truth in rows and is summed over
folds. Later versions added keys; a file without them stays readable.

- ``ua``, ``wa``, ``macro_f1`` and ``ua_plus_wa``, which is in [0, 2]: ``mean`` over folds; ``std``, the sample standard
  deviation over folds, null with one fold; ``ci95``, the 95 % interval of the mean by drawn speakers, null with one
  speaker, as ``ci95_method`` says; ``ci95_folds``, Student's t over folds, null with one fold
  (:mod:`s3prl_emotion.evaluation.intervals`). Before there was ``ci95_folds``, ``ci95`` was Student's t.
- ``pooled``: each of these rates over the predictions of all folds together, as ``value`` and ``ci95``, its interval by
  drawn speakers. ``headline``: which of the two to quote, ``mean`` or ``pooled``, and the ``reason``: where test folds
  lack classes, a fold's UA is over fewer of them, and its mean says little. Absent before there were pooled rates.
- ``corpus_name``: the corpus' name for people, where many tables share a reader.
- ``recalls``: each class's recall over all folds together; null for a class that the truth lacks.
- ``ece``, ``brier``: over all utterances together; null unless every one has probabilities.
- ``kl_to_annotators``: over the utterances with annotators' rates and probabilities, in nats; null if there is none
  (:mod:`s3prl_emotion.evaluation.calibration`).
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation import calibration, intervals, metrics
from s3prl_emotion.evaluation._schema import RATES, SCHEMA, check_results
from s3prl_emotion.evaluation.predictions import Prediction, check_predictions
from s3prl_emotion.files import parse_json, write_atomically

SUMMARISED = (*RATES, "ua_plus_wa")
"""The rates that have a mean, a spread and intervals."""
UPPER = {"ua_plus_wa": 2.0}
"""The largest possible value of a rate, where it is not 1."""
CALIBRATION = ("ece", "brier", "kl_to_annotators")
_SHOWN = 5
PACKAGES = ("s3prl", "torch", "torchaudio", "transformers", "numpy")


def summarise(
    predictions: Sequence[Prediction],
    labels: Sequence[str],
    *,
    upstream: str,
    checkpoint_sha256: str | None,
    downstream: str,
    corpus: str,
    protocol: Mapping[str, Any],
    steps: Mapping[int, int | None],
    seed: int,
    versions: Mapping[str, str | None],
    settings: Mapping[str, Any] | None = None,
    folds_expected: Sequence[int] | None = None,
    corpus_name: str | None = None,
) -> dict[str, Any]:
    """Compute the record of a run.

    Args:
        predictions: every scored utterance of every finished fold
        labels: all classes, in the order of the confusion matrix
        upstream: the ``-u`` name
        checkpoint_sha256: of the upstream's checkpoint; None where it has none (``fbank``)
        downstream: the ``-d`` name
        corpus: the corpus' name
        protocol: ``name``, ``split_sha256``, ``dev``, ``selection``, ``transductive``; further keys are kept.
            ``labels`` is filled in
        steps: fold to the optimiser step of the checkpoint that was scored; None where unknown
        seed: the seed of the run
        versions: as :func:`versions` reports them
        settings: training settings worth printing; ``{"demo": True, ..., "file": {...}}`` marks scaled-down ones
        folds_expected: all folds of the protocol; by default those of ``steps``
        corpus_name: the corpus' name for people; None where it is ``corpus``

    Returns:
        a dict of schema 1 that JSON can hold

    Raises:
        RunError: if a prediction is invalid, if there is none, or if folds, steps and labels disagree
    """
    if not predictions:
        raise RunError("there are no predictions to summarise: run at least one fold first")
    check_predictions(predictions, labels)
    expected = sorted(int(fold) for fold in (steps if folds_expected is None else folds_expected))
    by_fold: dict[int, list[Prediction]] = {}
    for item in predictions:
        by_fold.setdefault(int(item.fold), []).append(item)
    for fold in sorted(by_fold):
        if fold not in expected:
            raise RunError(f"there are predictions for fold {fold}, which is not one of the expected folds {expected}")
        if fold not in steps:
            raise RunError(f"there are predictions for fold {fold}, but steps names only {sorted(steps)}")
    if "labels" in protocol and list(protocol["labels"]) != list(labels):
        raise RunError(f"the protocol's labels {list(protocol['labels'])} are not those given: {list(labels)}")
    counts = intervals.count([predictions], labels)
    rates = {name: intervals.fold_rates(counts, metrics.OF_CONFUSION[name])[0].tolist() for name in SUMMARISED}
    folds = []
    for position, (fold, items) in enumerate(sorted(by_fold.items())):
        step = steps[fold]
        of_fold = {name: rates[name][position] for name in RATES}
        folds.append({"fold": fold, "n": len(items), **of_fold, "step": None if step is None else int(step)})
    confusion = counts.matrices.sum(axis=(0, 1))
    recalls = metrics.recalls_of_confusion(confusion).tolist()
    results = {
        "schema": SCHEMA,
        "upstream": upstream,
        "checkpoint_sha256": checkpoint_sha256,
        "downstream": downstream,
        "corpus": corpus,
        "corpus_name": corpus_name or corpus,
        "protocol": {**protocol, "labels": list(labels)},
        "folds": folds,
        **_over_folds(rates, counts),
        "pooled": _pooled(counts),
        "headline": headline(by_fold, labels),
        "recalls": {label: None if value != value else value for label, value in zip(labels, recalls, strict=True)},
        **_calibration(predictions, labels),
        "confusion": confusion.astype(int).tolist(),
        "seed": seed,
        "versions": dict(versions),
        "ci95_method": intervals.speakers_method(counts),
        "ci95_folds_method": intervals.FOLDS_METHOD,
        "complete": sorted(by_fold) == expected,
        "folds_expected": expected,
        "chance": 1 / len(labels),
        "settings": None if settings is None else dict(settings),
    }
    check_results(results, "results")
    return results


def _over_folds(rates: Mapping[str, Sequence[float]], counts: intervals.Counts) -> dict[str, dict[str, Any]]:
    """Mean of each rate over folds, its sample standard deviation (ddof 1), and its two intervals."""
    by_speakers: dict[str, list[float]] = {}
    if counts.speakers > 1:
        functions = {name: metrics.OF_CONFUSION[name] for name in rates}
        drawn = intervals.replicates([counts], functions, np.random.default_rng(intervals.SEED))[0]
        by_speakers = {
            name: intervals.speakers_interval(
                float(np.mean(rates[name])), values, counts.speakers, UPPER.get(name, 1.0)
            )
            for name, values in drawn.items()
        }
    return {
        name: {
            "mean": float(np.mean(values)),
            "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
            "ci95": by_speakers.get(name),
            "ci95_folds": intervals.student_interval(values, upper=UPPER.get(name, 1.0)),
        }
        for name, values in rates.items()
    }


def _pooled(counts: intervals.Counts) -> dict[str, dict[str, Any]]:
    """Each rate over all predictions together, with its interval by drawn speakers."""
    together = intervals.pooled(counts)
    rates = {name: float(intervals.fold_rates(together, metrics.OF_CONFUSION[name])[0, 0]) for name in SUMMARISED}
    drawn = None
    if counts.speakers > 1:
        functions = {name: metrics.OF_CONFUSION[name] for name in rates}
        drawn = intervals.replicates([together], functions, np.random.default_rng(intervals.SEED))[0]
    return {
        name: {
            "value": value,
            "ci95": None
            if drawn is None
            else intervals.speakers_interval(value, drawn[name], counts.speakers, UPPER.get(name, 1.0)),
        }
        for name, value in rates.items()
    }


def headline(by_fold: Mapping[int, Sequence[Prediction]], labels: Sequence[str]) -> dict[str, str | None]:
    """Which of mean and pooled rate to quote: the pooled one where a test fold lacks a class.

    Returns:
        ``of``, which is ``mean`` or ``pooled``, and ``reason``, None for the mean
    """
    absent = {
        fold: [label for label in labels if label not in {item.truth for item in items}]
        for fold, items in sorted(by_fold.items())
    }
    lacking = [f"fold {fold} has no {', '.join(names)}" for fold, names in absent.items() if names]
    if not lacking:
        return {"of": "mean", "reason": None}
    more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
    return {
        "of": "pooled",
        "reason": f"{len(lacking)} of {len(absent)} test folds lack classes ({'; '.join(lacking[:_SHOWN])}{more}): the "
        "UA of such a fold is over fewer classes, which is easier, and the mean over folds hides it",
    }


def _calibration(predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, float | None]:
    """``ece``, ``brier`` and ``kl_to_annotators``, None where they cannot be known."""
    found: dict[str, float | None] = dict.fromkeys(CALIBRATION)
    known = [item.probabilities for item in predictions if item.probabilities is not None]
    if len(known) == len(predictions):
        found["ece"] = calibration.ece(known, [item.truth == item.predicted for item in predictions])
        found["brier"] = calibration.brier(known, [labels.index(item.truth) for item in predictions])
    both = [item for item in predictions if item.probabilities is not None and item.soft is not None]
    if both:
        found["kl_to_annotators"] = calibration.kl_to_annotators(
            [item.soft or () for item in both], [item.probabilities or () for item in both]
        )
    return found


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that a number can depend on; None where a package is absent."""
    from s3prl_emotion import __version__

    found: dict[str, str | None] = {"python": platform.python_version(), "s3prl_emotion": __version__}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def write_results(path: str | Path, results: Mapping[str, Any]) -> None:
    """Write ``results.json``, replacing it in one step.

    Raises:
        RunError: if the record does not follow the schema or holds what JSON cannot; nothing is written then
    """
    check_results(results, f"{path}: refusing to write")
    try:
        text = json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RunError(f"{path}: refusing to write: {error}") from error
    write_atomically(Path(path), text + "\n")


def read_results(path: str | Path) -> dict[str, Any]:
    """Read ``results.json``.

    Raises:
        RunError: if the file is missing, is not JSON or does not follow the schema
    """
    path = Path(path)
    if not path.is_file():
        raise RunError(
            f"{path}: no such file. Run the experiment first: it writes the results of the folds it finished."
        )
    try:
        results = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path}: not JSON in UTF-8: {error}. {_REMEDY}") from error
    check_results(results, str(path))
    return dict(results)


_REMEDY = "Restore the file, or run the same command again, which writes it from the finished folds"
