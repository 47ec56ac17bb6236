"""Confidence intervals of a mean over folds: resampled speakers, and spread over folds.

**Speakers.** Utterances of one speaker are alike, so whole speakers are drawn (cluster bootstrap; Davison and Hinkley,
Bootstrap Methods, 1997, section 3.8): of the run's S speakers, S are drawn with replacement, each with all its
utterances. A fold's rate is computed from its drawn speakers, and the mean runs over folds, each counted as often as
its speakers were drawn: sum_f (d_f / s_f) r_f / sum_f (d_f / s_f), with d_f draws of the s_f speakers of fold f, and
r_f the fold's rate. With the standard deviation e of the drawn means, the interval is

    mean ± t(0.975, S - 1) · e · sqrt(S / (S - 1))

Drawing S of S speakers makes e too small by the root, and with few speakers e itself is uncertain, hence Student's t.
Percentiles of the drawn means, which allow for neither, hold the true mean of ten speakers in 88 to 91 % of simulated
runs, this interval in 93 to 97 % (``benchmarks/intervals.py``). Where a speaker is in several folds, it is drawn in all
of them at once. Utterances of unknown speakers count in every rate and are left out of the draws; where no speaker is
known, each utterance counts as a speaker of its own.

**Pooled.** The rate over the predictions of all folds in one confusion matrix (:func:`pooled`) has its interval in the
same way: 93 to 94 % with 29 speakers of whom most have only some of the classes.

**Folds.** Student's t over the folds' rates, which takes folds for independent draws; their training sets overlap.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from s3prl_emotion.runs.prediction import Prediction

REPLICATES = 2000
SEED = 0
"""Of the generator that draws speakers, so that the same predictions give the same interval."""
FOLDS_METHOD = "Student t over folds, mean ± t(0.975, n-1) · std / sqrt(n), clipped to the range of the rate"

_CHUNK = 4_000_000  # at most so many weights at once

Floats = npt.NDArray[np.float64]
Rate = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Counts:
    """Confusion counts of one or several runs over the same utterances, by fold and speaker.

    A cell is one speaker in one fold.
    """

    matrices: Floats  # (runs, cells, K, K)
    fold: npt.NDArray[np.int64]  # (cells,): position of the fold, from 0
    speaker: npt.NDArray[np.int64]  # (cells,): position of the speaker, from 0; -1 for unknown ones, never drawn
    unnamed: int  # utterances without a speaker; where nobody has one, each is a speaker of its own

    @property
    def folds(self) -> int:
        """The number of folds."""
        return int(self.fold.max()) + 1

    @property
    def speakers(self) -> int:
        """The number of speakers that are drawn."""
        return int(self.speaker.max()) + 1

    @property
    def are_utterances(self) -> bool:
        """Whether no speaker is known, so that utterances are drawn in their place."""
        return self.unnamed > 0 and bool((self.speaker >= 0).all())


def count(runs: Sequence[Sequence[Prediction]], labels: Sequence[str], alone: bool = False) -> Counts:
    """Count confusions by fold and speaker.

    Args:
        runs: predictions of one or several runs over the same utterances (the seeds of a system)
        labels: all K classes
        alone: utterances without a speaker are speakers of their own, also beside known speakers

    Raises:
        ValueError: if there is no prediction or a label is unknown
    """
    if not runs or not all(runs):
        raise ValueError("there are no predictions to count")
    fold_at = {fold: position for position, fold in enumerate(sorted({item.fold for item in runs[0]}))}
    label_at = {label: position for position, label in enumerate(labels)}
    # numbered by name: the draws of a seed, and so the interval, do not depend on the order of rows
    names = {_speaker(item) for item in runs[0]}
    known = names if alone else {name for name in names if name[0]} or names
    speakers = {speaker: position for position, speaker in enumerate(sorted(known))}
    pairs = sorted({(fold_at[item.fold], _speaker(item)) for item in runs[0]})
    cells = {pair: position for position, pair in enumerate(pairs)}
    unnamed = sum(not item.speaker for item in runs[0])
    matrices = np.zeros((len(runs), len(cells), len(labels), len(labels)))
    for number, run in enumerate(runs):
        try:
            where = [
                (cells[fold_at[item.fold], _speaker(item)], label_at[item.truth], label_at[item.predicted])
                for item in run
            ]
        except KeyError as error:
            raise ValueError(f"run {number} has {error}, which the first run or the labels {labels} lack") from error
        np.add.at(matrices[number], tuple(np.array(where).T), 1)
    keys = list(cells)
    return Counts(
        matrices,
        np.array([fold for fold, _ in keys]),
        np.array([speakers.get(speaker, -1) for _, speaker in keys]),
        unnamed,
    )


def _speaker(item: Prediction) -> tuple[str, int, str]:
    """A speaker's name, or the utterance in place of it."""
    return (item.speaker, 0, "") if item.speaker else ("", item.fold, item.utterance)


