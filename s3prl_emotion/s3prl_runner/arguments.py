"""Options of S3PRL's command line, and their translation."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import logging
import os
from typing import Any

import torch

from s3prl_emotion.config import check_plain, shown
from s3prl_emotion.downstream.config import fold_number
from s3prl_emotion.downstream.settings import DownstreamConfig, FoldInputs, plain_settings
from s3prl_emotion.errors import ConfigError, RunError, suggest
from s3prl_emotion.random_state import MAX_SEED
from s3prl_emotion.runs.plan import TrainingSpec, UpstreamChoice
from s3prl_emotion.s3prl_runner.downstream_kinds import downstream_kind
from s3prl_emotion.upstreams.per_fold import of_fold

logger = logging.getLogger(__name__)

ARGUMENTS: dict[str, Any] = {
    "mode": "train",
    "evaluate_split": "test",
    "override": None,
    "backend": "nccl",
    "local_rank": None,
    "past_exp": None,
    "init_ckpt": None,
    "config": None,
    "downstream": None,
    "downstream_variant": None,
    "hub": "torch",
    "upstream": None,
    "upstream_ckpt": None,
    "upstream_model_config": None,
    "upstream_refresh": False,
    "upstream_trainable": False,
    "upstream_feature_selection": "hidden_states",
    "upstream_layer_selection": None,
    "upstream_feature_normalize": False,
    "upstream_model_name": "model.pt",
    "upstream_revision": None,
    "expname": None,
    "expdir": None,
    "auto_resume": False,
    "push_to_hf_hub": False,
    "hf_hub_org": None,
    "seed": 1337,
    "device": "cuda",
    "cache_dir": None,
    "verbose": False,
    "disable_cudnn": False,
}
"""Every argument of S3PRL's ``run_downstream`` with its default; a test holds this against S3PRL's own parser."""


def arguments(**values: Any) -> argparse.Namespace:
    """S3PRL's arguments with ``values`` in place of defaults, plain values only, as its checkpoints need them."""
    unknown = set(values) - set(ARGUMENTS)
    if unknown:
        raise TypeError(f"not arguments of S3PRL: {sorted(unknown)}")
    plain = {key: os.fspath(value) if isinstance(value, os.PathLike) else value for key, value in values.items()}
    return argparse.Namespace(**{**ARGUMENTS, **plain})


_TEXT = (str, type(None))
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(ARGUMENTS, _TEXT),
    **{name: (bool,) for name, default in ARGUMENTS.items() if isinstance(default, bool)},
    "mode": (str,),
    "evaluate_split": (str,),
    "downstream": (str,),
    "upstream": (str,),
    "upstream_feature_selection": (str,),
    "device": (str,),
    "upstream_layer_selection": (int, type(None)),
    "seed": (int,),
    "local_rank": (type(None),),
    "push_to_hf_hub": (bool, type(None)),
}
_MODES = ("train", "evaluate", "inference")
_MAX_TEXT = 4096


def check_arguments(args: argparse.Namespace, where: str) -> argparse.Namespace:
    """Arguments as S3PRL's Runner may have them: known ones, of their kind; the others are completed by defaults.

    Args:
        args: from the command line, or a checkpoint
        where: file or option, for messages

    Raises:
        ConfigError: naming the argument
    """
    unknown = sorted(map(str, set(vars(args)) - set(ARGUMENTS)))
    if unknown:
        raise ConfigError(
            f"{where}: {shown(unknown[0])} is no argument of S3PRL. {suggest(unknown[0][:80], ARGUMENTS)}"
        )
    values = {**ARGUMENTS, **vars(args)}
    for name, value in values.items():
        if name == "override" and isinstance(value, str):
            continue  # judged by its parts
        if type(value) not in _KINDS[name]:
            kinds = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in _KINDS[name])
            raise ConfigError(f"{where}: argument {name}: expected {kinds}, found {shown(value)}")
        if isinstance(value, str) and ("\0" in value or len(value) > _MAX_TEXT):
            raise ConfigError(
                f"{where}: argument {name}: expected at most {_MAX_TEXT} characters, found {shown(value)}"
            )
    if values["mode"] not in _MODES:
        raise ConfigError(
            f"{where}: argument mode: {suggest(values['mode'][:80], _MODES)} Found {shown(values['mode'])}"
        )
    if values["hub"] not in (None, "torch") or values["push_to_hf_hub"]:
        raise ConfigError(f"{where}: S3PRL's connection to the Hugging Face Hub is not supported: hub must be torch")
    check_seed(values["seed"], f"{where}: argument seed")
    if values["downstream_variant"] is not None:
        try:
            fold_number(values["downstream_variant"])
        except ValueError as error:
            raise ConfigError(f"{where}: argument downstream_variant: {error}") from error
    return argparse.Namespace(**values)


def check_seed(seed: int, where: str) -> None:
    """Refuse a seed that one of the generators does not take.

    Raises:
        ConfigError: if it is not in 0 to 4294967295
    """
    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(
            f"{where}: a seed is 0 or more, and at most {MAX_SEED}, which is NumPy's limit; got {shown(seed)}"
        )


