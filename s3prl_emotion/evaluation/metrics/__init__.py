"""Metrics: rates over a fixed label list, on top of the confusion matrix, and what probabilities are worth.

A new metric is an entry in a file here; results.json, tables, exports, comparisons and ``--metric`` take it from the
registry:

.. code-block:: python

    from s3prl_emotion.evaluation.metrics import Matrices, Rate, Rates, recalls_of_confusion, register


    def worst_recall(matrices: Matrices) -> Rates:
        return np.nanmin(recalls_of_confusion(matrices), axis=-1)


    register(Rate("worst_recall", "worst recall", of_confusion=worst_recall))

Each rate is defined once, for any number of matrices at once; the functions that take labels go through it. The label
list is an argument everywhere: a class list inferred from the data would change the meaning of UA and macro-F1 from
fold to fold. ``tests/evaluation`` holds every registered metric to the contract that :class:`Rate` and
:class:`Measure` state.
"""

from __future__ import annotations

from s3prl_emotion.evaluation.metrics._base import (
    Matrices,
    Measure,
    Metric,
    Rate,
    Rates,
    columns,
    confusion_matrix,
    mean_of_known,
    measures,
    metrics,
    rates,
    ratio,
    register,
)
from s3prl_emotion.evaluation.metrics.confusion import macro_f1, recalls, recalls_of_confusion, ua, ua_plus_wa, wa

__all__ = [
    "Matrices",
    "Measure",
    "Metric",
    "Rate",
    "Rates",
    "columns",
    "confusion_matrix",
    "macro_f1",
    "mean_of_known",
    "measures",
    "metrics",
    "rates",
    "ratio",
    "recalls",
    "recalls_of_confusion",
    "register",
    "ua",
    "ua_plus_wa",
    "wa",
]
