"""Records of a run as JSON: fields, types and checks."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from s3prl_emotion.errors import RunError
from s3prl_emotion.files import parse_json
from s3prl_emotion.mapping import Check
from s3prl_emotion.protocols.integrity import MADE


def is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _are_texts(value: Any) -> bool:
    return is_list(value) and all(map(_is_text, value))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def is_fraction(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


Text = Annotated[str, Check(_is_text, "a text")]
Texts = Annotated[tuple[str, ...], Check(_are_texts, "a list of texts")]
Whole = Annotated[int, Check(_is_whole, "a whole number")]
Truth = Annotated[bool, Check(lambda value: isinstance(value, bool), "true or false")]
Number = Annotated[float, Check(is_number, "a number")]
Fraction = Annotated[float, Check(is_fraction, "a fraction in [0, 1]")]
Interval = Annotated[
    tuple[float, float],
    Check(lambda value: is_list(value) and len(value) == 2 and all(map(is_number, value)), "two numbers"),
]
Object = Annotated[dict[str, Any], Check(lambda value: isinstance(value, Mapping), "a mapping")]
Labels = Annotated[
    tuple[str, ...],
    Check(lambda value: _are_texts(value) and bool(value) and all(value), "a list of texts"),
    Check(lambda value: len(set(value)) == len(value), "different texts"),
]
Numbers = Annotated[
    tuple[int, ...],
    Check(lambda value: is_list(value) and bool(value) and all(map(_is_whole, value)), "a list of whole numbers"),
]
Matrix = Annotated[
    tuple[tuple[int, ...], ...],
    Check(lambda value: is_list(value) and all(map(is_list, value)), "a list of lists"),
    Check(
        lambda value: all(_is_whole(item) and item >= 0 for row in value for item in row),
        "whole numbers from 0 upwards",
    ),
]
Which = Annotated[str, Check(lambda value: value in ("mean", "pooled"), "mean or pooled")]


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
    "preparation": _OPTIONAL_TEXT,
    "text": _OBJECT,
    MADE: _OBJECT,
}
ONLY_IF_ASKED = ("preparation", "balance")
"""Keys of ``run.json`` that are there only where a run has it."""
_MADE_KEYS = ("manifest_sha256", "folds_sha256")
_FOLD_KEYS: dict[str, tuple[type, ...]] = {
    "step": (int, type(None)),
    "dev_score": (int, float),
    "checkpoint_sha256": _TEXT,
    "predictions_sha256": _TEXT,
    "differs": (list,),
}
_FOLD_OPTIONAL: dict[str, tuple[type, ...]] = {
    "fold": (int,),
    "run_sha256": _OPTIONAL_TEXT,
    "pretrained": _OBJECT,
    MADE: _OBJECT,
}


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


def read_run_file(path: Path) -> dict[str, Any]:
    """What a run folder is for: the file ``run.json``.

    Raises:
        RunError: naming file and key, if something is missing or of another type
    """
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
    for key, value in {**dict.fromkeys(_MADE_KEYS), **content[MADE]}.items() if MADE in content else ():
        if value is None:
            raise RunError(f"{path}: key '{MADE}.{key}' is missing: {remedy}")
        if not isinstance(value, str):
            raise RunError(f"{path}: key '{MADE}.{key}': expected str, found {str(value)[:80]!r}: {remedy}")


def run_sha256(about: Mapping[str, Any]) -> str:
    """The hash of what a run is for, less where its files were."""
    corpus = {key: value for key, value in about.get("corpus", {}).items() if key != "data"}
    content = {**{key: value for key, value in about.items() if key != "checkpoint"}, "corpus": corpus}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8")).hexdigest()


def differences(key: str, earlier: Any, now: Any) -> list[str]:
    """What differs between two plain values, by dotted key."""
    if isinstance(earlier, dict) and isinstance(now, dict):
        keys = sorted({*earlier, *now})
        return [line for name in keys for line in differences(f"{key}.{name}", earlier.get(name), now.get(name))]
    return [] if earlier == now else [f"{key} was {earlier!r} and is {now!r}"]
