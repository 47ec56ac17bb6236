"""Systems, which are runs that differ in the seed only, and how far two of them are apart.

A system's rates are those of its runs averaged over seeds, fold by fold; its differences from another system use the
same utterances and the same draws of speakers.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation import intervals, metrics, paired_tests
from s3prl_emotion.evaluation.intervals import Counts
from s3prl_emotion.evaluation.runs import Run
from s3prl_emotion.runs.results import Results

METHODS = {
    "95 % interval": "of the mean over folds and seeds, or of the pooled rate: ± Student's t with speakers - 1 degrees "
    f"of freedom · standard error, from speakers drawn with replacement {intervals.REPLICATES} times",
    "pooled": "over the predictions of all folds together, averaged over seeds",
    "std folds": "sample standard deviation over folds of the rates averaged over seeds",
    "std seeds": "sample standard deviation over seeds of the means over folds",
}
DIFFERENCE_METHODS = {
    "difference": "system minus baseline; interval and p bootstrap likewise, from the same speakers drawn for both, "
    f"{paired_tests.PAIRED_REPLICATES} times",
    "detectable": "the smallest true difference that these speakers and seeds would have shown in 80 % of experiments "
    "at p < 0.05, (t(0.975) + t(0.80)) · standard error of the paired bootstrap with speakers - 1 degrees of freedom "
    "(Bloom 1995): systems that are closer than this are not told apart, nor shown to be equal",
    "p Holm": "p bootstrap, adjusted for all differences of this comparison; copies of a run are none",
    "p corrected t": "resampled t-test over folds with the correction of Nadeau and Bengio (2003)",
}
MCNEMAR_METHOD = {"p McNemar": "on right and wrong utterances, so of WA alone; median over seeds"}


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ in the seed only, sorted by it."""

    runs: tuple[Run, ...]

    @property
    def results(self) -> Results:
        """The record of the first run; all runs share its names, protocol and settings."""
        return self.runs[0].results

    @property
    def seeds(self) -> list[int]:
        """The seeds, rising."""
        return [run.results.seed for run in self.runs]

    @functools.cached_property
    def counts(self) -> Counts:
        """Confusion counts of all runs.

        Raises:
            RunError: if the runs are not over the same utterances
        """
        for run in self.runs[1:]:
            check_same_utterances(self.runs[0], run)
        return intervals.count([run.predictions for run in self.runs], self.results.labels)


def group(runs: Sequence[Run]) -> list[SeedGroup]:
    """Put runs that differ in the seed only together; a second run with the same seed begins a system of its own.

    Systems come in the order of their first runs.
    """
    systems: dict[tuple[str, int], list[Run]] = {}
    taken: dict[tuple[str, int], int] = {}
    for run in runs:
        setting, seed = run.setting(), run.results.seed
        number = taken[setting, seed] = taken.get((setting, seed), -1) + 1
        systems.setdefault((setting, number), []).append(run)
    return [SeedGroup(tuple(sorted(found, key=lambda run: run.results.seed))) for found in systems.values()]


def check_same_utterances(a: Run, b: Run) -> None:
    """Check that two runs can be compared utterance by utterance.

    Raises:
        RunError: naming both folders and the first utterance that differs
    """
    mine = {(item.fold, item.utterance): (item.truth, item.speaker) for item in a.predictions}
    theirs = {(item.fold, item.utterance): (item.truth, item.speaker) for item in b.predictions}
    differing = sorted(set(mine) ^ set(theirs))
    if differing:
        fold, utterance = differing[0]
        raise RunError(
            f"{a.folder} and {b.folder} are not over the same utterances: {len(differing)} are in one only, first "
            f"{utterance!r} in fold {fold}. Compare runs on the same corpus, protocol and options"
        )
    for (fold, utterance), (truth, speaker) in mine.items():
        if theirs[fold, utterance] != (truth, speaker):
            raise RunError(
                f"{a.folder} and {b.folder}: utterance {utterance!r} in fold {fold} has the truth {truth!r} and the "
                f"speaker {speaker!r} in one, {' and '.join(map(repr, theirs[fold, utterance]))} in the other"
            )


