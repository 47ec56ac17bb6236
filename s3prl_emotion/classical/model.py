"""A fitted classifier of vectors, and its file ``classical.safetensors``."""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3prl_emotion.classical import Choice, classifiers
from s3prl_emotion.config import check_plain, from_mapping, shown
from s3prl_emotion.errors import RunError
from s3prl_emotion.files import check_safetensors, parse_json, replacing
from s3prl_emotion.mapping import to_mapping

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


# A fitted model as a file that executes nothing: what it was fitted on, and how; reading it fits it again.
#
# Pickles, which the libraries save themselves by, execute what they hold. A fit is a function of training vectors,
# labels, hyperparameters and seed, so these are kept, in safetensors, with what the model answered to some of them.

MODEL_FILE = "classical.safetensors"
FORMAT = "s3prl-emotion classical 1"
_ASKED = 16  # training vectors whose probabilities are kept
_TOLERANCE = 1e-6
_LARGEST = 100_000  # of an option: as many trees would never be fitted; the bound is ours


@dataclass(frozen=True)
class FittedOn:
    """What a model was fitted on."""

    upstream: str  # -u
    checkpoint: str | None  # -k
    model_config: str | None  # -g
    selection: str  # -s
    choice: Choice
    corpus: str
    labels: tuple[str, ...]
    fold: int


@dataclass(frozen=True)
class About:
    """What the file says beside its arrays."""

    classifier: str
    options: dict[str, Any]
    seed: int
    fitted_on: FittedOn
    versions: dict[str, str]


def write_model(path: Path, model: Model, x: np.ndarray, y: np.ndarray, fitted_on: FittedOn) -> None:
    """Write a model, atomically.

    Args:
        path: the file
        model: what was fitted
        x: training vectors
        y: their labels
        fitted_on: what they are of
    """
    from safetensors.numpy import save

    versions = classifiers.get(model.name).versions()
    about = About(model.name, model.options, model.seed, fitted_on, versions)
    arrays = {"x": np.ascontiguousarray(x), "y": y.astype(np.int64), "answers": model.probabilities(x[:_ASKED])}
    with replacing(path) as temporary:
        temporary.write_bytes(_in_order(save(arrays, {"format": FORMAT, "about": json.dumps(to_mapping(about))})))


def _in_order(content: bytes) -> bytes:
    """A file in safetensors format with the keys of its header in order: the library writes metadata in any."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensors begin at a multiple of eight
    return len(header).to_bytes(8, "little") + header + content[end:]


def read_model(path: Path) -> tuple[Model, About]:
    """Read a model, and fit it again. Nothing in the file is executed.

    Raises:
        RunError: naming the file, if it is torn, of another format, or does not fit itself
    """
    from safetensors import SafetensorError, safe_open

    try:
        check_safetensors(path)
        with safe_open(path, framework="numpy") as file:
            told = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read as safetensors: {error}. Restore it, or run the fold again") from error
    if told.get("format") != FORMAT or set(arrays) != {"x", "y", "answers"}:
        raise RunError(f"{path}: not a classical model of this version ({FORMAT})")
    try:
        content = parse_json(told.get("about", ""))
    except ValueError as error:
        raise RunError(f"{path}: 'about' is not JSON: {error}") from error
    about = from_mapping(About, content, f"{path}: about")
    check_plain(about.options, f"{path}: options")
    for name, value in about.options.items():
        if isinstance(value, (int, float)) and not abs(value) <= _LARGEST:
            raise RunError(f"{path}: option {shown(name)} is {shown(value)}, expected at most {_LARGEST}")
    x, y, answers = arrays["x"], arrays["y"], arrays["answers"]
    classes = len(about.fitted_on.labels)
    if (
        x.ndim != 2
        or not len(x)
        or x.dtype != np.float64
        or y.shape != x.shape[:1]
        or not ((y >= 0) & (y < classes)).all()
        or answers.shape != (min(len(x), _ASKED), classes)
    ):
        raise RunError(f"{path}: vectors, labels and answers do not fit each other: restore it, or run the fold again")
    try:
        model = Model(about.classifier, about.options, about.seed, x, y, classes, str(path))
    except (TypeError, ValueError) as error:  # the libraries' own, for options that they do not have
        raise RunError(f"{path}: {about.classifier} cannot be fitted with {about.options}: {error}") from error
    difference = float(np.abs(model.probabilities(x[:_ASKED]) - answers).max())
    if not difference <= _TOLERANCE:
        told_versions = ", ".join(f"{name} {version}" for name, version in about.versions.items())
        logger.warning(
            "%s: fitted again, it differs from the model that was scored (probabilities by up to %.2g): it was made "
            "with %s",
            path,
            difference,
            told_versions,
        )
    return model, about
