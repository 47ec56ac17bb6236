"""Checks of the options that poolings share."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

#: ``paper``: the formula as published. ``released``: what the authors' code computes, faults included
Variant = Literal["paper", "released"]


def check_variant(value: Any) -> Variant:
    """Return ``value`` if it is a known variant.

    Raises:
        ValueError: if it is not
    """
    known: tuple[Variant, ...] = get_args(Variant)
    if value not in known:
        raise ValueError(f"variant must be one of {', '.join(known)}, got {value!r}")
    return known[known.index(value)]


def check_integer(name: str, value: Any, minimum: int) -> int:
    """Return ``value`` if it is a whole number of at least ``minimum``.

    Raises:
        ValueError: if it is not
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f"{name} must be a whole number of at least {minimum}, got {value!r}")
    return value


def check_probability(name: str, value: Any) -> float:
    """Return ``value`` if it is a number in [0, 1).

    Raises:
        ValueError: if it is not
    """
    if not _is_number(value) or not 0 <= value < 1:
        raise ValueError(f"{name} must be a number in [0, 1), got {value!r}")
    return float(value)


def check_positive(name: str, value: Any) -> float:
    """Return ``value`` if it is a finite number above zero.

    Raises:
        ValueError: if it is not; a number that YAML reads as text is named as such
    """
    if isinstance(value, str):
        raise ValueError(
            f"{name} must be a number above 0, got the text {value!r} (YAML wants a point: 1.0e-8, not 1e-8)"
        )
    if not _is_number(value) or not (0 < value < math.inf):
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
