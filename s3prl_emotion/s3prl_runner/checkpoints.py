"""Reading the Runner's checkpoints: nothing is executed, neither by the pickle nor by what S3PRL evaluates of it."""

from __future__ import annotations

import argparse
import logging
import math
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from s3prl_emotion.config import shown
from s3prl_emotion.downstream.optimizer import MAX_LEARNING_RATE
from s3prl_emotion.errors import EmotionError, RunError
from s3prl_emotion.files import UNREADABLE
from s3prl_emotion.s3prl_runner.arguments import ARGUMENTS, check_arguments, mapping, training_of
from s3prl_emotion.s3prl_runner.registration import register
from s3prl_emotion.s3prl_runner.upstream_registry import is_upstream
from s3prl_emotion.s3prl_runner.validation import check_settings
from s3prl_emotion.upstreams.files import imported

logger = logging.getLogger(__name__)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read one of the Runner's checkpoints on the CPU, and check it: what S3PRL would be given of it can be given.

    Returns:
        its content, with ``Args`` completed by S3PRL's defaults, ``Config`` as plain values, and what both describe
        as ``Training`` and ``Inputs`` (:class:`~s3prl_emotion.downstream.settings.FoldInputs`)

    Raises:
        ConfigError: if ``Args`` or ``Config`` hold what S3PRL's Runner must not be given
        RunError: if it is torn, is no such checkpoint, or holds more than tensors and plain values
    """
    register()
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        if isinstance(error, pickle.UnpicklingError) and (name := imported(error)):
            raise RunError(
                f"{path}: refused, because it holds more than tensors and plain values, as a checkpoint of training "
                f"does not: it imports {name}. Nothing was executed. Train again, or take it from where it is whole"
            ) from error
        raise RunError(
            f"{path}: not a readable checkpoint ({type(error).__name__}: {str(error).split('. ')[0]})"
        ) from error
    missing = set(_KINDS) - set(_OPTIONAL) - set(content if isinstance(content, Mapping) else ())
    if missing:
        raise RunError(f"{path}: not a checkpoint of S3PRL's Runner: {', '.join(sorted(missing))} missing")
    for key, kind in _KINDS.items():
        if key in content and type(content[key]) is not kind and not (kind is dict and isinstance(content[key], dict)):
            raise RunError(f"{path}: {key}: expected {kind.__name__}, found {shown(content[key])}")
    for key in ("Step", "Epoch"):
        if content.get(key, 0) < 0:
            raise RunError(f"{path}: {key}: expected 0 or more, found {content[key]}")
    _check_parameters(content, path)
    stored = {key: value for key, value in vars(content["Args"]).items() if key in ARGUMENTS}
    args = check_arguments(argparse.Namespace(**stored), str(path))
    if args.upstream_trainable and "Upstream" not in content:
        raise RunError(f"{path}: it was fine-tuned (upstream_trainable), and Upstream is missing")
    if not is_upstream(args.upstream):
        raise RunError(f"{path}: argument upstream: {shown(args.upstream)} is no upstream")
    settings, inputs = check_settings(content["Config"], args.downstream, str(path))
    config = mapping(args.downstream, settings, inputs)
    return {**content, "Args": args, "Config": config, "Training": training_of(args, settings), "Inputs": inputs}


_KINDS: dict[str, type] = {
    "Step": int,
    "Args": argparse.Namespace,
    "Config": dict,
    "Downstream": dict,
    "Epoch": int,
    "Featurizer": dict,
    "Upstream": dict,
    "Optimizer": dict,
    "Scheduler": dict,
}
_NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64)
"""What parameters are of, and counters (torch.int64); see :func:`~s3prl_emotion.module_weights.check_kinds`."""
_OPTIONAL = ("Epoch", "Featurizer", "Upstream", "Optimizer", "Scheduler")


def _check_parameters(content: Mapping[str, Any], path: Path) -> None:
    """Parameters are finite tensors under their names; of our expert there is a state besides."""
    for part in ("Downstream", "Featurizer", "Upstream"):
        for name, value in content.get(part, {}).items():
            told = f"{path}: {part}.{name}" if isinstance(name, str) else f"{path}: {part}: {shown(name)}"
            if part == "Downstream" and name == "_extra_state":
                if not isinstance(value, dict):
                    raise RunError(f"{told}: expected what a training goes on from, found {shown(value)}")
            elif not isinstance(name, str) or not isinstance(value, torch.Tensor):
                raise RunError(f"{told}: expected a tensor under its name, found {type(value).__name__}")
            elif value.layout is not torch.strided or value.device.type != "cpu" or value.is_quantized:
                raise RunError(f"{told}: expected an ordinary tensor, found {value.layout} on {value.device}")
            elif part != "Upstream" and value.dtype not in _NUMBERS:
                raise RunError(
                    f"{told}: holds {value.dtype}, expected floating point: quantised, boolean or complex weights are "
                    "not read. Take the checkpoint of the training itself"
                )
            elif not bool(torch.isfinite(value).all()):
                raise RunError(f"{told}: its values are not all finite. Train again, or take it from where it is whole")
    score = content["Downstream"].get("best_score")
    if score is None or score.numel() != 1:
        raise RunError(f"{path}: Downstream.best_score: expected one number")


def check_optimizer(optimizer: torch.optim.Optimizer, groups: Sequence[Mapping[str, Any]]) -> None:
    """Check an optimiser's state after it was loaded.

    Args:
        optimizer: as it is now
        groups: its parameter groups as its settings make them

    Raises:
        ValueError: naming what differs; a state could change settings unseen, or fail in the middle of a step
    """
    for before, now in zip(groups, optimizer.param_groups, strict=True):
        for key, value in before.items():
            if key in ("params", "lr"):
                continue
            if key not in now or now[key] != value:
                raise ValueError(f"its {key} is {shown(now.get(key))}, the configuration's {shown(value)}")
        rate = now.get("lr")
        if not isinstance(rate, (int, float)) or not (math.isfinite(rate) and 0 <= rate <= MAX_LEARNING_RATE):
            raise ValueError(f"its learning rate is {shown(rate)}")
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor):
                factored = key in ("row_var", "col_var")  # Adafactor's
                if value.numel() != 1 and value.shape != getattr(parameter, "shape", None) and not factored:
                    raise ValueError(f"{key} has shape {tuple(value.shape)}, its parameter {tuple(parameter.shape)}")
            elif value is not None and type(value) not in (int, float, bool):
                raise ValueError(f"{key} is {shown(value)}")


def check_scheduler(state: Mapping[str, Any], fresh: Mapping[str, Any]) -> None:
    """Check a scheduler's state before it is loaded: torch puts whatever it holds into the scheduler.

    Raises:
        ValueError: naming what is not of the kind that the scheduler itself has there
    """
    for key, value in state.items():
        if key not in fresh and key != "verbose":
            raise ValueError(f"it has {shown(key)}")
        if key in fresh and type(value) is not type(fresh[key]):
            raise ValueError(f"its {key} is {shown(value)}")
    if state.get("base_lrs") != fresh["base_lrs"] or any(state.get("lr_lambdas") or []):
        raise ValueError("its learning rates are not the configuration's")


def newest_checkpoint(folder: Path) -> Path | None:
    """The ``states-<step>.ckpt`` with the highest step that can be read; a torn one (a killed save) is passed over."""
    steps = {path: int(m[1]) for path in folder.iterdir() if (m := re.fullmatch(r"states-(\d+)\.ckpt", path.name))}
    for path in sorted(steps, key=lambda path: steps[path], reverse=True):
        try:
            load_checkpoint(path)
            return path
        except EmotionError as error:
            logger.warning("%s; an earlier one is used", error)
    return None
