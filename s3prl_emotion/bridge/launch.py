"""One fold through S3PRL's Runner: its arguments, its seeding, its checkpoints."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from s3prl_emotion.bridge.registration import register
from s3prl_emotion.downstream.rng import seed_everything
from s3prl_emotion.errors import ConfigError, RunError, UpstreamError, nearest
from s3prl_emotion.features.upstream import CachedUpstream

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

_TAKES_CHECKPOINT = ("_local", "_url", "_custom", "_gdriveid")


def arguments(**values: Any) -> argparse.Namespace:
    """S3PRL's arguments with ``values`` in place of defaults, plain values only, as its checkpoints need them."""
    unknown = set(values) - set(ARGUMENTS)
    if unknown:
        raise TypeError(f"not arguments of S3PRL: {sorted(unknown)}")
    plain = {key: os.fspath(value) if isinstance(value, os.PathLike) else value for key, value in values.items()}
    return argparse.Namespace(**{**ARGUMENTS, **plain})


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
        where = f"-o {part.strip()!r}"
        if not equals or root not in ("args", "config") or not path or not all(path):
            raise ConfigError(f"{where}: expected config.KEY=VALUE or args.NAME=VALUE, several joined by ',,'")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        logger.debug("-o %s = %r", key, value)
        if root == "args":
            _override_argument(args, ".".join(path), value, where)
            continue
        place: Any = config
        for name in path[:-1]:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{where}: config.{name} is {place!r}, it has no keys below")
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
        raise ConfigError(f"{where}: unknown argument {name!r}. {nearest(name, _ARGUMENTS_FOR_OVERRIDE)}")
    if name not in _ARGUMENTS_FOR_OVERRIDE:
        raise ConfigError(
            f"{where}: give {name} as an option of its own; -o takes {', '.join(_ARGUMENTS_FOR_OVERRIDE)}"
        )
    kinds = _ARGUMENTS_FOR_OVERRIDE[name]
    if type(value) not in kinds:
        raise ConfigError(f"{where}: expected {' or '.join(kind.__name__ for kind in kinds)}, found {value!r}")
    if name == "seed" and value < 0:
        raise ConfigError(f"{where}: a seed is 0 or more")
    setattr(args, name, value)


def check_extras(config: dict[str, Any], device: str, where: str) -> None:
    """Check the parts of a configuration that S3PRL itself interprets: ``scheduler``, ``specaug`` and ``fp16``.

    Raises:
        ConfigError: if one of them could not work
    """
    register()
    if config.get("scheduler"):
        from s3prl import schedulers

        names = [name.removeprefix("get_") for name in vars(schedulers) if name.startswith("get_")]
        name = config["scheduler"].get("name") if isinstance(config["scheduler"], dict) else None
        if name not in names:
            raise ConfigError(f"{where}: unknown scheduler {name!r}. {nearest(str(name), names)}")
    if config.get("specaug"):
        try:
            importlib.import_module("s3prl.downstream.specaug").SpecAug(**config["specaug"])
        except ImportError as error:
            raise ConfigError(
                f"{where}: specaug needs a package that is not installed: pip install {error.name}"
            ) from error
        except TypeError as error:
            raise ConfigError(f"{where}: specaug: {error}") from error
    if config["runner"]["fp16"] and not device.startswith("cuda"):
        raise ConfigError(f"{where}: runner.fp16 needs a CUDA device, the device is {device}")


def check_upstream(name: str, checkpoint: str | None, model_config: str | None) -> None:
    """Check that ``-u`` exists, and that it reads ``-k`` and ``-g`` where they are given.

    Raises:
        UpstreamError: S3PRL's named upstreams ignore both silently; the message names the variants that do not
    """
    register()
    from s3prl import hub

    from s3prl_emotion.bridge.registration import upstreams

    names = set(hub.options()) | set(upstreams())
    if name not in names:
        raise UpstreamError(f"-u {name!r} is not an upstream of S3PRL, nor one of ours. {_near_upstreams(name, names)}")
    reads_checkpoint = name.endswith(_TAKES_CHECKPOINT) or name in upstreams()
    given = [flag for flag, value in (("-k", checkpoint), ("-g", model_config)) if value is not None]
    if model_config is not None and name in upstreams():
        raise UpstreamError(f"-u {name} ignores -g: everything it needs comes with -k")
    if given and not reads_checkpoint:
        module = getattr(hub, name).__module__
        variants = sorted(
            other for other in names if other.endswith(_TAKES_CHECKPOINT) and getattr(hub, other).__module__ == module
        )
        local = f"use -u {' or '.join(variants)}" if variants else "it has no variant that reads one"
        raise UpstreamError(f"-u {name} ignores {' and '.join(given)}: it always loads its own checkpoint; {local}")
    if name.endswith(("_local", "_custom")) or name in upstreams():
        if checkpoint is None and name != "baseline_local":
            raise UpstreamError(f"-u {name} needs a checkpoint: give its path with -k")
        if checkpoint is not None and name.endswith("_local") and not Path(checkpoint).exists():
            raise UpstreamError(f"-k {checkpoint}: no such file or folder")