def override(config: dict[str, Any], args: argparse.Namespace, string: str | None) -> None:
    """Apply S3PRL's ``-o "config.optimizer.lr=1e-3,,args.seed=7"`` in place.

    A value is a Python literal, else a text; S3PRL evaluates any expression, here nothing is executed.

    Raises:
        ConfigError: if a part is not ``key=value``, its key leads nowhere, or has an option of its own
    """
    if string is None or string.lower() == "none":
        return
    for part in string.split(",,"):
        key, equals, text = (piece.strip() for piece in part.partition("="))
        root, *path = key.split(".")
        where = f"-o {shown(part.strip())}"
        if not equals or root not in ("args", "config") or not path or not all(path):
            raise ConfigError(f"{where}: expected config.KEY=VALUE or args.NAME=VALUE, several joined by ',,'")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        except (MemoryError, RecursionError):
            raise ConfigError(f"-o {key}=...: {shown(text)} is nested too deeply to be a value") from None
        check_plain(value, "-o", key)
        logger.debug("-o %s = %r", key, value)
        if root == "args":
            _override_argument(args, ".".join(path), value, where)
            continue
        place: Any = config
        for name in path[:-1]:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{where}: config.{name} is {shown(place)}, it has no keys below")
        place[path[-1]] = value


_ARGUMENTS_FOR_OVERRIDE: dict[str, tuple[type, ...]] = {
    "seed": (int,),
    "upstream_trainable": (bool,),
    "upstream_feature_selection": (str,),
    "upstream_layer_selection": (int, type(None)),
    "upstream_feature_normalize": (bool,),
    "upstream_refresh": (bool,),
    "disable_cudnn": (bool,),
}


def _override_argument(args: argparse.Namespace, name: str, value: Any, where: str) -> None:
    if name not in ARGUMENTS:
        raise ConfigError(f"{where}: unknown argument {name!r}. {suggest(name, _ARGUMENTS_FOR_OVERRIDE)}")
    if name not in _ARGUMENTS_FOR_OVERRIDE:
        raise ConfigError(
            f"{where}: give {name} as an option of its own; -o takes {', '.join(_ARGUMENTS_FOR_OVERRIDE)}"
        )
    kinds = _ARGUMENTS_FOR_OVERRIDE[name]
    if type(value) not in kinds:
        raise ConfigError(f"{where}: expected {' or '.join(kind.__name__ for kind in kinds)}, found {shown(value)}")
    if name == "seed":
        check_seed(value, where)
    setattr(args, name, value)


def resolve_device(device: str | None) -> str:
    """``--device``, or the GPU where there is one.

    Raises:
        RunError: if CUDA is asked for and not there
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except (RuntimeError, ValueError):
        found = None
    if found is None or found.type not in ("cpu", "cuda"):
        raise RunError(f"--device {device}: expected cpu, cuda or cuda:N")
    if found.type == "cuda" and not torch.cuda.is_available():
        raise RunError(f"--device {device}: torch {torch.__version__} sees no CUDA device here; use --device cpu")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise RunError(f"--device {device}: there are {torch.cuda.device_count()} CUDA devices here, counted from 0")
    return device


_OF_UPSTREAM = {
    "upstream": "name",
    "upstream_ckpt": "checkpoint",
    "upstream_model_config": "model_config",
    "upstream_refresh": "refresh",
    "upstream_trainable": "trainable",
    "upstream_feature_selection": "selection",
    "upstream_layer_selection": "layer",
    "upstream_feature_normalize": "normalize",
    "upstream_model_name": "model_name",
    "upstream_revision": "revision",
}


def namespace(training: TrainingSpec, fold: int | None = None, **launch: Any) -> argparse.Namespace:
    """S3PRL's arguments of a training.

    Args:
        training: what is trained
        fold: whose model an upstream is that has one per fold; None names all of them
        launch: ``mode``, ``expdir`` and whatever else a single start has of its own
    """
    upstream = {key: getattr(training.upstream, name) for key, name in _OF_UPSTREAM.items()}
    if fold is not None:
        upstream["upstream_ckpt"] = of_fold(training.upstream.checkpoint, fold)
    typed = {"downstream": training.downstream, "seed": training.seed, "device": training.device}
    return arguments(**{**training.further, **upstream, **typed, **launch})


def upstream_of(args: argparse.Namespace) -> UpstreamChoice:
    """The upstream that S3PRL's arguments describe."""
    return UpstreamChoice(**{name: getattr(args, key) for key, name in _OF_UPSTREAM.items()})


def training_of(args: argparse.Namespace, settings: DownstreamConfig[Any]) -> TrainingSpec:
    """What S3PRL's arguments and a checked configuration describe."""
    given = vars(args)
    upstream = upstream_of(args)
    typed = ("downstream", "seed", "device")
    further = {key: value for key, value in given.items() if key not in _OF_UPSTREAM and key not in typed}
    return TrainingSpec(upstream, settings=settings, further=further, **{key: given[key] for key in typed})


def counted(training: TrainingSpec, utterances: int) -> TrainingSpec:
    """A training with its epochs counted in optimiser steps over a fold's training part; without epochs as it is.

    Raises:
        ConfigError: if dev would never be scored
    """
    settings = training.settings
    datarc = mapping(training.downstream, settings)["downstream_expert"]["datarc"]
    try:
        runner = settings.runner.counted(utterances, int(datarc["train_batch_size"]))
    except ValueError as error:
        raise ConfigError(f"-d {training.downstream}, {utterances} utterances to train on: {error}") from error
    return dataclasses.replace(training, settings=dataclasses.replace(settings, runner=runner))


def mapping(downstream: str, settings: DownstreamConfig[Any], inputs: FoldInputs | None = None) -> dict[str, Any]:
    """The configuration in S3PRL's layout; without ``inputs``, of no fold."""
    return plain_settings(settings, downstream_kind(downstream).plain(settings.expert, inputs))
