"""Calibration and distances, by hand, against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.metrics import brier_score_loss

from s3prl_emotion.evaluation.calibration import FLOOR, brier, ece, kl_to_annotators


def test_ece_by_hand() -> None:
    # two bins, (0, 1/2] and (1/2, 1]: confidences 0.5 (right) below; 0.6 (wrong), 0.8 (right) above
    table = [[0.5, 0.3, 0.2], [0.6, 0.4, 0.0], [0.1, 0.8, 0.1]]
    expected = 1 / 3 * abs(1 - 0.5) + 2 / 3 * abs(0.5 - 0.7)
    assert ece(table, [True, False, True], bins=2) == pytest.approx(expected)
    # 15 bins part all three: 0.5 in bin 8, 0.6 in bin 9, which ends at 0.6, 0.8 in bin 12
    assert ece(table, [True, False, True]) == pytest.approx((0.5 + 0.6 + 0.2) / 3)


def test_ece_is_zero_for_a_calibrated_and_for_a_perfect_model() -> None:
    assert ece([[0.75, 0.25]] * 4, [True, True, True, False]) == pytest.approx(0)
    assert ece([[1.0, 0.0], [0.0, 1.0]], [True, True]) == 0


def test_ece_agrees_with_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    table = rng.dirichlet(np.ones(4), 200)
    correct = rng.random(200) < 0.5
    confidence = table.max(axis=1)
    total = 0.0
    for m in range(15):
        inside = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert ece(table, correct) == pytest.approx(total)


def test_brier_by_hand_and_at_its_ends() -> None:
    # (0.7 - 1)² + 0.2² + 0.1² = 0.14; 0.5² + (0.5 - 1)² = 0.5
    assert brier([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0]], [0, 1]) == pytest.approx((0.14 + 0.5) / 2)
    assert brier([[1.0, 0.0]], [0]) == 0
    assert brier([[1.0, 0.0]], [1]) == 2


def test_brier_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    table, truth = rng.dirichlet(np.ones(4), 50), rng.integers(0, 4, 50)
    one_class_each = [brier_score_loss(truth == k, table[:, k]) for k in range(4)]
    assert brier(table, truth) == pytest.approx(sum(one_class_each))
    # with two classes it is twice scikit-learn's one-class form
    two = rng.dirichlet(np.ones(2), 50)
    assert brier(two, truth % 2) == pytest.approx(2 * brier_score_loss(truth % 2, two[:, 1]))


def test_kl_agrees_with_scipy() -> None:
    rng = np.random.default_rng(3)
    soft, table = rng.multinomial(3, [0.25] * 4, 50) / 3, rng.dirichlet(np.ones(4), 50)
    assert (soft == 0).any()
    assert kl_to_annotators(soft, table) == pytest.approx(entropy(soft, table, axis=1).mean())
    assert kl_to_annotators(soft, soft) == pytest.approx(0)


def test_kl_is_finite_where_a_chosen_class_has_no_probability() -> None:
    assert kl_to_annotators([[0.0, 1.0]], [[1.0, 0.0]]) == pytest.approx(-np.log(FLOOR))


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"found \(0,\)"):
        ece([], [])
    with pytest.raises(ValueError, match=r"correct has shape \(1,\), expected one value for each of 2"):
        ece([[1, 0], [0, 1]], [True])
    with pytest.raises(ValueError, match="bins is 0"):
        ece([[1, 0]], [True], bins=0)
    with pytest.raises(ValueError, match="truth holds 2 to 2, expected 0 to 1"):
        brier([[1, 0]], [2])
    with pytest.raises(ValueError, match=r"soft has shape \(1, 3\), probabilities \(1, 2\)"):
        kl_to_annotators([[1, 0, 0]], [[1, 0]])
