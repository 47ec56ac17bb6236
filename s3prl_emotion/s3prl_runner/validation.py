"""Validation before S3PRL's Runner: everything that it evaluates, looks up or imports is a known name.

S3PRL 0.4.18 evaluates texts of its arguments and configuration as Python:

==========================================  ==========================================================
``run_downstream``                          ``mode``
``downstream/runner``                       imports ``downstream``, looks ``upstream`` up, imports ``expert`` from a
                                            download if ``from_hf_hub`` is an argument
``optimizers``, ``schedulers``              ``get_<name>``; looks ``torch_optim_name`` up
``downstream/emotion/expert``, ``model``    ``select``, ``model_type``; ``get_<split>_dataloader``, of
                                            ``train_dataloader`` and ``eval_dataloaders``
``downstream/model``                        ``select``, ``pooling``; looks ``activation`` up
``util/override``                           ``-o``; replaced by :func:`~s3prl_emotion.s3prl_runner.arguments.override`
==========================================  ==========================================================

:class:`~s3prl_emotion.s3prl_runner.runner.EmotionRunner` calls :func:`check_run` on whatever it is given, so that
files, ``-o``, sweeps and checkpoints all pass here. Each is also checked where it is read, for messages that name the
place.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch

from s3prl_emotion.config import from_mapping, shown
from s3prl_emotion.downstream.optimizer import as_number, is_like
from s3prl_emotion.downstream.settings import DownstreamConfig, FoldInputs, read_settings
from s3prl_emotion.errors import ConfigError, UpstreamError, suggest
from s3prl_emotion.random_state import preserved_random_state
from s3prl_emotion.s3prl_runner.arguments import check_arguments, mapping
from s3prl_emotion.s3prl_runner.downstream_kinds import downstream_kind
from s3prl_emotion.s3prl_runner.registration import downstream_configs, register
from s3prl_emotion.s3prl_runner.upstream_registry import registered_upstreams, upstream_names

FAILURES = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError),
    *(RuntimeError, TypeError, ValueError),
)
"""What S3PRL and torch raise for settings and states that they cannot work with."""

UNCOUNTED = 10_000
"""Steps that settings are tried with as long as their epochs are not counted."""

MAX_MASKS = 10_000
"""The largest number in the settings of SpecAug: all its masks are in memory at once; the bound is ours."""


@dataclass(frozen=True)
class _Scheduler:
    name: str
    num_warmup_steps: int

    def __post_init__(self) -> None:
        if self.num_warmup_steps < 0:
            raise ValueError(f"num_warmup_steps must be at least 0, got {self.num_warmup_steps}")


@dataclass(frozen=True)
class _Cosine(_Scheduler):
    num_cycles: float = 0.5


@dataclass(frozen=True)
class _Restarts(_Scheduler):
    num_cycles: int = 1


@dataclass(frozen=True)
class _Polynomial(_Scheduler):
    lr_end: float = 1e-7
    power: float = 1.0


SCHEDULERS: dict[str, type[_Scheduler]] = {
    "constant_decay_schedule_with_warmup": _Scheduler,
    "cosine_schedule_with_warmup": _Cosine,
    "cosine_with_hard_restarts_schedule_with_warmup": _Restarts,
    "linear_schedule_with_warmup": _Scheduler,
    "noam_decay_schedule_with_warmup": _Scheduler,
    "polynomial_decay_schedule_with_warmup": _Polynomial,
    "sqrt_decay_schedule_with_warmup": _Scheduler,
}
"""S3PRL's schedulers and their settings; ``last_epoch`` is none: S3PRL resumes a schedule from its checkpoint."""