def figures(system: SeedGroup) -> dict[str, Any]:
    """Every number of a system.

    Returns:
        for each rate its ``mean`` over folds and seeds, ``ci95``, ``std_folds``, ``std_seeds`` (None where there is one
        only), ``folds``, the rate of each fold averaged over seeds, and ``pooled``, that over all folds' predictions,
        with ``pooled_ci95``; each measure of probabilities averaged over seeds, None unless every run has it
    """
    counts, kinds = system.counts, metrics.rates()
    functions = {name: rate.of_confusion for name, rate in kinds.items()}
    together = intervals.pooled(counts)
    drawn = drawn_pooled = None
    if counts.speakers > 1:
        drawn, drawn_pooled = (
            intervals.replicates([part], functions, np.random.default_rng(intervals.SEED))[0]
            for part in (counts, together)
        )
    numbers = system.results.numbers
    found: dict[str, Any] = {}
    for name, kind in kinds.items():
        rates = intervals.fold_rates(counts, kind.of_confusion)
        by_fold, by_seed = rates.mean(axis=0), rates.mean(axis=1)
        pooled = intervals.fold_rates(together, kind.of_confusion).mean()
        found[name] = {
            "mean": float(rates.mean()),
            "ci95": None
            if drawn is None
            else intervals.speakers_interval(float(rates.mean()), drawn[name], counts.speakers, kind.upper),
            "pooled": float(pooled),
            "pooled_ci95": None
            if drawn_pooled is None
            else intervals.speakers_interval(float(pooled), drawn_pooled[name], counts.speakers, kind.upper),
            "std_folds": float(by_fold.std(ddof=1)) if len(by_fold) > 1 else None,
            "std_seeds": float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None,
            "folds": {str(number): float(value) for number, value in zip(numbers, by_fold, strict=True)},
        }
    for name in metrics.measures():
        values = [run.results.measures.get(name) for run in system.runs]
        known = [value for value in values if value is not None]
        found[name] = float(np.mean(known)) if len(known) == len(values) else None
    return found


def difference(system: SeedGroup, baseline: SeedGroup) -> dict[str, Any]:
    """How far a system is from another over the same utterances.

    Returns:
        ``of``: ``mean`` over folds or ``pooled``, whichever is the headline (pooled where test folds lack classes); for
        each rate the ``difference`` of the two, averaged over seeds, its
        ``ci95``, ``p_bootstrap``, ``standard_error`` and the smallest ``detectable`` difference (None with one speaker)
        and ``p_corrected_t`` (None with one fold, without ``folds.json`` or for pooled rates); and ``mcnemar``, which
        is of the ``metric`` WA: ``p`` of each pair of runs with the same seed, or of the two first runs if no seed is
        common, the ``seeds`` of the pairs, and ``median``

    Raises:
        RunError: if the two are not over the same utterances
    """
    check_same_utterances(baseline.runs[0], system.runs[0])
    mine, theirs = system.counts, baseline.counts
    of = "pooled" if baseline.results.is_pooled else "mean"
    if of == "pooled":
        mine, theirs = intervals.pooled(mine), intervals.pooled(theirs)
    functions = {name: rate.of_confusion for name, rate in metrics.rates().items()}
    drawn = paired_tests.paired_bootstrap(mine, theirs, functions, np.random.default_rng(intervals.SEED))
    train = baseline.runs[0].train_sizes or system.runs[0].train_sizes
    n_test = {fold.fold: fold.n for fold in baseline.results.folds}
    found: dict[str, Any] = {}
    for name, rate in functions.items():
        by_fold = intervals.fold_rates(mine, rate).mean(axis=0) - intervals.fold_rates(theirs, rate).mean(axis=0)
        corrected = None
        if of == "mean" and len(by_fold) > 1 and set(n_test) <= set(train):
            corrected = paired_tests.corrected_t(
                by_fold.tolist(), list(n_test.values()), [train[number] for number in n_test]
            )[1]
        found[name] = {
            "difference": float(by_fold.mean()),
            "ci95": None if drawn is None else drawn[name].interval,
            "p_bootstrap": None if drawn is None else drawn[name].p,
            "standard_error": None if drawn is None else drawn[name].error,
            "detectable": None if drawn is None else drawn[name].detectable,
            "p_corrected_t": corrected,
        }
    return {"of": of, **found, "mcnemar": _mcnemar(system, baseline)}


def _mcnemar(system: SeedGroup, baseline: SeedGroup) -> dict[str, Any]:
    mine = {run.results.seed: run for run in system.runs}
    theirs = {run.results.seed: run for run in baseline.runs}
    seeds = [(seed, seed) for seed in mine if seed in theirs] or [(system.seeds[0], baseline.seeds[0])]
    p_values = [paired_tests.mcnemar(_correct(mine[first]), _correct(theirs[second])) for first, second in seeds]
    return {
        "metric": "wa",
        "seeds": [list(pair) for pair in seeds],
        "p": p_values,
        "median": statistics.median(p_values),
    }


def _correct(run: Run) -> list[bool]:
    return [item.truth == item.predicted for item in run.predictions]
