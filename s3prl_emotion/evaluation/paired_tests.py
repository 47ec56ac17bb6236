"""Paired tests: McNemar (utterances), speaker bootstrap, and corrected resampled t (folds).

- McNemar: the same utterances, each right or wrong under either system; says nothing on UA, only on WA.
- Paired bootstrap: other speakers; both systems are scored on the same draws.
- Corrected resampled t-test: other divisions into training and test sets.

And how large would a difference have to be to be seen? The smallest detectable one, see :func:`smallest_detectable`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from s3prl_emotion.evaluation.intervals import Counts, Rate, fold_rates, replicates, standard_error

EXACT_BELOW = 25
"""Discordant pairs below which McNemar's test is the exact binomial one."""
PAIRED_REPLICATES = 10_000
POWER = 0.8


@dataclass(frozen=True)
class Paired:
    """What drawn speakers say of one difference."""

    interval: list[float]  # 95 %
    p: float  # two-sided
    error: float  # standard error of the difference
    detectable: float  # the smallest difference that would have been seen, see smallest_detectable


def mcnemar(a_correct: npt.ArrayLike, b_correct: npt.ArrayLike) -> float:
    """Two-sided p of McNemar's test that two classifiers are right equally often.

    With b utterances that only the first has right and c that only the second has: below 25 of them, the exact binomial
    test of b in b + c at 1/2; else chi-square with one degree of freedom of (|b - c| - 1)² / (b + c) (McNemar 1947;
    Edwards 1948 for the correction).

    Args:
        a_correct: for each utterance whether the first is right
        b_correct: the same utterances in the same order

    Returns:
        p in [0, 1]; 1 if they never differ

    Raises:
        ValueError: if the two differ in length or are empty

    Example:
        >>> mcnemar([True] * 6 + [False], [False] * 6 + [False])
        0.03125
    """
    from scipy import stats

    a, b = np.asarray(a_correct, dtype=bool), np.asarray(b_correct, dtype=bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"expected two rows of equal length, found shapes {a.shape} and {b.shape}")
    if a.size == 0:
        raise ValueError("there are no utterances to compare on")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    discordant = only_a + only_b
    if discordant == 0:
        return 1.0
    if discordant < EXACT_BELOW:
        return float(stats.binomtest(only_a, discordant).pvalue)
    return float(stats.chi2.sf(max(0, abs(only_a - only_b) - 1) ** 2 / discordant, 1))


def paired_bootstrap(
    a: Counts, b: Counts, rates: Mapping[str, Rate], rng: np.random.Generator, number: int = PAIRED_REPLICATES
) -> dict[str, Paired] | None:
    """Interval and p of the differences ``a - b`` of the means over folds and seeds, speakers drawn alike for both.

    The draws and the standard error s of a difference d are those of :mod:`s3prl_emotion.evaluation.intervals`. The
    interval is d ± t(0.975, S - 1) s with S speakers, and p that of d / s under Student's t with S - 1 degrees of
    freedom, so that the two agree.

    Args:
        a: counts of one system
        b: counts of another over the same utterances
        rates: functions of a confusion matrix, by name
        rng: draws the speakers
        number: how often

    Returns:
        for each rate what the draws say; None if there are fewer than two speakers

    Raises:
        ValueError: if the two do not have the same folds and speakers
    """
    if not (np.array_equal(a.fold, b.fold) and np.array_equal(a.speaker, b.speaker)):
        raise ValueError("the two are not over the same folds and speakers in the same order")
    if a.speakers < 2:
        return None
    drawn = replicates([a, b], rates, rng, number)
    found = {}
    for name, rate in rates.items():
        difference = float(fold_rates(a, rate).mean() - fold_rates(b, rate).mean())
        found[name] = _paired(difference, standard_error(drawn[0][name] - drawn[1][name], a.speakers), a.speakers)
    return found


def _paired(difference: float, error: float, speakers: int) -> Paired:
    from scipy import stats

    half_width = float(stats.t.ppf(0.975, speakers - 1)) * error
    interval = [difference - half_width, difference + half_width]
    if math.isclose(error, 0, abs_tol=1e-12):
        p = 1.0 if math.isclose(difference, 0, abs_tol=1e-12) else 0.0
    else:
        p = float(2 * stats.t.sf(abs(difference) / error, speakers - 1))
    return Paired(interval, p, error, smallest_detectable(error, speakers))


def smallest_detectable(error: float, speakers: int) -> float:
    """The smallest true difference that comes out significant (p < 0.05, two-sided) in 80 % of experiments.

    (t(0.975, S - 1) + t(0.80, S - 1)) · s, with the standard error s of the difference and S speakers: Bloom, Minimum
    detectable effects, Evaluation Review 19(5), 1995, pages 547 to 556. With many speakers it is (1.96 + 0.84) s;
    Student's t stands for the normal distribution because interval and p use it.

    Args:
        error: the paired bootstrap's standard error
        speakers: their number, at least 2

    Example:
        >>> round(smallest_detectable(0.01, 10), 4)
        0.0315
    """
    from scipy import stats

    return float(stats.t.ppf(0.975, speakers - 1) + stats.t.ppf(POWER, speakers - 1)) * error


def corrected_t(differences: Sequence[float], n_test: Sequence[int], n_train: Sequence[int]) -> tuple[float, float]:
    """Corrected resampled t-test over folds (Nadeau and Bengio, Machine Learning 52, 2003, section 4).

    t = mean(d) / sqrt((1 / k + n_test / n_train) var(d)) with k - 1 degrees of freedom; the plain paired t-test, which
    has 1 / k alone, takes folds whose training sets overlap for independent. With folds of unequal size, n_test /
    n_train is averaged over them.

    Args:
        differences: of the two systems' rates, one per fold (k of them)
        n_test: test utterances of each fold
        n_train: training utterances of each fold

    Returns:
        t and its two-sided p; (0, 1) if no fold differs, and (±inf, 0) if all differ by the same amount

    Raises:
        ValueError: if there are fewer than two folds, the three differ in length, or a count is not positive

    Example:
        >>> t, p = corrected_t([0.02, 0.04], [20, 20], [80, 80])
        >>> round(t, 4), round(p, 4)
        (2.4495, 0.2468)
    """
    from scipy import stats

    k = len(differences)
    if k < 2 or not k == len(n_test) == len(n_train):
        raise ValueError(
            f"expected at least two folds and a value of each, found {k} differences, {len(n_test)} test counts and "
            f"{len(n_train)} training counts"
        )
    if min(n_test) < 1 or min(n_train) < 1:
        raise ValueError(f"expected positive counts, found {list(n_test)} and {list(n_train)}")
    mean, variance = float(np.mean(differences)), float(np.var(differences, ddof=1))
    ratio = float(np.mean(np.divide(n_test, n_train)))
    if math.isclose(variance, 0, abs_tol=1e-24):
        return (0.0, 1.0) if math.isclose(mean, 0, abs_tol=1e-12) else (math.copysign(math.inf, mean), 0.0)
    t = mean / math.sqrt((1 / k + ratio) * variance)
    return t, float(2 * stats.t.sf(abs(t), k - 1))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p for the number of comparisons (Holm 1979): p_(i) · (m - i + 1) in rising order, never falling.

    Example:
        >>> holm({"x": 0.04, "y": 0.01})
        {'x': 0.04, 'y': 0.02}
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for position, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, p * (len(p_values) - position)))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}