def _near_upstreams(name: str, names: set[str]) -> str:
    hint = nearest(name, names)
    return (
        hint.split(" Known:")[0] + " `s3prl-emotion ls upstreams` lists all."
        if "Did you mean" in hint
        else ("`s3prl-emotion ls upstreams` lists all.")
    )


def resolve_device(device: str | None) -> str:
    """``--device``, or the GPU where there is one.

    Raises:
        RunError: if CUDA is asked for and not there
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = device
    if kind not in ("cpu", "cuda"):
        raise RunError(f"--device {device}: expected cpu, cuda or cuda:N")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise RunError(f"--device {device}: torch {torch.__version__} sees no CUDA device here; use --device cpu")
    return device


def start(args: argparse.Namespace, config: dict[str, Any], cached: CachedUpstream | None = None) -> Any:
    """Seed everything as S3PRL's ``run_downstream`` does, and build its Runner.

    Args:
        args: from :func:`arguments`, with ``expdir`` set
        config: a checked configuration
        cached: stored hidden states to use in place of the upstream
    """
    register()
    from s3prl_emotion.bridge.runner import EmotionRunner

    if int(os.environ.get("WORLD_SIZE", "1")) > 1 or args.local_rank is not None:
        raise RunError(
            "distributed training is not supported: a head on a frozen upstream fits one device. "
            "Run folds in parallel instead, one process each: --fold 1, --fold 2, ..."
        )
    if args.cache_dir is not None:
        torch.hub.set_dir(args.cache_dir)
    seed_everything(args.seed)
    torch.backends.cudnn.enabled = not args.disable_cudnn
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return EmotionRunner(args, config, cached)


def train(args: argparse.Namespace, config: dict[str, Any], cached: CachedUpstream | None = None) -> None:
    """Train one fold in ``args.expdir``, from its newest checkpoint that loads, if there is one."""
    folder = Path(args.expdir)
    folder.mkdir(parents=True, exist_ok=True)
    resumed = newest_checkpoint(folder)
    if resumed is not None:
        args.init_ckpt = str(resumed)
        logger.info("%s: going on from %s", folder.name, resumed.name)
    save_command(folder, args, config)
    start(args, config, cached).train()


def evaluate(
    args: argparse.Namespace,
    config: dict[str, Any],
    checkpoint: Path,
    split: str,
    cached: CachedUpstream | None = None,
) -> Any:
    """Score ``split`` with a checkpoint of ``args.expdir``; the prediction files there then belong to that checkpoint.

    Returns:
        the Runner, for what it holds
    """
    args = argparse.Namespace(
        **{**vars(args), "mode": "evaluate", "evaluate_split": split, "init_ckpt": str(checkpoint)}
    )
    runner = start(args, config, cached)
    with _stock_probabilities(runner) as probabilities:
        runner.evaluate()
    runner.stock_probabilities = probabilities
    return runner


class _stock_probabilities:
    """Collect the class probabilities that S3PRL's own expert computes and does not write."""

    def __init__(self, runner: Any) -> None:
        expert = runner.downstream.model
        self._module = None if hasattr(expert, "head") else getattr(expert, "model", None)
        self._rows: list[list[float]] = []

    def __enter__(self) -> list[list[float]]:
        if self._module is not None:
            self._handle = self._module.register_forward_hook(
                lambda _module, _inputs, output: self._rows.extend(
                    output[0].detach().float().softmax(-1).cpu().tolist()
                )
            )
        return self._rows

    def __exit__(self, *_: Any) -> None:
        if self._module is not None:
            self._handle.remove()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read one of the Runner's checkpoints on the CPU, without executing anything that a pickle holds.

    Raises:
        RunError: if it is torn, is no such checkpoint, or holds more than tensors and plain values
    """
    register()
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise RunError(
            f"{path}: not a readable checkpoint ({type(error).__name__}: {str(error).split('. ')[0]})"
        ) from error
    missing = {"Step", "Args", "Config", "Downstream"} - set(content if isinstance(content, Mapping) else ())
    if missing:
        raise RunError(f"{path}: not a checkpoint of S3PRL's Runner: {', '.join(sorted(missing))} missing")
    return dict(content)


def newest_checkpoint(folder: Path) -> Path | None:
    """The ``states-<step>.ckpt`` with the highest step that can be read; a torn one (a killed save) is passed over."""

    steps = {path: int(m[1]) for path in folder.iterdir() if (m := re.fullmatch(r"states-(\d+)\.ckpt", path.name))}
    for path in sorted(steps, key=lambda path: steps[path], reverse=True):
        try:
            load_checkpoint(path)
            return path
        except RunError as error:
            logger.warning("%s; an earlier one is used", error)
    return None


def save_command(folder: Path, args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Write ``args_<time>.yaml`` and ``config_<time>.yaml``, as S3PRL does at every start."""
    tag = time.strftime("%Y-%m-%d-%H-%M-%S")
    for name, content in (("args", vars(args)), ("config", config)):
        text = yaml.safe_dump(json.loads(json.dumps(content)), sort_keys=False)
        (folder / f"{name}_{tag}.yaml").write_text(text, encoding="utf-8")
