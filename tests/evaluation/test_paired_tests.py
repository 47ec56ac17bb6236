"""Paired tests: by hand, and against scipy and statsmodels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as of_statsmodels
from statsmodels.stats.multitest import multipletests

from s3prl_emotion.evaluation.intervals import Counts, count
from s3prl_emotion.evaluation.metrics import rates as all_rates
from s3prl_emotion.evaluation.paired_tests import (
    Paired,
    corrected_t,
    holm,
    mcnemar,
    paired_bootstrap,
    smallest_detectable,
)
from s3prl_emotion.runs.prediction import Prediction

WA = {"wa": all_rates()["wa"].of_confusion}


def _answers(both: int, only_a: int, only_b: int, none: int) -> tuple[list[bool], list[bool]]:
    a = [True] * (both + only_a) + [False] * (only_b + none)
    return a, [True] * both + [False] * only_a + [True] * only_b + [False] * none


def test_mcnemar_by_hand() -> None:
    # 1 against 5 of 6: 2 · (1 + 6) / 2^6
    assert mcnemar(*_answers(10, 1, 5, 3)) == pytest.approx(14 / 64)
    # 10 against 30: (20 - 1)² / 40 = 9.025
    assert mcnemar(*_answers(50, 10, 30, 10)) == pytest.approx(stats.chi2.sf(9.025, 1))
    assert mcnemar([True, False], [True, False]) == 1.0


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 3), (7, 7), (4, 20), (5, 20), (12, 13), (60, 90)])
def test_mcnemar_agrees_with_statsmodels(only_a: int, only_b: int) -> None:
    table = [[30, only_a], [only_b, 9]]
    expected = of_statsmodels(table, exact=only_a + only_b < 25, correction=True).pvalue
    assert mcnemar(*_answers(30, only_a, only_b, 9)) == pytest.approx(expected)


def test_mcnemar_errors() -> None:
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(1,\)"):
        mcnemar([True, False], [True])
    with pytest.raises(ValueError, match="no utterances"):
        mcnemar([], [])


def test_corrected_t_by_hand() -> None:
    # mean 0.03, var 0.0002 with k = 2 folds: t = 0.03 / sqrt((1/2 + 1/4) · 0.0002)
    t, p = corrected_t([0.02, 0.04], [20, 20], [80, 80])
    assert t == pytest.approx(0.03 / math.sqrt(0.75 * 0.0002))
    assert p == pytest.approx(2 * stats.t.sf(t, 1))
    # n_test / n_train is averaged: (1/4 + 1/2) / 2
    t, _ = corrected_t([0.02, 0.04], [20, 40], [80, 80])
    assert t == pytest.approx(0.03 / math.sqrt((0.5 + 0.375) * 0.0002))


def test_corrected_t_approaches_the_plain_paired_test() -> None:
    differences = [0.01, 0.05, -0.02, 0.04, 0.03]
    t, p = corrected_t(differences, [1] * 5, [10**12] * 5)
    plain = stats.ttest_1samp(differences, 0)
    assert (t, p) == pytest.approx((plain.statistic, plain.pvalue))
    assert corrected_t(differences, [20] * 5, [80] * 5)[1] > p


def test_corrected_t_at_its_ends() -> None:
    assert corrected_t([0.0, 0.0], [1, 1], [4, 4]) == (0.0, 1.0)
    assert corrected_t([-0.1, -0.1], [1, 1], [4, 4]) == (-math.inf, 0.0)
    with pytest.raises(ValueError, match="at least two folds"):
        corrected_t([0.1], [1], [4])
    with pytest.raises(ValueError, match="positive counts"):
        corrected_t([0.1, 0.2], [1, 1], [4, 0])


@pytest.mark.parametrize("p_values", [[0.01, 0.04, 0.03], [0.5, 0.9], [0.02], [0.001, 0.001, 0.2, 0.04]])
def test_holm_agrees_with_statsmodels(p_values: list[float]) -> None:
    named = {str(position): p for position, p in enumerate(p_values)}
    assert list(holm(named).values()) == pytest.approx(multipletests(p_values, method="holm")[1])


def _run(hits: dict[tuple[int, str], int], size: int = 10) -> list[Prediction]:
    return [
        Prediction(fold, f"{speaker}{i}", speaker, "a", "a" if i < right else "b")
        for (fold, speaker), right in hits.items()
        for i in range(size)
    ]


def test_paired_bootstrap_of_two_speakers_is_enumerated() -> None:
    """Differences 0.2 and -0.1 per speaker: draws give 0.2, 0.05 (twice as often) and -0.1, of deviation 0.15 / √2."""
    a, b = _run({(1, "x"): 7, (1, "y"): 4}), _run({(1, "x"): 5, (1, "y"): 5})
    drawn = paired_bootstrap(count([a], ["a", "b"]), count([b], ["a", "b"]), WA, np.random.default_rng(0))
    assert drawn is not None
    interval, p = drawn["wa"].interval, drawn["wa"].p
    error = 0.15 / math.sqrt(2) * math.sqrt(2 / 1)
    half_width = stats.t.ppf(0.975, 1) * error
    assert interval == pytest.approx([0.05 - half_width, 0.05 + half_width], abs=0.03)
    assert p == pytest.approx(2 * stats.t.sf(0.05 / error, 1), abs=0.01)


def test_paired_bootstrap_uses_the_pairs() -> None:
    """Speakers differ widely, the systems by exactly one utterance in ten for every speaker: no doubt is left."""
    hits = {(1 + i // 2, f"s{i}"): i for i in range(1, 9)}
    a, b = _run({key: value + 1 for key, value in hits.items()}), _run(hits)
    counts = count([a], ["a", "b"]), count([b], ["a", "b"])
    drawn = paired_bootstrap(*counts, WA, np.random.default_rng(0), 1000)
    assert drawn is not None
    assert drawn["wa"].interval == pytest.approx([0.1, 0.1])
    assert drawn["wa"].p == 0.0
    back = paired_bootstrap(*counts[::-1], WA, np.random.default_rng(0), 1000)
    assert back is not None
    assert back["wa"].interval == pytest.approx([-0.1, -0.1])


def test_equal_systems_have_p_one() -> None:
    counts = count([_run({(1, "x"): 3, (1, "y"): 8})], ["a", "b"])
    assert paired_bootstrap(counts, counts, WA, np.random.default_rng(0), 100) == {
        "wa": Paired([0.0, 0.0], 1.0, 0.0, 0.0)
    }


def test_the_smallest_detectable_difference_by_hand() -> None:
    # t(0.975, 9) = 2.262157 and t(0.80, 9) = 0.883404 from printed tables; 1.959964 + 0.841621 with many speakers
    assert smallest_detectable(0.01, 10) == pytest.approx(0.03145561, rel=1e-5)
    assert smallest_detectable(1.0, 10**6) == pytest.approx(2.801585, rel=1e-4)


def test_a_difference_of_that_size_is_seen_in_four_of_five_experiments() -> None:
    """Differences of twelve speakers from a normal distribution around the smallest detectable one of their mean."""
    rng = np.random.default_rng(1)
    speakers, spread = 12, 0.1
    true = smallest_detectable(spread / math.sqrt(speakers), speakers)
    seen = []
    for _ in range(300):
        a, b = np.zeros((1, speakers, 2, 2)), np.zeros((1, speakers, 2, 2))
        for matrices, rates in ((a, 0.5 + rng.normal(true, spread, speakers)), (b, np.full(speakers, 0.5))):
            matrices[0, :, 0, 0], matrices[0, :, 0, 1] = 1000 * rates, 1000 * (1 - rates)
        counts = [Counts(item, np.zeros(speakers, dtype=int), np.arange(speakers), 0) for item in (a, b)]
        drawn = paired_bootstrap(counts[0], counts[1], WA, rng, 400)
        assert drawn is not None
        seen.append(drawn["wa"].p < 0.05)
    assert 0.73 < np.mean(seen) < 0.87


def test_one_speaker_says_nothing_and_other_speakers_are_refused() -> None:
    one, two = count([_run({(1, "x"): 3})], ["a", "b"]), count([_run({(1, "x"): 3, (1, "y"): 8})], ["a", "b"])
    assert paired_bootstrap(one, one, WA, np.random.default_rng(0)) is None
    with pytest.raises(ValueError, match="not over the same folds and speakers"):
        paired_bootstrap(one, two, WA, np.random.default_rng(0))
