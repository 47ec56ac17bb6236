"""Base classes of metrics, their registry, and the confusion matrix that rates are computed from."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from s3prl_emotion.registry import Registry
from s3prl_emotion.runs.prediction import Prediction

L = TypeVar("L", bound=Hashable)
M = TypeVar("M", bound="Metric")
Matrices = npt.NDArray[Any]
Rates = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """A number that says how good predictions are. Its smallest value is 0.

    Raises:
        ValueError: if ``upper`` is not positive
    """

    name: str  # in results.json, and of --metric
    title: str  # printed
    upper: float = 1.0  # largest possible value; infinite where there is none
    place: int = 100  # among the others, wherever several stand beside each other; the smallest first
    text: str = "{percent:.2f}"  # how a value is printed: of {value}, and {percent}, 100 times it

    def __post_init__(self) -> None:
        if not self.upper > 0:
            raise ValueError(f"metric {self.name}: upper must be above 0, found {self.upper}")

    def shown(self, value: float) -> str:
        """A value as it is printed."""
        return self.text.format(value=value, percent=100 * value)


@dataclass(frozen=True, kw_only=True)
class Rate(Metric):
    """A metric of the confusion matrix, summarised over folds with spread and intervals; larger is better.

    Its function takes counts, or weighted counts, of shape (..., K, K), truth in rows, to values of shape (...); NaN
    where a matrix is empty.
    """

    of_confusion: Callable[[Matrices], Rates]
    meaning: str = ""  # of the title, in a few words, for a model card
    hub: str | None = None  # what the Hub's index of models calls it; None where it is not listed there
    column: bool = True  # has a column in tables and a value in each fold's record, and is a choice of --metric

    def __call__(self, truth: Sequence[L], predicted: Sequence[L], labels: Sequence[L]) -> float:
        """The rate of some predictions.

        Raises:
            ValueError: as :func:`confusion_matrix`
        """
        return float(self.of_confusion(confusion_matrix(truth, predicted, labels)))


@dataclass(frozen=True, kw_only=True)
class Measure(Metric):
    """A metric of all utterances together, from their probabilities; smaller is better.

    Its function takes predictions, at least one, and all classes; None where it cannot be known.
    """

    of_predictions: Callable[[Sequence[Prediction], Sequence[str]], float | None]


metrics: Registry[Metric] = Registry("metric", "s3prl_emotion.evaluation.metrics")


def register(metric: M) -> M:
    """Enter a metric under its name.

    Raises:
        ValueError: if another metric holds the name
    """
    metrics.register(metric.name)(metric)
    return metric


def rates() -> dict[str, Rate]:
    """All metrics of the confusion matrix by name, in their order."""
    return {metric.name: metric for metric in _in_order() if isinstance(metric, Rate)}


def columns() -> dict[str, Rate]:
    """Those of them that have a column in tables."""
    return {name: rate for name, rate in rates().items() if rate.column}


def measures() -> dict[str, Measure]:
    """All metrics of probabilities by name, in their order."""
    return {metric.name: metric for metric in _in_order() if isinstance(metric, Measure)}


def _in_order() -> list[Metric]:
    return sorted(map(metrics.get, metrics.names()), key=lambda metric: (metric.place, metric.name))


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


def ratio(part: Matrices, whole: Matrices) -> Rates:
    """``part / whole``, NaN where ``whole`` is 0."""
    whole = np.asarray(whole, dtype=np.float64)
    rates: Rates = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return rates


def mean_of_known(values: Rates) -> Rates:
    """Mean over the last axis without NaN; NaN where nothing is known."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))