def check_run(args: argparse.Namespace, config: Any, where: str) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Check what S3PRL's Runner is about to be given; random states stay as they are.

    Args:
        args: S3PRL's arguments, with ``device`` resolved and ``upstream`` on its hub
        config: a configuration
        where: file or option, for messages

    Returns:
        copies of both, plain values only

    Raises:
        ConfigError, UpstreamError: naming place and key; nothing was evaluated, looked up or imported
    """
    args = check_arguments(args, where)
    if args.upstream not in upstream_names() and args.upstream not in registered_upstreams():
        raise UpstreamError(f"{where}: upstream {shown(args.upstream)} is neither one of S3PRL's nor one of ours")
    device = args.device if args.mode == "train" else None
    return args, mapping(args.downstream, *check_settings(config, args.downstream, where, device))


def check_settings(
    config: Any, downstream: str, where: str, device: str | None = None
) -> tuple[DownstreamConfig[Any], FoldInputs]:
    """Check a configuration for a ``-d`` name: its values, and by trying them what S3PRL itself interprets.

    Args:
        config: a configuration
        downstream: the ``-d`` name
        where: file or option, for messages
        device: where it will be trained; None if it will not

    Returns:
        the settings, and what stands there of one fold

    Raises:
        ConfigError: if a part of it is unknown, or could not work
    """
    known = downstream_configs()
    if downstream not in known:
        raise ConfigError(
            f"{where}: downstream {shown(downstream)} is not an emotion downstream. {suggest(downstream[:80], known)}"
        )
    if not isinstance(config, Mapping):
        raise ConfigError(f"{where}: expected a mapping of keys to values, found {shown(config)}")
    register()
    settings, inputs = read_settings(config, where, downstream_kind(downstream).read)
    if settings.runner.fp16 and device is not None and not device.startswith("cuda"):
        raise ConfigError(f"{where}: runner.fp16 needs a CUDA device, the device is {device}")
    with preserved_random_state(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = _try_optimizer(settings, where)
        if settings.scheduler:
            checked = _check_scheduler(settings, optimizer, f"{where}: scheduler")
            settings = dataclasses.replace(settings, scheduler=checked)
        if settings.specaug:
            settings = dataclasses.replace(settings, specaug=_check_specaug(settings.specaug, f"{where}: specaug"))
    return settings, inputs


def _steps(settings: DownstreamConfig[Any]) -> int:
    """Of a training; of one in epochs, which are counted in each fold, as many as let a schedule be tried."""
    return settings.runner.total_steps or UNCOUNTED


def _try_optimizer(settings: DownstreamConfig[Any], where: str) -> torch.optim.Optimizer:
    """Two steps of the optimiser as the Runner makes them, and its state through a checkpoint."""
    from s3prl.optimizers import get_optimizer

    model = torch.nn.Linear(3, 2)
    try:
        optimizer: torch.optim.Optimizer = get_optimizer([model], _steps(settings), settings.optimizer)
        for _ in range(2):
            model(torch.ones(4, 3)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        file = io.BytesIO()
        torch.save(optimizer.state_dict(), file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except FAILURES as error:
        name = settings.optimizer.get("torch_optim_name", settings.optimizer["name"])
        raise ConfigError(
            f"{where}: optimizer: {name} cannot work with S3PRL's Runner: {_first_line(error)}. Use Adam, AdamW or SGD"
        ) from error
    return optimizer


def _check_scheduler(settings: DownstreamConfig[Any], optimizer: torch.optim.Optimizer, where: str) -> dict[str, Any]:
    from s3prl.schedulers import get_scheduler

    given: Any = settings.scheduler
    name = given.get("name") if isinstance(given, dict) else None
    if not isinstance(name, str) or name not in SCHEDULERS:
        raise ConfigError(f"{where}: unknown scheduler {shown(name)}. {suggest(str(name)[:80], SCHEDULERS)}")
    typed = from_mapping(SCHEDULERS[name], given, where)
    checked = {item.name: getattr(typed, item.name) for item in fields(typed) if item.name in given}
    steps = _steps(settings)
    warmup = checked["num_warmup_steps"]
    try:
        (rate,) = get_scheduler(optimizer, steps, checked).lr_lambdas
        for step in {0, 1, min(warmup, steps), min(warmup + 1, steps), max(steps - 1, 1), steps}:
            factor = rate(step)
            if not 0 <= factor < float("inf"):
                raise ValueError(f"the factor of the learning rate at step {step} is {factor}")
    except FAILURES as error:
        raise ConfigError(
            f"{where}: {name} cannot work with these settings over {steps} steps: {_first_line(error)}"
        ) from error
    return checked


def _check_specaug(given: Any, where: str) -> dict[str, Any]:
    try:
        augment = importlib.import_module("s3prl.downstream.specaug").SpecAug
    except ImportError as error:
        raise ConfigError(f"{where} needs a package that is not installed: pip install {error.name}") from error
    if not isinstance(given, dict):
        raise ConfigError(f"{where}: expected a mapping of keys to values, found {shown(given)}")
    known = {key: item.default for key, item in inspect.signature(augment).parameters.items()}
    checked = {key: value if isinstance(value, str) else as_number(value) for key, value in given.items()}
    for key, value in checked.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key {shown(key)}. {suggest(key[:80], known)}")
        if not is_like(value, known[key]):
            raise ConfigError(f"{where}: {key} cannot be {shown(value)} (default {known[key]})")
        if isinstance(value, (int, float)) and value > MAX_MASKS:
            raise ConfigError(f"{where}: {key} must be at most {MAX_MASKS}, got {shown(value)}")
    try:
        augment(**checked)([torch.zeros(200, 64), torch.zeros(60, 64)])
    except (*FAILURES, NotImplementedError) as error:
        raise ConfigError(f"{where}: S3PRL's SpecAug refuses these settings: {_first_line(error)}") from error
    return checked


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or ['no reason given'])[0][:200]}"
