"""Metrics against hand-computed values and against scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sk

from s3prl_emotion.evaluation.metrics import confusion_matrix, macro_f1, rates, recalls, ua, ua_plus_wa, wa

LABELS = ["neutral", "happy", "angry", "sad"]

# Four classes, 10 utterances: neutral 4 of 5, happy 1 of 3, angry 0 of 1, sad 1 of 1.
TRUTH = ["neutral"] * 5 + ["happy"] * 3 + ["angry"] + ["sad"]
PREDICTED = ["neutral"] * 4 + ["happy"] + ["happy", "neutral", "angry"] + ["sad"] + ["sad"]


def test_confusion_matrix_by_hand() -> None:
    assert confusion_matrix(TRUTH, PREDICTED, LABELS).tolist() == [
        [4, 1, 0, 0],
        [1, 1, 1, 0],
        [0, 0, 0, 1],
        [0, 0, 0, 1],
    ]


def test_rates_by_hand() -> None:
    assert wa(TRUTH, PREDICTED, LABELS) == pytest.approx(6 / 10)
    assert recalls(TRUTH, PREDICTED, LABELS) == pytest.approx({"neutral": 4 / 5, "happy": 1 / 3, "angry": 0, "sad": 1})
    assert ua(TRUTH, PREDICTED, LABELS) == pytest.approx((4 / 5 + 1 / 3 + 0 + 1) / 4)
    assert ua_plus_wa(TRUTH, PREDICTED, LABELS) == pytest.approx(6 / 10 + (4 / 5 + 1 / 3 + 0 + 1) / 4)
    # F1 = 2 TP / (row + column): neutral 8/10, happy 2/5, angry 0/2, sad 2/3
    assert macro_f1(TRUTH, PREDICTED, LABELS) == pytest.approx((0.8 + 0.4 + 0 + 2 / 3) / 4)


def test_ua_and_wa_are_not_swapped() -> None:
    truth, predicted = ["a"] * 9 + ["b"], ["a"] * 10
    assert wa(truth, predicted, ["a", "b"]) == pytest.approx(0.9)
    assert ua(truth, predicted, ["a", "b"]) == pytest.approx(0.5)


def test_class_absent_from_truth_has_no_recall_even_if_predicted() -> None:
    truth, predicted = ["a", "a", "b", "b"], ["a", "c", "b", "b"]
    assert recalls(truth, predicted, ["a", "b", "c", "d"]) == {"a": 0.5, "b": 1.0}
    assert ua(truth, predicted, ["a", "b", "c", "d"]) == pytest.approx(0.75)
    # c counts as 0 in macro-F1, since it was predicted; d occurs nowhere and is left out
    assert macro_f1(truth, predicted, ["a", "b", "c", "d"]) == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_order_of_labels_moves_only_the_matrix() -> None:
    turned = LABELS[::-1]
    assert confusion_matrix(TRUTH, PREDICTED, turned).tolist() != confusion_matrix(TRUTH, PREDICTED, LABELS).tolist()
    for rate in (ua, wa, macro_f1):
        assert rate(TRUTH, PREDICTED, turned) == pytest.approx(rate(TRUTH, PREDICTED, LABELS))


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = list("abcdefg")
    size = int(rng.integers(1, 60))
    truth = rng.choice(labels[: int(rng.integers(1, 8))], size).tolist()  # later classes are often missing
    predicted = rng.choice(labels[int(rng.integers(0, 6)) :], size).tolist()
    in_truth = [label for label in labels if label in truth]
    in_either = [label for label in labels if label in truth or label in predicted]

    assert confusion_matrix(truth, predicted, labels).tolist() == (
        sk.confusion_matrix(truth, predicted, labels=labels).tolist()
    )
    assert wa(truth, predicted, labels) == pytest.approx(sk.accuracy_score(truth, predicted))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # scikit-learn remarks on predicted classes without truth
        assert ua(truth, predicted, labels) == pytest.approx(sk.balanced_accuracy_score(truth, predicted))
    expected = sk.recall_score(truth, predicted, labels=in_truth, average=None, zero_division=0)
    assert recalls(truth, predicted, labels) == pytest.approx(dict(zip(in_truth, expected, strict=True)))
    assert macro_f1(truth, predicted, labels) == pytest.approx(
        sk.f1_score(truth, predicted, labels=in_either, average="macro", zero_division=0)
    )


@pytest.mark.parametrize(("name", "rate"), [("ua", ua), ("wa", wa), ("macro_f1", macro_f1), ("ua_plus_wa", ua_plus_wa)])
def test_several_matrices_at_once(name: str, rate: Callable[..., float]) -> None:
    rng = np.random.default_rng(0)
    labels = ["a", "b", "c"]
    pairs = [(rng.choice(labels[:k], 9).tolist(), rng.choice(labels, 9).tolist()) for k in (1, 2, 3)]
    stacked = np.stack([confusion_matrix(*pair, labels) for pair in pairs] + [np.zeros((3, 3), dtype=int)])
    values = rates()[name].of_confusion(stacked.reshape(2, 2, 3, 3))
    assert values.shape == (2, 2)
    assert values.ravel()[:3].tolist() == [rate(*pair, labels) for pair in pairs]
    assert np.isnan(values[1, 1])


@pytest.mark.parametrize("rate", [confusion_matrix, wa, ua, macro_f1, recalls])
def test_errors_name_both_sides(rate: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="truth and predicted differ in length: 3 != 4"):
        rate(["a"] * 3, ["a"] * 4, ["a"])
    with pytest.raises(ValueError, match=r"predicted\[1\] is 'x', which is not one of the labels \['a', 'b'\]"):
        rate(["a", "b"], ["a", "x"], ["a", "b"])
    with pytest.raises(ValueError, match=r"truth\[0\] is 'x'"):
        rate(["x"], ["a"], ["a"])
    with pytest.raises(ValueError, match="truth and predicted are empty"):
        rate([], [], ["a"])
    with pytest.raises(ValueError, match="labels is empty"):
        rate(["a"], ["a"], [])
    with pytest.raises(ValueError, match="holds a label twice"):
        rate(["a"], ["a"], ["a", "a"])
