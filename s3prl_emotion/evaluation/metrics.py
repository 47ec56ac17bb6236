"""Rates over a fixed label list: UA, WA, macro-F1 and recalls, each a few lines on top of the confusion matrix.

With n_ij the number of utterances of class i that were predicted as class j and N their total:

- recall of class i: n_ii / sum_j n_ij
- WA, weighted accuracy, which is plain accuracy: sum_i n_ii / N
- UA, unweighted accuracy: mean of the recalls over the classes that occur in the truth
- F1 of class i: 2 n_ii / (sum_j n_ij + sum_j n_ji); macro-F1 is its mean
- UA + WA: their sum, in [0, 2] (arXiv 2312.11503)

The other rates are fractions in [0, 1]. Each is defined once, by its ``..._of_confusion``, for any number of matrices
at once; the functions that take labels go through it. The label list is an argument everywhere: a class list inferred
from the data would change the meaning of UA and macro-F1 from fold to fold.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

L = TypeVar("L", bound=Hashable)
Matrices = npt.NDArray[Any]
Rates = npt.NDArray[np.float64]


def confusion_matrix(truth: Sequence[L], predicted: Sequence[L], labels: Sequence[L]) -> npt.NDArray[np.int64]:
    """Count how often each class was predicted as each class.

    Args:
        truth: the true label of each utterance
        predicted: the predicted label of each utterance, in the same order
        labels: all K classes, in the order of the rows and columns

    Returns:
        integers of shape (K, K); rows are the truth, columns the prediction

    Raises:
        ValueError: if the two differ in length or are empty, if a label is not in ``labels``, or if ``labels`` is
            empty or holds a label twice

    Example:
        >>> confusion_matrix(["a", "a", "b"], ["a", "b", "b"], ["a", "b"]).tolist()
        [[1, 1], [0, 1]]
    """
    if len(truth) != len(predicted):
        raise ValueError(f"truth and predicted differ in length: {len(truth)} != {len(predicted)}")
    if len(labels) == 0:
        raise ValueError("labels is empty: name every class of the task")
    if len(truth) == 0:
        raise ValueError("truth and predicted are empty: there is nothing to score")
    index = {label: position for position, label in enumerate(labels)}
    if len(index) != len(labels):
        raise ValueError(f"labels holds a label twice: {list(labels)}")
    matrix = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for position, (true, guess) in enumerate(zip(truth, predicted, strict=True)):
        for side, label in (("truth", true), ("predicted", guess)):
            if label not in index:
                raise ValueError(f"{side}[{position}] is {label!r}, which is not one of the labels {list(labels)}")
        matrix[index[true], index[guess]] += 1
    return matrix


def wa_of_confusion(matrices: Matrices) -> Rates:
    """WA of each confusion matrix.

    Args:
        matrices: counts, or weighted counts, of shape (..., K, K)

    Returns:
        fractions of shape (...); NaN where a matrix is empty
    """
    return _ratio(np.trace(matrices, axis1=-2, axis2=-1), np.sum(matrices, axis=(-2, -1)))


def recalls_of_confusion(matrices: Matrices) -> Rates:
    """Recalls of each confusion matrix, shape (..., K) from (..., K, K); NaN for a class that its truth lacks."""
    return _ratio(np.diagonal(matrices, axis1=-2, axis2=-1), np.sum(matrices, axis=-1))


def ua_of_confusion(matrices: Matrices) -> Rates:
    """UA of each confusion matrix, shape (...) from (..., K, K); NaN where a matrix is empty."""
    return _mean_of_known(recalls_of_confusion(matrices))


def macro_f1_of_confusion(matrices: Matrices) -> Rates:
    """Macro-F1 of each confusion matrix, shape (...) from (..., K, K); NaN where a matrix is empty."""
    occurrences = np.sum(matrices, axis=-1) + np.sum(matrices, axis=-2)
    return _mean_of_known(_ratio(2 * np.diagonal(matrices, axis1=-2, axis2=-1), occurrences))


def ua_plus_wa_of_confusion(matrices: Matrices) -> Rates:
    """UA + WA of each confusion matrix, in [0, 2], shape (...) from (..., K, K); NaN where a matrix is empty."""
    return ua_of_confusion(matrices) + wa_of_confusion(matrices)


OF_CONFUSION = {
    "ua": ua_of_confusion,
    "wa": wa_of_confusion,
    "macro_f1": macro_f1_of_confusion,
    "ua_plus_wa": ua_plus_wa_of_confusion,
}
"""Every rate that is averaged over folds, by its name in ``results.json``."""


def wa(truth: Sequence[L], predicted: Sequence[L], labels: Sequence[L]) -> float:
    """Weighted accuracy, which is plain accuracy: correct predictions over all predictions, in [0, 1].

    Raises:
        ValueError: as :func:`confusion_matrix`

    Example:
        >>> wa(["a", "a", "a", "b"], ["a", "a", "a", "a"], ["a", "b"])
        0.75
    """
    return float(wa_of_confusion(confusion_matrix(truth, predicted, labels)))


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
    return float(ua_of_confusion(confusion_matrix(truth, predicted, labels)))


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
    return float(macro_f1_of_confusion(confusion_matrix(truth, predicted, labels)))


def ua_plus_wa(truth: Sequence[L], predicted: Sequence[L], labels: Sequence[L]) -> float:
    """The sum of UA and WA, in [0, 2].

    Raises:
        ValueError: as :func:`confusion_matrix`

    Example:
        >>> ua_plus_wa(["a", "a", "a", "b"], ["a", "a", "a", "a"], ["a", "b"])
        1.25
    """
    return float(ua_plus_wa_of_confusion(confusion_matrix(truth, predicted, labels)))


def _ratio(part: Matrices, whole: Matrices) -> Rates:
    """``part / whole``, NaN where ``whole`` is 0."""
    whole = np.asarray(whole, dtype=np.float64)
    rates: Rates = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return rates


def _mean_of_known(values: Rates) -> Rates:
    """Mean over the last axis without NaN; NaN where nothing is known."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))
