"""Rates of a confusion matrix: UA, WA, recalls, F1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from s3prl_emotion.evaluation.metrics._base import (
    L,
    Matrices,
    Rate,
    Rates,
    confusion_matrix,
    mean_of_known,
    ratio,
    register,
)

# WA, UA and their sum, and the recalls that UA is the mean of.
#
# With n_ij the number of utterances of class i that were predicted as class j and N their total:
#
# - recall of class i: n_ii / sum_j n_ij
# - WA, weighted accuracy, which is plain accuracy: sum_i n_ii / N
# - UA, unweighted accuracy: mean of the recalls over the classes that occur in the truth
# - UA + WA: their sum, in [0, 2] (arXiv 2312.11503)


def wa_of_confusion(matrices: Matrices) -> Rates:
    """WA of each confusion matrix.

    Args:
        matrices: counts, or weighted counts, of shape (..., K, K)

    Returns:
        fractions of shape (...); NaN where a matrix is empty
    """
    return ratio(np.trace(matrices, axis1=-2, axis2=-1), np.sum(matrices, axis=(-2, -1)))


def recalls_of_confusion(matrices: Matrices) -> Rates:
    """Recalls of each confusion matrix, shape (..., K) from (..., K, K); NaN for a class that its truth lacks."""
    return ratio(np.diagonal(matrices, axis1=-2, axis2=-1), np.sum(matrices, axis=-1))


def ua_of_confusion(matrices: Matrices) -> Rates:
    """UA of each confusion matrix, shape (...) from (..., K, K); NaN where a matrix is empty."""
    return mean_of_known(recalls_of_confusion(matrices))


def ua_plus_wa_of_confusion(matrices: Matrices) -> Rates:
    """UA + WA of each confusion matrix, in [0, 2], shape (...) from (..., K, K); NaN where a matrix is empty."""
    return ua_of_confusion(matrices) + wa_of_confusion(matrices)


UA = register(
    Rate("ua", "UA", place=1, of_confusion=ua_of_confusion, meaning="mean of per-class recalls", hub="recall")
)
WA = register(Rate("wa", "WA", place=2, of_confusion=wa_of_confusion, meaning="accuracy", hub="accuracy"))
UA_PLUS_WA = register(
    Rate("ua_plus_wa", "UA + WA", upper=2.0, place=4, of_confusion=ua_plus_wa_of_confusion, column=False)
)


def wa(truth: Sequence[L], predicted: Sequence[L], labels: Sequence[L]) -> float:
    """Weighted accuracy, which is plain accuracy: correct predictions over all predictions, in [0, 1].

    Raises:
        ValueError: as :func:`confusion_matrix`

    Example:
        >>> wa(["a", "a", "a", "b"], ["a", "a", "a", "a"], ["a", "b"])
        0.75
    """
    return WA(truth, predicted, labels)


def recalls(truth: Sequence[L], predicted: Sequence[L], labels: Sequence[L]) -> dict[L, float]:
    """Recall of each class that occurs in the truth, in [0, 1], in the order of ``labels``.

    A class that does not occur in the truth has no recall and no entry.

    Raises:
        ValueError: as :func:`confusion_matrix`

    Example:
        >>> recalls(["a", "a"], ["a", "b"], ["a", "b"])
        {'a': 0.5}
    """
    values = recalls_of_confusion(confusion_matrix(truth, predicted, labels))
    return {label: float(value) for label, value in zip(labels, values, strict=True) if not np.isnan(value)}


def ua(truth: Sequence[L], predicted: Sequence[L], labels: Sequence[L]) -> float:
    """Unweighted accuracy: the mean of the per-class recalls, in [0, 1].

    The mean runs over the classes of ``labels`` that occur in the truth. A class that occurs only among the
    predictions lowers the recall of others and is not averaged in.

    Raises:
        ValueError: as :func:`confusion_matrix`

    Example:
        >>> ua(["a", "a", "a", "b"], ["a", "a", "a", "a"], ["a", "b"])
        0.5
    """
    return UA(truth, predicted, labels)


def ua_plus_wa(truth: Sequence[L], predicted: Sequence[L], labels: Sequence[L]) -> float:
    """The sum of UA and WA, in [0, 2].

    Raises:
        ValueError: as :func:`confusion_matrix`

    Example:
        >>> ua_plus_wa(["a", "a", "a", "b"], ["a", "a", "a", "a"], ["a", "b"])
        1.25
    """
    return UA_PLUS_WA(truth, predicted, labels)


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
