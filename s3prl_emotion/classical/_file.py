"""A fitted model as a file that executes nothing: what it was fitted on, and how; reading it fits it again.

Pickles, which the libraries save themselves by, execute what they hold. A fit is a function of training vectors,
labels, hyperparameters and seed, so these are kept, in safetensors, with what the model answered to some of them.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3prl_emotion.classical import Choice, classifiers
from s3prl_emotion.classical._model import Model
from s3prl_emotion.config import check_plain, from_mapping, shown
from s3prl_emotion.errors import RunError
from s3prl_emotion.files import check_safetensors, parse_json, replacing
from s3prl_emotion.mapping import to_mapping

logger = logging.getLogger(__name__)

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
