"""What the values of a record are, with the words that a message has for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from s3prl_emotion.mapping import Check


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
