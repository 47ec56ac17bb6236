"""Calibration of probabilities: calibration error, Brier score, and distance from the annotators.

Probabilities have the shape (utterances, classes), classes in the order of the labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

BINS = 15
FLOOR = 1e-12
"""Smallest probability that enters a logarithm in :func:`kl_to_annotators`: at most 27.6 nats for one class."""


def ece(probabilities: npt.ArrayLike, correct: npt.ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error, in [0, 1]: how far confidence and accuracy are apart.

    An utterance's confidence is its largest probability. With B_m the utterances whose confidence lies in
    ((m - 1) / M, m / M]: ECE = sum_m |B_m| / N · |accuracy(B_m) - mean confidence(B_m)| (Guo et al., On Calibration of
    Modern Neural Networks, ICML 2017, equation 3).

    Args:
        probabilities: shape (utterances, classes)
        correct: for each utterance whether its prediction is right
        bins: M, the number of bins of equal width

    Raises:
        ValueError: if the shapes disagree, there is no utterance, or ``bins`` is not positive

    Example:
        >>> round(ece([[0.9, 0.1], [0.8, 0.2]], [True, False]), 4)
        0.45
    """
    table = _table(probabilities)
    right = np.asarray(correct, dtype=np.float64)
    if right.shape != table.shape[:1]:
        raise ValueError(f"correct has shape {right.shape}, expected one value for each of {len(table)} utterances")
    if bins < 1:
        raise ValueError(f"bins is {bins}, expected at least 1")
    confidence = table.max(axis=1)
    inner_edges = np.arange(1, bins) / bins
    bin_of = np.digitize(confidence, inner_edges, right=True)
    gap = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(table))


def brier(probabilities: npt.ArrayLike, truth: Sequence[int] | npt.NDArray[np.integer]) -> float:
    """Brier score over all classes, in [0, 2]; 0 is perfect.

    The mean over utterances of sum_k (p_k - y_k)², y the one-hot truth: the definition of Brier (1950), which with two
    classes is twice the one-class form that some libraries use.

    Args:
        probabilities: shape (utterances, classes)
        truth: the index of each utterance's true class

    Raises:
        ValueError: if the shapes disagree, there is no utterance, or an index is no class

    Example:
        >>> round(brier([[0.8, 0.2]], [0]), 4)
        0.08
    """
    table = _table(probabilities)
    index = np.asarray(truth)
    if index.shape != table.shape[:1]:
        raise ValueError(f"truth has shape {index.shape}, expected one class for each of {len(table)} utterances")
    if index.min() < 0 or index.max() >= table.shape[1]:
        raise ValueError(f"truth holds {index.min()} to {index.max()}, expected 0 to {table.shape[1] - 1}")
    return float(np.square(table - np.eye(table.shape[1])[index]).sum(axis=1).mean())


def kl_to_annotators(soft: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Mean Kullback-Leibler divergence of the probabilities p from the annotators' rates s, in nats.

    The mean over utterances of sum_k s_k ln(s_k / max(p_k, 1e-12)); a class that no annotator chose adds 0.

    Args:
        soft: annotators' rates, shape (utterances, classes); each row sums to 1
        probabilities: the same shape

    Raises:
        ValueError: if the shapes disagree or there is no utterance

    Example:
        >>> round(kl_to_annotators([[0.5, 0.5]], [[0.9, 0.1]]), 4)
        0.5108
    """
    rates, table = _table(soft), _table(probabilities)
    if rates.shape != table.shape:
        raise ValueError(f"soft has shape {rates.shape}, probabilities {table.shape}: expected the same")
    chosen = rates > 0
    terms = np.where(chosen, rates, 1.0) * np.log(np.where(chosen, rates, 1.0) / np.maximum(table, FLOOR))
    return float(np.where(chosen, terms, 0.0).sum(axis=1).mean())


def _table(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"expected numbers of shape (utterances, classes), at least one each, found {table.shape}")
    return table
