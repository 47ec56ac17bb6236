"""A classifier with its standardisation, fitted on one fold's training part."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from s3prl_emotion.classical import Choice, classifiers
from s3prl_emotion.errors import RunError

logger = logging.getLogger(__name__)

ZERO = 1e-4
"""Features below this are those of an upstream whose time mean is zero: what is left is rounding in float32."""
ALIKE = 0.01
"""Below this share of their size, features of all utterances are the same but for the number of frames."""


def vectors(statistics: np.ndarray, choice: Choice) -> np.ndarray:
    """Statistics ``(utterances, layers, rows, width)`` to one vector for each utterance, in double precision.

    Returns:
        ``(utterances, rows * width)``; of "concat" ``(utterances, layers * rows * width)``

    Raises:
        RunError: if there is no such layer
    """
    count, layers = statistics.shape[:2]
    values = statistics.astype(np.float64)
    if choice.layer is not None:
        if choice.layer >= layers:
            raise RunError(f"--layers {choice.layer}: the upstream has layers 0 to {layers - 1}")
        values = values[:, choice.layer]
    elif choice.layers == "average":
        values = values.mean(axis=1)
    return values.reshape(count, -1)


class Model:
    """Standardisation and classifier, fitted.

    Labels are numbers from 0 to ``classes`` - 1. A class that the training part lacks gets the probability 0.

    Args:
        name: of the classifier
        options: its hyperparameters, beside the library's defaults
        seed: its random state
        x: training vectors ``(utterances, features)``
        y: their labels ``(utterances,)``
        classes: number of classes
        where: what is fitted, for messages

    Raises:
        RunError: if nothing can be learned from this
        ConfigError: if the classifier's library is not installed
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any],
        seed: int,
        x: np.ndarray,
        y: np.ndarray,
        classes: int,
        where: str = "the training part",
    ) -> None:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.name, self.options, self.seed, self.classes = name, dict(options), seed, classes
        self.width = x.shape[1]
        classifier = classifiers.get(name, where)
        classifier.check_installed(name)
        self.present, within = np.unique(y, return_inverse=True)
        _check(x, within, classifier.least, f"{where}: classifier {name!r}")
        self._pipeline = make_pipeline(StandardScaler(), classifier.make(seed, **options))
        with _warnings_told(where, name):
            self._pipeline.fit(x, within)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Vectors ``(utterances, features)`` to ``(utterances, classes)``; each row sums to 1."""
        found = np.zeros((len(x), self.classes))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # LightGBM's on names of features, of which there are none
            given = np.asarray(self._pipeline.predict_proba(x), dtype=np.float64)
        found[:, self.present] = given / given.sum(axis=1, keepdims=True)  # XGBoost's are float32
        return found


def tuned(
    name: str,
    seed: int,
    train: tuple[np.ndarray, np.ndarray],
    dev: tuple[np.ndarray, np.ndarray],
    labels: Sequence[str],
    score: Callable[..., float],
    where: str,
) -> Model:
    """The model whose hyperparameters are best on dev, out of the classifier's grid; of equal ones the first.

    Args:
        name: of the classifier
        seed: its random state
        train: vectors and labels
        dev: vectors and labels
        labels: all classes
        score: of truth, prediction and labels
        where: what is fitted, for messages

    Raises:
        RunError: as :class:`Model`, and without a dev set
    """
    if not len(dev[1]):
        raise RunError(f"{where}: --tune chooses on the dev set, which is empty; leave it out, or use another protocol")
    truth = [labels[index] for index in dev[1]]
    best: tuple[float, Model] | None = None
    for options in classifiers.get(name).candidates():
        model = Model(name, options, seed, *train, len(labels), where)
        found = score(truth, [labels[index] for index in model.probabilities(dev[0]).argmax(axis=1)], labels)
        logger.debug("%s: %s %s: dev %.4f", where, name, options, found)
        if best is None or found > best[0]:
            best = found, model
    if best is None:
        raise RunError(f"{where}: classifier {name!r} has nothing to choose from")
    return best[1]


def _check(x: np.ndarray, y: np.ndarray, least: int, where: str) -> None:
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise RunError(
            f"{where}: feature {column} of training utterance {row} is {x[row, column]}: check the audio and the "
            "upstream"
        )
    counts = np.bincount(y)
    if len(counts) < 2:
        raise RunError(f"{where}: the training part has one class only: nothing to tell apart. Use another protocol")
    if counts.min() < least:
        raise RunError(
            f"{where} divides each class of the training part into {least}, for its probabilities, and one class has "
            f"{counts.min()} utterance{'s' if counts.min() > 1 else ''} there. Use another classifier, or fewer classes"
        )
    if not (x != x[:1]).any() or np.abs(x).max() < ZERO:
        how = "constant" if np.abs(x).max() >= ZERO else "zero but for rounding"
        raise RunError(
            f"{where}: all {x.shape[1]} features are {how} over the {len(x)} training utterances: nothing to learn "
            "from. An upstream that normalises each utterance over time (fbank) leaves no time statistics; use one "
            "without that normalisation (fbank_no_cmvn)"
        )
    scale = np.abs(x).max(axis=0)
    if ((scale < ZERO) | (x.std(axis=0) < ALIKE * scale)).all():
        logger.warning(
            "%s: all %d features differ by less than %.0f %% between utterances: expect accuracy at chance. An "
            "upstream that normalises each utterance over time (fbank) leaves no time statistics; use one without that "
            "normalisation (fbank_no_cmvn)",
            where,
            x.shape[1],
            100 * ALIKE,
        )


@contextlib.contextmanager
def _warnings_told(where: str, name: str) -> Iterator[None]:
    """What the libraries warn of, once each, in one line of the log."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(str(item.message).split("\n")[0] for item in found):
        logger.info("%s: %s: %s", where, name, text)
