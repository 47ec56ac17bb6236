"""The optimiser that a configuration asks for, checked before S3PRL builds it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from s3prl_emotion.config import shown
from s3prl_emotion.errors import ConfigError, suggest

MAX_LEARNING_RATE = 1e3
"""Above it, float32 parameters are gone after a few steps; the bound is ours."""
OPTIMIZERS = ("Adam", "AdamW", "AdamW_with_schedule", "BertAdam_with_schedule", "Lamb_with_schedule", "TorchOptim")
"""S3PRL's ``get_<name>`` functions, which it finds by evaluating the name."""


def check_optimizer(optimizer: Any, where: str) -> dict[str, Any]:
    """Check a ``optimizer`` mapping against S3PRL's ``get_<name>`` functions and torch's optimisers.

    Whether S3PRL's Runner can work with it is tried in :mod:`s3prl_emotion.s3prl_runner.validation`.
    """
    import torch
    from torch.optim import Optimizer

    if not isinstance(optimizer, Mapping) or "name" not in optimizer:
        raise ConfigError(f"{where}: expected a mapping with a 'name', found {shown(optimizer)}")
    checked = {key: value if key in _NAMES else as_number(value) for key, value in optimizer.items()}
    name = checked["name"]
    if name not in OPTIMIZERS:
        raise ConfigError(f"{where}: unknown optimizer {shown(name)}. {suggest(str(name)[:80], OPTIMIZERS)}")
    if name.endswith("_with_schedule"):
        raise ConfigError(
            f"{where}: {name} keeps its schedule in checkpoints as code, which none may hold here: use TorchOptim with "
            "torch_optim_name: AdamW, and scheduler: {name: linear_schedule_with_warmup, num_warmup_steps: N}"
        )
    options: Mapping[str, Any] = {"lr": 2e-4}
    if name == "TorchOptim":
        known = {
            key: entry
            for key, entry in vars(torch.optim).items()
            if inspect.isclass(entry) and issubclass(entry, Optimizer) and entry is not Optimizer
        }
        torch_name = checked.get("torch_optim_name")
        if not isinstance(torch_name, str) or torch_name not in known:
            raise ConfigError(
                f"{where}: unknown torch_optim_name {shown(torch_name)}. {suggest(str(torch_name)[:80], known)}"
            )
        parameters = inspect.signature(known[torch_name]).parameters
        options = {key: parameter.default for key, parameter in parameters.items() if key != "params"}
        name = torch_name
    _check_keys(checked, {*options, *(_NAMES if checked["name"] == "TorchOptim" else {"name"})}, name, where)
    for key, value in checked.items():
        if key not in _NAMES and not is_like(value, options[key]):
            raise ConfigError(f"{where}: {name} refuses these settings: {key} {shown(value)} (default {options[key]})")
    try:  # torch knows its ranges best
        if checked["name"] == "TorchOptim":
            given = {key: value for key, value in checked.items() if key in options}
            known[name]([torch.zeros(1, 1)], **given)
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        raise ConfigError(f"{where}: {name} refuses these settings: {error}") from error
    if not 0 < checked.get("lr", options["lr"]) <= MAX_LEARNING_RATE:
        raise ConfigError(
            f"{where}: {name} refuses these settings: Invalid learning rate: {checked['lr']}; lr must be above 0 "
            f"and at most {MAX_LEARNING_RATE:g}"
        )
    return checked


_NAMES = {"name", "torch_optim_name"}


def is_like(value: Any, default: Any) -> bool:
    """Whether a value is of a default's kind: true or false, a finite number, as many numbers, a text."""
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, (int, float)):
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if isinstance(default, tuple):
        if not isinstance(value, (list, tuple)) or len(value) != len(default):
            return False
        return all(
            is_like(item, 0.0) or (item is None and like is None) for item, like in zip(value, default, strict=True)
        )
    return value is None or isinstance(value, (bool, str))  # torch's foreach, fused, adjust_lr_fn


def _check_keys(given: Mapping[str, Any], accepted: set[str], name: str, where: str) -> None:
    for key in given:
        if key not in accepted:
            raise ConfigError(f"{where}: unknown key {shown(key)} of {name}. {suggest(key[:80], accepted)}")


def as_number(value: Any) -> Any:
    """YAML 1.1 reads ``1e-4`` as a string: make it the number that was meant."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    if isinstance(value, (list, tuple)):
        return [as_number(item) for item in value]
    return value