def pooled(counts: Counts) -> Counts:
    """The same counts as if all folds were one: their rate is that of all predictions together."""
    return dataclasses.replace(counts, fold=np.zeros_like(counts.fold))


def fold_rates(counts: Counts, rate: Rate) -> Floats:
    """The rate of every fold, shape (runs, folds)."""
    by_fold = np.stack([counts.matrices[:, counts.fold == fold].sum(axis=1) for fold in range(counts.folds)], axis=1)
    return rate(by_fold)


def replicates(
    counts: Sequence[Counts], rates: Mapping[str, Rate], rng: np.random.Generator, number: int = REPLICATES
) -> list[dict[str, Floats]]:
    """Draw speakers and compute the means over folds and runs again, with the same draws for all.

    Args:
        counts: of one system, or of several over the same utterances
        rates: functions of a confusion matrix, by name
        rng: draws the speakers
        number: how often

    Returns:
        for each of ``counts`` and each rate its means, shape (number,)
    """
    first = counts[0]
    known = first.speaker >= 0
    in_fold = np.bincount(first.fold[known], minlength=first.folds)  # speakers of each fold
    step = max(1, _CHUNK // len(first.fold))
    found: list[dict[str, list[Floats]]] = [{name: [] for name in rates} for _ in counts]
    for start in range(0, number, step):
        size = min(step, number - start)
        drawn = rng.multinomial(first.speakers, np.full(first.speakers, 1 / first.speakers), size=size)
        weights = drawn[:, first.speaker].astype(np.float64)  # (size, cells)
        total = np.zeros(size)
        sums = [{name: np.zeros(size) for name in rates} for _ in counts]
        for fold in np.flatnonzero(in_fold):  # one of unknown speakers alone has no share
            here = known & (first.fold == fold)
            share = weights[:, here].sum(axis=1) / in_fold[fold]
            total += share
            for item, of_item in zip(counts, sums, strict=True):
                matrices = np.tensordot(weights[:, here], item.matrices[:, here], axes=(1, 1))  # (size, runs, K, K)
                for name, rate in rates.items():  # a fold that no speaker was drawn of has no rate, and no share
                    of_item[name] += np.where(share > 0, np.nan_to_num(rate(matrices).mean(axis=1)) * share, 0.0)
        for of_item, parts in zip(sums, found, strict=True):
            for name in rates:
                parts[name].append(of_item[name] / total)
    return [{name: np.concatenate(parts) for name, parts in of_item.items()} for of_item in found]


def standard_error(drawn: Floats, speakers: int) -> float:
    """Of the mean over folds: the deviation of the drawn means, with the factor for drawing all of the few speakers."""
    return float(np.std(drawn, ddof=1)) * math.sqrt(speakers / (speakers - 1))


def speakers_interval(mean: float, drawn: Floats, speakers: int, upper: float = 1.0) -> list[float]:
    """95 % interval over speakers, see the module's docstring, clipped to [0, ``upper``].

    Args:
        mean: over folds
        drawn: the same of every draw of speakers, from :func:`replicates`
        speakers: their number, at least 2
        upper: the largest possible value
    """
    from scipy import stats

    half_width = float(stats.t.ppf(0.975, speakers - 1)) * standard_error(drawn, speakers)
    return [max(0.0, mean - half_width), min(upper, mean + half_width)]


def speakers_method(counts: Counts, number: int = REPLICATES) -> str:
    """How the interval over speakers was made, in words, for the record."""
    without = ""
    if counts.unnamed and not counts.are_utterances:
        without = f"; {counts.unnamed} utterances of unknown speakers are left out of the draws"
    if counts.speakers < 2:
        return f"no interval over speakers: there is one speaker only{without}"
    if counts.are_utterances:
        drawn = f"its {counts.unnamed} utterances, whose speakers are unknown,"
    else:
        drawn = f"its {counts.speakers} speakers"
    return (
        f"mean over folds ± t(0.975, {counts.speakers - 1}) · its standard error by bootstrap: {drawn} are drawn with "
        f"replacement {number} times{without}"
    )


def student_interval(values: Sequence[float] | Floats, upper: float = 1.0) -> list[float] | None:
    """95 % interval of the mean by Student's t: mean ± t(0.975, n-1) · std / sqrt(n), clipped to [0, ``upper``].

    None for fewer than two values.
    """
    if len(values) < 2:
        return None
    from scipy import stats

    mean, std = float(np.mean(values)), float(np.std(values, ddof=1))
    half_width = float(stats.t.ppf(0.975, len(values) - 1)) * std / math.sqrt(len(values))
    return [max(0.0, mean - half_width), min(upper, mean + half_width)]
