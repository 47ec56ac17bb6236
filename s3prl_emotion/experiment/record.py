"""``run.json`` and ``fold.json``: what a run is for, and what its finished folds are, read with every key checked."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import RunError
from s3prl_emotion.files import parse_json
from s3prl_emotion.protocols.seal import MADE, check_seal, seal
from s3prl_emotion.protocols.split import Folds
from s3prl_emotion.runs.prediction import Prediction, read_predictions

logger = logging.getLogger(__name__)

RUN_FILE = "run.json"
FOLD_FILE = "fold.json"
UPSTREAM_FILE = "upstream.json"
PREDICTIONS = "predictions.csv"

_TEXT, _OPTIONAL_TEXT, _OBJECT = (str,), (str, type(None)), (dict,)
_RUN_KEYS: dict[str, tuple[type, ...]] = {
    "upstream": _TEXT,
    "checkpoint_sha256": _OPTIONAL_TEXT,
    "downstream": _TEXT,
    "config": _OBJECT,
    "seed": (int,),
    "corpus": _OBJECT,
    "protocol": _TEXT,
    "settings": _OBJECT,
}
_RUN_OPTIONAL: dict[str, tuple[type, ...]] = {
    "checkpoint": _OPTIONAL_TEXT,
    "model_config_sha256": _OPTIONAL_TEXT,
    "trim_zeros": (bool,),
    MADE: _OBJECT,
}
_FOLD_KEYS: dict[str, tuple[type, ...]] = {
    "step": (int, type(None)),
    "dev_score": (int, float),
    "checkpoint_sha256": _TEXT,
    "predictions_sha256": _TEXT,
    "differs": (list,),
}
_FOLD_OPTIONAL: dict[str, tuple[type, ...]] = {"fold": (int,), "run_sha256": _OPTIONAL_TEXT, MADE: _OBJECT}


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        RunError: naming the file, if it is missing or holds something else
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path.parent}: not {what}: {path.name} is missing") from None
    except ValueError as error:
        raise RunError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def read_run_file(folder: Path) -> dict[str, Any]:
    """What a run folder is for.

    Raises:
        RunError: naming file and key, if something is missing or of another type
    """
    path = folder / RUN_FILE
    content = read_json(path, "a run folder")
    _check_types(content, _RUN_KEYS, _RUN_OPTIONAL, path, "restore it, or start anew in another folder")
    for key in ("runner", "downstream_expert"):
        if not isinstance(content["config"].get(key), dict):
            raise RunError(f"{path}: key 'config.{key}': expected an object, found {content['config'].get(key)!r}")
    deviations = content["settings"].get("deviations")
    if not isinstance(deviations, list) or not all(isinstance(item, str) for item in deviations):
        raise RunError(f"{path}: key 'settings.deviations': expected a list of texts, found {deviations!r}")
    return content


def read_fold_file(path: Path) -> dict[str, Any]:
    """What a finished fold is: the file ``fold.json``.

    Raises:
        RunError: naming file and key, if something is missing or of another type
    """
    content = read_json(path, "a finished fold")
    remedy = "score the fold again: repeat the command that trained it with -m evaluate"
    _check_types(content, _FOLD_KEYS, _FOLD_OPTIONAL, path, remedy)
    if not math.isfinite(content["dev_score"]):
        raise RunError(f"{path}: key 'dev_score': expected a finite number, found {content['dev_score']!r}")
    if not all(isinstance(item, str) for item in content["differs"]):
        raise RunError(f"{path}: key 'differs': expected texts, found {content['differs']!r}")
    return content


def _check_types(
    content: Mapping[str, Any],
    needed: Mapping[str, tuple[type, ...]],
    optional: Mapping[str, tuple[type, ...]],
    path: Path,
    remedy: str,
) -> None:
    for key, kinds in {**needed, **optional}.items():
        if key not in content:
            if key in needed:
                raise RunError(f"{path}: key {key!r} is missing: {remedy}")
            continue
        value = content[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise RunError(f"{path}: key {key!r}: expected {expected}, found {str(value)[:80]!r}: {remedy}")


def run_sha256(about: Mapping[str, Any]) -> str:
    """The hash of what a run is for, less where its files were."""
    corpus = {key: value for key, value in about.get("corpus", {}).items() if key != "data"}
    content = {**{key: value for key, value in about.items() if key != "checkpoint"}, "corpus": corpus}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8")).hexdigest()


def fold_seal(expdir: Path, number: int) -> dict[str, Any]:
    """What ties a finished fold to its run: its number, and the hashes of run, manifest and folds."""
    run_folder = expdir.absolute().parent
    if not (run_folder / RUN_FILE).is_file():
        return {"fold": number}
    about = read_run_file(run_folder)
    manifest, folds = Manifest.read(run_folder / "manifest.jsonl"), Folds.read(run_folder / "folds.json")
    return {"fold": number, "run_sha256": run_sha256(about), MADE: seal(manifest, folds)}


def finished_fold(expdir: Path, number: int, about: Mapping[str, Any], manifest: Manifest, folds: Folds) -> Any:
    """The record of a finished fold, if it is of this run, and of this fold.

    Raises:
        RunError: if it is another run's, or a copy of another fold
    """
    path = expdir / FOLD_FILE
    finished = read_fold_file(path)
    if finished.get("fold", number) != number:
        raise RunError(
            f"{path}: is the record of fold {finished['fold']}, not of fold {number}: the folder was copied or renamed"
            ". Take it away, or restore its name"
        )
    run = finished.get("run_sha256")
    if run is not None and run != run_sha256(about):
        raise RunError(
            f"{path}: the fold is of a run with other settings than those of {expdir.parent / RUN_FILE}: one of the "
            "two was copied here or edited. Restore it, or score the fold again: repeat the command that trained it "
            "with -m evaluate"
        )
    check_seal(finished.get(MADE), manifest, folds, expdir.parent, str(path))
    return finished


def fold_predictions(
    expdir: Path, finished: Mapping[str, Any], labels: Sequence[str], test: Sequence[str]
) -> list[Prediction]:
    """The predictions of a finished fold.

    Raises:
        RunError: if they were changed, are of other classes, or not of exactly the test utterances
    """
    path = expdir / PREDICTIONS
    rows, found = read_predictions(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != finished["predictions_sha256"]:
        raise RunError(f"{path} was changed after the fold ended: score it again with -m evaluate")
    if list(found) != list(labels):
        raise RunError(
            f"{path} has the classes {', '.join(found)}, the run's manifest.jsonl {', '.join(labels)}: one of the two "
            "was edited. Restore it"
        )
    if sorted(row.utterance for row in rows) != sorted(test):
        raise RunError(f"{path} does not hold exactly the {len(test)} test utterances")
    return rows
