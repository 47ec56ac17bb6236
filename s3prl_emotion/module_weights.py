"""Load weights into a module, and refuse those of another kind of number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


def check_kinds(module: nn.Module, weights: Mapping[str, Any]) -> None:
    """Refuse weights of another kind of number than the module has: torch converts them without a word.

    Those of a quantised model are whole numbers, which say nothing without their scales.

    Raises:
        RuntimeError: naming the first
    """
    for name, own in module.state_dict().items():
        given = weights.get(name)
        if isinstance(own, Tensor) and isinstance(given, Tensor) and _kind(own) != _kind(given):
            raise RuntimeError(
                f"{name} holds {given.dtype}, expected {own.dtype}: quantised, boolean or complex weights are not "
                "read. Take those in floating point"
            )


def load_weights(module: nn.Module, weights: Mapping[str, Any]) -> None:
    """``load_state_dict`` after :func:`check_kinds`.

    Raises:
        RuntimeError: naming what does not fit
    """
    check_kinds(module, weights)
    module.load_state_dict(dict(weights))


def _kind(value: Tensor) -> tuple[bool, bool]:
    """Whether it is one of floating-point numbers of at least 16 bits, and whether of real ones."""
    return value.is_floating_point() and value.element_size() > 1, value.is_complex()
