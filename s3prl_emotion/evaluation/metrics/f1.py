"""Macro-F1. F1 of class i: 2 n_ii / (sum_j n_ij + sum_j n_ji), with n_ij utterances of class i predicted as j."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from s3prl_emotion.evaluation.metrics._base import L, Matrices, Rate, Rates, mean_of_known, ratio, register


def macro_f1_of_confusion(matrices: Matrices) -> Rates:
    """Macro-F1 of each confusion matrix, shape (...) from (..., K, K); NaN where a matrix is empty."""
    occurrences = np.sum(matrices, axis=-1) + np.sum(matrices, axis=-2)
    return mean_of_known(ratio(2 * np.diagonal(matrices, axis1=-2, axis2=-1), occurrences))


MACRO_F1 = register(Rate("macro_f1", "macro-F1", place=3, of_confusion=macro_f1_of_confusion, hub="f1"))


def macro_f1(truth: Sequence[L], predicted: Sequence[L], labels: Sequence[L]) -> float:
    """Mean of the per-class F1 over ``labels``, in [0, 1].

    A class that occurs neither in the truth nor among the predictions has no F1 and is left out; one that occurs on
    one side only counts as 0.

    Raises:
        ValueError: as :func:`confusion_matrix`

    Example:
        >>> round(macro_f1(["a", "a", "a", "b"], ["a", "a", "a", "a"], ["a", "b"]), 4)
        0.4286
    """
    return MACRO_F1(truth, predicted, labels)
