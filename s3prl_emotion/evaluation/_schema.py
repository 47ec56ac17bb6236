"""What a record of schema 1 must hold, so that nothing behind it meets a value of another kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from s3prl_emotion.errors import RunError

SCHEMA = 1
RATES = ("ua", "wa", "macro_f1")

_KEYS = (
    *("schema", "upstream", "checkpoint_sha256", "downstream", "corpus", "protocol", "folds", *RATES, "confusion"),
    *("seed", "versions", "ci95_method", "complete", "folds_expected", "chance", "settings"),
)
_NESTED_KEYS = {
    "protocol": ("name", "split_sha256", "dev", "selection", "labels", "transductive"),
    **dict.fromkeys(RATES, ("mean", "std", "ci95")),
}
_FOLD_KEYS = ("fold", "n", *RATES, "step")
_SHOWN = 120  # characters of a value that a message repeats


def check_results(results: Any, where: str) -> None:
    """Check names, kinds and shapes against schema 1; further keys are allowed.

    Raises:
        RunError: naming the key, what was expected and what was found
    """
    _need(_is_mapping, results, where, "a mapping of keys to values")
    if results.get("schema") != SCHEMA or isinstance(results.get("schema"), bool):
        raise RunError(
            f"{where}: has schema {_short(results.get('schema'))}, this version reads and writes schema {SCHEMA}"
        )
    _need_keys(results, _KEYS, where)
    for key, nested in _NESTED_KEYS.items():
        _need_keys(results[key], nested, f"{where}: {key}")
    for key in ("upstream", "downstream", "corpus", "ci95_method"):
        _need(_is_text, results[key], f"{where}: {key}", "a text")
    for key in ("checkpoint_sha256", "corpus_name"):
        _need(_or_none(_is_text), results.get(key), f"{where}: {key}", "a text or null")
    _need(_is_whole, results["seed"], f"{where}: seed", "a whole number")
    _need(_is_truth, results["complete"], f"{where}: complete", "true or false")
    _need(_is_mapping, results["versions"], f"{where}: versions", "a mapping")
    _need(_is_fraction, results["chance"], f"{where}: chance", "a fraction in [0, 1]")
    expected = results["folds_expected"]
    if not _is_list(expected) or not expected or not all(map(_is_whole, expected)):
        _refuse(expected, f"{where}: folds_expected", "a list of whole numbers")
    _check_protocol(results["protocol"], f"{where}: protocol")
    _check_folds(results["folds"], f"{where}: folds")
    for rate in RATES:
        for key in ("ci95", "ci95_folds"):
            _need(_or_none(_is_interval), results[rate].get(key), f"{where}: {rate}.{key}", "two numbers or null")
        _need(_or_none(_is_number), results[rate]["std"], f"{where}: {rate}.std", "a number or null")
        _need(_is_fraction, results[rate]["mean"], f"{where}: {rate}.mean", "a fraction in [0, 1]")
    _check_settings(results["settings"], f"{where}: settings")
    _check_confusion(results["confusion"], len(results["protocol"]["labels"]), where)


def _check_protocol(protocol: Mapping[str, Any], where: str) -> None:
    labels = protocol["labels"]
    if not _is_list(labels) or not labels or not all(_is_text(label) and label for label in labels):
        _refuse(labels, f"{where}.labels", "a list of texts")
    if len(set(labels)) != len(labels):
        _refuse(labels, f"{where}.labels", "different texts")
    for key in ("name", "split_sha256", "dev", "selection"):
        _need(_is_text, protocol[key], f"{where}.{key}", "a text")
    _need(_or_none(_is_text), protocol.get("sha256"), f"{where}.sha256", "a text or null")
    for key, usual in (("transductive", False), ("selection_on_test", False), ("speaker_disjoint_test", True)):
        _need(_is_truth, protocol.get(key, usual), f"{where}.{key}", "true or false")

    _need(_or_none(_is_text), protocol.get("order"), f"{where}.order", "a text or null")
    for item in _need_list(protocol.get("lacking") or [], f"{where}.lacking"):
        _need_keys(item, ("fold", "part", "classes"), f"{where}.lacking")
        _need(_is_text, item["part"], f"{where}.lacking.part", "a text")
        if not _is_list(item["classes"]) or not all(map(_is_text, item["classes"])):
            _refuse(item["classes"], f"{where}.lacking.classes", "a list of texts")


def _check_folds(folds: Any, where: str) -> None:
    if not _is_list(folds) or not folds:
        _refuse(folds, where, "a list with at least one fold")
    for position, fold in enumerate(folds):
        here = f"{where}[{position}]"
        _need_keys(fold, _FOLD_KEYS, here)
        for key in ("fold", "n"):
            _need(_is_whole, fold[key], f"{here}.{key}", "a whole number")
        _need(_or_none(_is_whole), fold["step"], f"{here}.step", "a whole number or null")
        for rate in RATES:
            _need(_is_fraction, fold[rate], f"{here}.{rate}", "a fraction in [0, 1]")
    numbers = [fold["fold"] for fold in folds]
    if len(set(numbers)) != len(numbers):
        _refuse(numbers, where, "each fold once")


def _check_settings(settings: Any, where: str) -> None:
    _need(_or_none(_is_mapping), settings, where, "a mapping or null")
    deviations, file = (settings or {}).get("deviations", []), (settings or {}).get("file")
    if not _is_list(deviations) or not all(map(_is_text, deviations)):
        _refuse(deviations, f"{where}.deviations", "a list of texts")
    _need(_or_none(_is_mapping), file, f"{where}.file", "a mapping or null")


def _check_confusion(confusion: Any, size: int, where: str) -> None:
    if not _is_list(confusion) or not all(map(_is_list, confusion)):
        _refuse(confusion, f"{where}: confusion", "a list of lists")
    shape = [len(row) for row in confusion]
    if shape != [size] * size:
        raise RunError(f"{where}: confusion: expected {size} rows of {size} for {size} labels, found rows of {shape}")
    for row in confusion:
        if not all(_is_whole(value) and value >= 0 for value in row):
            _refuse(row, f"{where}: confusion", "whole numbers from 0 upwards")


def _need_keys(mapping: Any, keys: Sequence[str], where: str) -> None:
    _need(_is_mapping, mapping, where, "a mapping of keys to values")
    missing = [key for key in keys if key not in mapping]
    if missing:
        raise RunError(f"{where}: missing {', '.join(missing)} of schema {SCHEMA}")


def _need(check: Callable[[Any], bool], value: Any, where: str, expected: str) -> None:
    if not check(value):
        _refuse(value, where, expected)


def _need_list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        _refuse(value, where, "a list")
    return list(value)


def _refuse(value: Any, where: str, expected: str) -> None:
    found = f"{type(value).__name__} {_short(value)}" if isinstance(value, (list, Mapping)) else _short(value)
    raise RunError(f"{where}: expected {expected}, found {found}")


def _short(value: Any) -> str:
    if _is_whole(value) and abs(value) >= 10**_SHOWN:
        return "a number of more than 120 digits"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_interval(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
