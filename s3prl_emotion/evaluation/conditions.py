"""Loss of a system under disturbed audio: conditions over the same utterances.

Rates and intervals are those of ``results.json``. A condition's difference from the undisturbed audio is paired: both
are scored on the same draws of speakers (:func:`s3prl_emotion.evaluation.paired_tests.paired_bootstrap`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from s3prl_emotion.evaluation import intervals, metrics, paired_tests
from s3prl_emotion.evaluation.paired_tests import Paired
from s3prl_emotion.runs.prediction import Prediction

CONDITION_METHODS = {
    "95 % interval": "± Student's t with speakers - 1 degrees of freedom · standard error, from speakers drawn with "
    f"replacement {intervals.REPLICATES} times",
    "difference": "condition minus undisturbed, in points, with the interval of the paired bootstrap over speakers, "
    f"{paired_tests.PAIRED_REPLICATES} times; each interval is for itself",
    "p Holm": "p of the paired bootstrap, adjusted for all conditions",
}

Scored = Sequence[Sequence[Prediction]]
"""The predictions of one or several runs, which differ in the seed."""


@dataclass(frozen=True)
class ConditionRow:
    """A system under one condition."""

    condition: str
    n: int
    values: Mapping[str, float]  # by rate
    ci95: Mapping[str, tuple[float, float] | None]  # None with one speaker
    differences: Mapping[str, float]  # from the first row; empty for that row itself
    paired: Mapping[str, Paired]  # the same with interval and p; empty with one speaker
    p_holm: Mapping[str, float]


def side_by_side(scored: Mapping[str, Scored], labels: Sequence[str], is_pooled: bool) -> list[ConditionRow]:
    """A row for each condition; differences are from the first.

    Args:
        scored: predictions under each condition, of the same utterances and runs
        labels: all classes
        is_pooled: rates over the predictions of all folds together, in place of the mean over folds
    """
    kinds = metrics.columns()
    functions = {name: rate.of_confusion for name, rate in kinds.items()}
    rows: list[ConditionRow] = []
    base: intervals.Counts | None = None
    for condition, runs in scored.items():
        counts = intervals.count(runs, labels)
        counts = intervals.pooled(counts) if is_pooled else counts
        base = counts if base is None else base
        values = {name: float(intervals.fold_rates(counts, rate).mean()) for name, rate in functions.items()}
        differences: dict[str, float] = {}
        paired: dict[str, Paired] = {}
        if rows:
            differences = {name: value - rows[0].values[name] for name, value in values.items()}
            paired = paired_tests.paired_bootstrap(counts, base, functions, np.random.default_rng(intervals.SEED)) or {}
        rows.append(ConditionRow(condition, len(runs[0]), values, _intervals(counts, values), differences, paired, {}))
    adjusted = {
        name: paired_tests.holm({row.condition: row.paired[name].p for row in rows if row.paired}) for name in kinds
    }
    return [
        dataclasses.replace(
            row, p_holm={name: found[row.condition] for name, found in adjusted.items() if row.condition in found}
        )
        for row in rows
    ]


def _intervals(counts: intervals.Counts, values: Mapping[str, float]) -> dict[str, tuple[float, float] | None]:
    kinds = metrics.columns()
    if counts.speakers < 2:
        return dict.fromkeys(kinds)
    functions = {name: rate.of_confusion for name, rate in kinds.items()}
    drawn = intervals.replicates([counts], functions, np.random.default_rng(intervals.SEED))[0]
    found: dict[str, tuple[float, float] | None] = {}
    for name, rate in kinds.items():
        low, high = intervals.speakers_interval(values[name], drawn[name], counts.speakers, rate.upper)
        found[name] = (low, high)
    return found
