"""A system's rates by group of utterances (sex, intensity, speaker, ...), and how far groups are apart.

**Groups.** Rates are over all of a group's predictions in one confusion matrix, averaged over seeds. Intervals are
those of :mod:`s3prl_emotion.evaluation.intervals` on the group alone: its speakers are drawn. Where it has one speaker,
its utterances are drawn in their place, and the interval is of this speaker, whatever others are like.

**The largest gap** is the largest of k (k - 1) / 2 differences, so it is large by chance alone. Its interval is one of
simultaneous intervals for all pairs (Bonferroni; Miller, Simultaneous statistical inference, 1981, section 2.3): with m
pairs, d ± t(1 - 0.025 / m, v) s holds for all m at once in at least 95 % of experiments, so also for the pair that
happens to be the largest. Here s² = e_g² + e_h² - 2 r e_g e_h, with the standard errors e of the two groups and r the
correlation of their rates when the speakers of all groups are drawn together: speakers in both groups are compared
with themselves. v is one less than the smaller number of speakers or, where no speaker is in both, that of
Welch and Satterthwaite. With two groups it is the house's plain interval of a difference.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from s3prl_emotion.evaluation import intervals, metrics
from s3prl_emotion.evaluation.attributes import NOT_TOLD, values_of
from s3prl_emotion.evaluation.metrics import Rate
from s3prl_emotion.evaluation.seed_groups import SeedGroup
from s3prl_emotion.runs.prediction import Prediction

_CHUNK = 4_000_000  # at most so many weights at once
GROUP_METHODS = {
    "rates": "over the predictions of a group in one confusion matrix, averaged over seeds",
    "95 % interval": "± Student's t with units - 1 degrees of freedom · standard error; units are the group's "
    f"speakers, drawn with replacement {intervals.REPLICATES} times, or the utterances of its one speaker: that "
    "interval is of this speaker, not of others",
    "largest gap": "its interval is one of simultaneous 95 % intervals for all pairs of groups (Bonferroni): it allows "
    "for the gap being the largest of several. One that holds 0 does not tell the two apart",
    "by chance": "the mean largest gap that such groups would show if they were all alike",
}


@dataclass(frozen=True)
class GroupRate:
    """A rate of a group."""

    value: float
    ci95: tuple[float, float] | None  # None with one utterance
    error: float | None  # its standard error


@dataclass(frozen=True)
class Group:
    """The utterances that have one value."""

    name: str
    told: bool  # whether the corpus tells it; else the group of all of which it does not
    n: int  # utterances
    speakers: int  # that are known by name
    drawn: str  # what is drawn: speakers or utterances
    units: int  # how many of them
    lacking: tuple[str, ...]  # classes without an utterance
    rates: Mapping[str, GroupRate]


@dataclass(frozen=True)
class Gap:
    """The largest difference of a rate between two groups."""

    rate: str
    high: str
    low: str
    value: float
    ci95: tuple[float, float] | None  # simultaneous over all pairs; None where one of the two has no standard error
    pairs: int
    by_chance: float | None  # mean largest gap between groups that are alike
    left_out: tuple[str, ...]  # groups with fewer classes than the others, whose rate is another


@dataclass(frozen=True)
class Grouping:
    """A system by one attribute."""

    by: str
    system: SeedGroup
    groups: tuple[Group, ...]  # the one that is not told is the last
    gaps: Mapping[str, Gap | None]  # by rate; None where fewer than two groups can be compared


def group_by(
    system: SeedGroup, by: str, told_by: Path | None = None, *, leave_out: Sequence[str] = (), common: bool = False
) -> Grouping:
    """Rates of each group of a system's utterances, and the largest gaps.

    Args:
        system: one run, or several that differ in the seed
        by: ``label``, ``speaker``, ``fold``, ``session``, ``corpus``, ``text``, or an attribute of the run's manifest
        told_by: another manifest of the same corpus to take it from
        leave_out: values whose utterances are in no group
        common: over the classes that all groups have, so that their rates compare; other utterances are in no group

    Raises:
        RunError: if the corpus does not tell ``by``, or the runs or the manifest do not belong together
    """
    labels = system.results.labels
    members = len(system.counts.matrices)  # also checks that the runs are over the same utterances
    values = values_of(system.runs[0], by, told_by)
    values = {key: value for key, value in values.items() if value not in leave_out}
    if common:
        truths = {(item.fold, item.utterance): item.truth for item in system.runs[0].predictions}
        classes: dict[str | None, set[str]] = {}
        for key, value in values.items():
            classes.setdefault(value, set()).add(truths[key])
        shared = set(labels).intersection(*classes.values())
        values = {key: value for key, value in values.items() if truths[key] in shared}
    names = _ordered({name for name in values.values() if name is not None}, labels if by == "label" else ())
    at = {name: place for place, name in enumerate(names)}
    split: list[list[list[Prediction]]] = [[[] for _ in range(members)] for _ in range(len(names) + 1)]
    for number, run in enumerate(system.runs):
        for item in run.predictions:
            if (item.fold, item.utterance) not in values:
                continue
            name = values[item.fold, item.utterance]
            split[len(names) if name is None else at[name]][number].append(item)
    units = [_units(runs) for runs in split if runs[0]]
    told = [*(True for _ in names), False][: len(units)]
    groups = tuple(
        _group(name, is_told, runs, labels)
        for name, is_told, runs in zip([*names, NOT_TOLD], told, units, strict=False)
    )
    return Grouping(by, system, groups, _gaps(groups, units, labels))


def _ordered(names: set[str], known: Sequence[str]) -> list[str]:
    """Classes in their order, numbers by size, other names by letter."""
    if known:
        return [name for name in known if name in names]
    try:
        return sorted(names, key=lambda name: (float(name), name))
    except ValueError:
        return sorted(names)


def _units(runs: Sequence[Sequence[Prediction]]) -> list[list[Prediction]]:
    """Predictions whose speakers are what is drawn: where one speaker is known, or none, every utterance is as a
    speaker of its own."""
    one = len({item.speaker for item in runs[0]} - {""}) <= 1
    return [[dataclasses.replace(item, speaker="") if one else item for item in run] for run in runs]


def _group(name: str, told: bool, runs: Sequence[Sequence[Prediction]], labels: Sequence[str]) -> Group:
    counts = intervals.pooled(intervals.count(runs, labels))
    kinds = metrics.columns()
    drawn: dict[str, intervals.Floats] = {}
    if counts.speakers > 1:
        functions = {key: rate.of_confusion for key, rate in kinds.items()}
        drawn = intervals.replicates([counts], functions, np.random.default_rng(intervals.SEED))[0]
    found = {item.truth for item in runs[0]}
    one = counts.are_utterances
    return Group(
        name=name,
        told=told,
        n=len(runs[0]),
        speakers=0 if one else counts.speakers,
        drawn="utterances" if one else "speakers",
        units=counts.speakers,
        lacking=tuple(label for label in labels if label not in found),
        rates={key: _rate(rate, counts, drawn.get(key)) for key, rate in kinds.items()},
    )


def _rate(rate: Rate, counts: intervals.Counts, drawn: intervals.Floats | None) -> GroupRate:
    value = float(intervals.fold_rates(counts, rate.of_confusion).mean())
    if drawn is None:
        return GroupRate(value, None, None)
    low, high = intervals.speakers_interval(value, drawn, counts.speakers, rate.upper)
    return GroupRate(value, (low, high), intervals.standard_error(drawn, counts.speakers))


def _gaps(
    groups: Sequence[Group], units: Sequence[Sequence[Sequence[Prediction]]], labels: Sequence[str]
) -> dict[str, Gap | None]:
    """The largest gap of each rate, among groups that the corpus tells and that have the same classes."""
    told = [place for place, group in enumerate(groups) if group.told]
    compared = [place for place in told if len(groups[place].lacking) == min(len(groups[k].lacking) for k in told)]
    classes = {groups[place].lacking for place in compared}
    if all(len(labels) - len(groups[place].lacking) == 1 for place in told):
        compared = told  # one class each: every rate is a recall
    elif len(classes) > 1:
        compared = []
    if len(compared) < 2:
        return dict.fromkeys(metrics.columns())
    members = len(units[0])
    together = [
        [
            dataclasses.replace(item, fold=place)
            for place in compared
            for item in units[place][run]
            if item.speaker or groups[place].drawn == "utterances"
        ]
        for run in range(members)
    ]
    counts = intervals.count(together, labels, alone=True)
    left_out = tuple(groups[place].name for place in told if place not in compared)
    chosen = [groups[place] for place in compared]
    return {name: _gap(name, chosen, counts, drawn, left_out) for name, drawn in _drawn_together(counts).items()}


def _drawn_together(counts: intervals.Counts) -> dict[str, intervals.Floats]:
    """Each rate of every group, of speakers drawn for all at once, ``(draws, groups)``; NaN where it has none of them.

    Groups are in the place of folds.
    """
    rng, number = np.random.default_rng(intervals.SEED), intervals.REPLICATES
    share = np.full(counts.speakers, 1 / counts.speakers)
    found = {name: np.empty((number, counts.folds)) for name in metrics.columns()}
    step = max(1, _CHUNK // len(counts.fold))
    for start in range(0, number, step):
        drawn = rng.multinomial(counts.speakers, share, size=min(step, number - start))
        for place in range(counts.folds):
            here = counts.fold == place
            weights = drawn[:, counts.speaker[here]].astype(np.float64)
            matrices = np.tensordot(weights, counts.matrices[:, here], axes=(1, 1))  # (draws, runs, K, K)
            for name, rate in metrics.columns().items():
                found[name][start : start + step, place] = rate.of_confusion(matrices).mean(axis=1)
    return found


def _gap(
    name: str,
    groups: Sequence[Group],
    counts: intervals.Counts,
    drawn: intervals.Floats,
    left_out: tuple[str, ...],
) -> Gap:
    values = [group.rates[name].value for group in groups]
    errors = [group.rates[name].error for group in groups]
    low, high = max(combinations(range(len(groups)), 2), key=lambda pair: abs(values[pair[0]] - values[pair[1]]))
    if values[low] > values[high]:
        low, high = high, low
    gap = values[high] - values[low]
    pairs = len(groups) * (len(groups) - 1) // 2
    bounds = None
    if errors[low] is not None and errors[high] is not None:
        shared = bool(set(counts.speaker[counts.fold == low]) & set(counts.speaker[counts.fold == high]))
        alike = _correlation(drawn[:, low], drawn[:, high]) if shared else 0.0
        half_width = _half_width(
            (float(errors[low] or 0), float(errors[high] or 0)),
            (groups[low].units, groups[high].units),
            alike,
            shared,
            pairs,
        )
        bounds = (max(-1.0, gap - half_width), min(1.0, gap + half_width))
    return Gap(name, groups[high].name, groups[low].name, gap, bounds, pairs, _by_chance(drawn, errors), left_out)


def _half_width(
    errors: tuple[float, float], units: tuple[int, int], correlation: float, shared: bool, pairs: int
) -> float:
    """Of the simultaneous interval, see the module's docstring."""
    from scipy import stats

    first, second = (error**2 for error in errors)
    error = math.sqrt(max(0.0, first + second - 2 * correlation * errors[0] * errors[1]))
    if first + second == 0:
        return 0.0
    freedom = float(min(units) - 1)
    if not shared:
        freedom = (first + second) ** 2 / (first**2 / (units[0] - 1) + second**2 / (units[1] - 1))
    return float(stats.t.ppf(1 - 0.025 / pairs, freedom)) * error


def _correlation(a: intervals.Floats, b: intervals.Floats) -> float:
    """Of two groups' drawn rates; 0 where one of them never varies."""
    known = ~(np.isnan(a) | np.isnan(b))
    a, b = a[known], b[known]
    if len(a) < 2 or not (a.std() > 0 and b.std() > 0):
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _by_chance(drawn: intervals.Floats, errors: Sequence[float | None]) -> float | None:
    """The mean range of the groups' rates about their own means, each as uncertain as its group: groups alike."""
    if any(error is None for error in errors):
        return None
    centred = drawn - np.nanmean(drawn, axis=0)
    spread = np.nanstd(centred, axis=0)
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0) * np.array(errors, dtype=float)
    return float(np.mean(np.nanmax(scaled, axis=1) - np.nanmin(scaled, axis=1)))
