"""Every number of a run from its predictions: what ``results.json`` records, see :mod:`s3prl_emotion.runs.results`."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from s3prl_emotion.config import from_mapping
from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation import intervals, metrics
from s3prl_emotion.evaluation.metrics import Rate
from s3prl_emotion.mapping import to_mapping
from s3prl_emotion.runs.prediction import Prediction, check_predictions
from s3prl_emotion.runs.results import (
    RECORD,
    FoldResult,
    Headline,
    Pooled,
    ProtocolRecord,
    Results,
    RunSettings,
    Summary,
    results_of,
)

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
    protocol: Mapping[str, Any] | ProtocolRecord,
    steps: Mapping[int, int | None],
    seed: int,
    versions: Mapping[str, str | None],
    settings: Mapping[str, Any] | RunSettings | None = None,
    folds_expected: Sequence[int] | None = None,
    corpus_name: str | None = None,
) -> Results:
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
    about = _plain(protocol)
    if "labels" in about and list(about["labels"]) != list(labels):
        raise RunError(f"the protocol's labels {list(about['labels'])} are not those given: {list(labels)}")
    counts = intervals.count([predictions], labels)
    together = intervals.pooled(counts)
    kinds = metrics.rates()
    by_name = {name: intervals.fold_rates(counts, rate.of_confusion)[0].tolist() for name, rate in kinds.items()}
    folds = []
    for position, (fold, items) in enumerate(sorted(by_fold.items())):
        step = steps[fold]
        of_fold = {name: by_name[name][position] for name in metrics.columns()}
        folds.append(FoldResult(fold=fold, n=len(items), rates=of_fold, step=None if step is None else int(step)))
    drawn, drawn_pooled = _drawn(counts, kinds), _drawn(together, kinds)
    confusion = counts.matrices.sum(axis=(0, 1))
    recalls = metrics.recalls_of_confusion(confusion).tolist()
    results = Results(
        upstream=upstream,
        checkpoint_sha256=checkpoint_sha256,
        downstream=downstream,
        corpus=corpus,
        corpus_name=corpus_name or corpus,
        protocol=from_mapping(ProtocolRecord, {**about, "labels": list(labels)}, "results: protocol", RECORD),
        folds=tuple(folds),
        rates={
            name: _over_folds(rate, by_name[name], drawn.get(name), counts.speakers) for name, rate in kinds.items()
        },
        pooled={
            name: _pooled(
                float(intervals.fold_rates(together, rate.of_confusion)[0, 0]),
                drawn_pooled.get(name),
                counts.speakers,
                rate.upper,
            )
            for name, rate in kinds.items()
        },
        headline=headline(by_fold, labels),
        recalls={label: None if value != value else value for label, value in zip(labels, recalls, strict=True)},
        measures={name: measure.of_predictions(predictions, labels) for name, measure in metrics.measures().items()},
        confusion=tuple(map(tuple, confusion.astype(int).tolist())),
        seed=seed,
        versions=dict(versions),
        ci95_method=intervals.speakers_method(counts),
        ci95_folds_method=intervals.FOLDS_METHOD,
        complete=sorted(by_fold) == expected,
        folds_expected=tuple(expected),
        chance=1 / len(labels),
        settings=None if settings is None else from_mapping(RunSettings, _plain(settings), "results: settings", RECORD),
    )
    return results_of(to_mapping(results), "results")


def summarise_again(
    old: Results,
    predictions: Sequence[Prediction],
    labels: Sequence[str],
    steps: Mapping[int, int | None],
    settings: RunSettings | None,
) -> Results:
    """:func:`summarise` with what predictions cannot tell (names, protocol, seed, versions) from an earlier record.

    Raises:
        RunError: as :func:`summarise`
    """
    return summarise(
        predictions,
        labels,
        upstream=old.upstream,
        checkpoint_sha256=old.checkpoint_sha256,
        downstream=old.downstream,
        corpus=old.corpus,
        corpus_name=old.corpus_name,
        protocol=old.protocol,
        steps=steps,
        folds_expected=old.folds_expected,
        seed=old.seed,
        versions=old.versions,
        settings=settings,
    )


def _plain(part: Mapping[str, Any] | ProtocolRecord | RunSettings) -> dict[str, Any]:
    return dict(part) if isinstance(part, Mapping) else to_mapping(part)


def _drawn(counts: intervals.Counts, kinds: Mapping[str, Rate]) -> dict[str, intervals.Floats]:
    """Each rate of every draw of speakers; nothing with one speaker."""
    if counts.speakers < 2:
        return {}
    functions = {name: rate.of_confusion for name, rate in kinds.items()}
    return intervals.replicates([counts], functions, np.random.default_rng(intervals.SEED))[0]


def _over_folds(rate: Rate, values: Sequence[float], drawn: intervals.Floats | None, speakers: int) -> Summary:
    """Mean of a rate over folds, its sample standard deviation (ddof 1), and its two intervals."""
    mean = float(np.mean(values))
    return Summary(
        mean=mean,
        std=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        ci95=None if drawn is None else _pair(intervals.speakers_interval(mean, drawn, speakers, rate.upper)),
        ci95_folds=_pair(intervals.student_interval(values, upper=rate.upper)),
    )


def _pooled(value: float, drawn: intervals.Floats | None, speakers: int, upper: float) -> Pooled:
    """A rate over all predictions together, with its interval by drawn speakers."""
    bounds = None if drawn is None else intervals.speakers_interval(value, drawn, speakers, upper)
    return Pooled(value=value, ci95=_pair(bounds))


def _pair(bounds: Sequence[float] | None) -> tuple[float, float] | None:
    return None if bounds is None else (bounds[0], bounds[1])


def headline(by_fold: Mapping[int, Sequence[Prediction]], labels: Sequence[str]) -> Headline:
    """Which of mean and pooled rate to quote: the pooled one where a test fold lacks a class."""
    absent = {
        fold: [label for label in labels if label not in {item.truth for item in items}]
        for fold, items in sorted(by_fold.items())
    }
    lacking = [f"fold {fold} has no {', '.join(names)}" for fold, names in absent.items() if names]
    if not lacking:
        return Headline(of="mean", reason=None)
    more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
    return Headline(
        of="pooled",
        reason=f"{len(lacking)} of {len(absent)} test folds lack classes ({'; '.join(lacking[:_SHOWN])}{more}): the "
        "UA of such a fold is over fewer classes, which is easier, and the mean over folds hides it",
    )


def versions(*further: str) -> dict[str, str | None]:
    """Versions of Python, and of the packages that a number can depend on; None where a package is absent.

    Args:
        further: packages besides those that every number depends on
    """
    from s3prl_emotion import __version__

    found: dict[str, str | None] = {"python": platform.python_version(), "s3prl_emotion": __version__}
    for package in (*PACKAGES, *further):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found
