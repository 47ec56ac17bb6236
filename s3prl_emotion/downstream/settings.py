"""A whole configuration, from S3PRL's YAML layout to types and back; and what is given in one fold beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic, TypeVar

from s3prl_emotion.config import check_plain, from_mapping, shown
from s3prl_emotion.downstream.config import (
    ExpertConfig,
    FinetuneConfig,
    RunnerConfig,
    check_parts,
    check_targets,
    fold_number,
)
from s3prl_emotion.downstream.optimizer import check_optimizer
from s3prl_emotion.errors import ConfigError, suggest
from s3prl_emotion.mapping import LATER

CACHED = (None, "float16", "float32")
E = TypeVar("E")


@dataclass(frozen=True)
class FoldInputs:
    """What an expert is given in one fold. S3PRL has it in ``datarc``; of a configuration it is no part."""

    test_fold: str | None = None  # "fold1", ...; as in S3PRL, -v says the same
    cached: str | None = None  # dtype of the stored hidden states, null if they are not stored
    manifest: str | None = None  # ours; relative paths start at the fold's folder
    folds: str | None = None  # ours
    pretrained: str | None = field(default=None, metadata=LATER)  # ours: the folder of the head to start from
    root: str | None = None  # S3PRL's own expert's, as is meta_data
    meta_data: str | None = None

    def __post_init__(self) -> None:
        if self.cached not in CACHED:
            raise ValueError(f"cached must be float16, float32 or null, got {self.cached!r}")
        if self.test_fold is not None:
            fold_number(self.test_fold)

    def number(self, variant: str | None = None) -> int:
        """The fold that is tested; ``variant`` is S3PRL's ``-v``, which counts where ``test_fold`` is not set."""
        return fold_number(self.test_fold or variant or "fold1")


def split_inputs(expert: Any, keys: Collection[str], where: str) -> tuple[Any, FoldInputs]:
    """``downstream_expert`` as S3PRL has it into what is configured, and what is given in a fold.

    Args:
        expert: a mapping, not checked yet
        keys: those of ``datarc`` that are given in a fold
        where: file and key, for messages

    Raises:
        ConfigError: naming the key that is wrong
    """
    datarc = expert.get("datarc") if isinstance(expert, Mapping) else None
    if not isinstance(datarc, Mapping):
        return expert, FoldInputs()
    given = {key: value for key, value in datarc.items() if key in keys}
    configured = {key: value for key, value in datarc.items() if key not in keys}
    return {**expert, "datarc": configured}, from_mapping(FoldInputs, given, f"{where}.datarc")


def said_last(runner: Any, file: Any) -> Any:
    """``runner`` with its length said once: what ``--demo`` or ``-o`` says takes the place of what the file says.

    Args:
        runner: with what was said applied, not checked yet
        file: as the file has it
    """
    if not isinstance(runner, Mapping) or not isinstance(file, Mapping):
        return runner
    if runner.get("epochs") is None or runner.get("total_steps") is None:
        return runner
    if runner["epochs"] == file.get("epochs"):
        left = {"epochs"}
    else:
        left = {key for key in ("total_steps", "eval_step") if runner.get(key) == file.get(key)}
    return {key: value for key, value in runner.items() if key not in left}


@dataclass(frozen=True)
class DownstreamConfig(Generic[E]):
    """A checked configuration."""

    runner: RunnerConfig
    optimizer: Mapping[str, Any]  # S3PRL's and torch's own names and options
    expert: E  # of ours an ExpertConfig
    scheduler: Mapping[str, Any] | None = None  # the same
    specaug: Mapping[str, Any] | None = None
    finetune: FinetuneConfig | None = None  # how -f trains the upstream; None where it is frozen, or nothing is said


_TOP_LEVEL = ("runner", "optimizer", "scheduler", "specaug", "finetune", "downstream_expert")


def read_settings(
    config: Mapping[str, Any], where: str, read: Callable[[Any, str], tuple[E, FoldInputs]]
) -> tuple[DownstreamConfig[E], FoldInputs]:
    """Check a whole configuration in S3PRL's layout, and give it types.

    Args:
        config: the content of the YAML file, ``-o`` applied
        where: the file's name, for messages
        read: what reads ``downstream_expert``

    Returns:
        the settings, and what stands there of one fold

    Raises:
        ConfigError: naming the file, the key, and the nearest known key
    """
    check_plain(config, where)
    for key in config:
        if key not in _TOP_LEVEL:
            raise ConfigError(f"{where}: unknown key {shown(key)}. {suggest(key[:80], _TOP_LEVEL)}")
    for key in ("runner", "optimizer", "downstream_expert"):
        if key not in config:
            raise ConfigError(f"{where}: missing key {key!r}")
    runner = from_mapping(RunnerConfig, config["runner"], f"{where}: runner")
    optimizer = check_optimizer(config["optimizer"], f"{where}: optimizer")
    expert, inputs = read(config["downstream_expert"], f"{where}: downstream_expert")
    tuning = config.get("finetune")
    finetune = None if tuning is None else from_mapping(FinetuneConfig, tuning, f"{where}: finetune")
    return DownstreamConfig(runner, optimizer, expert, config.get("scheduler"), config.get("specaug"), finetune), inputs


def fine_tuned(
    settings: DownstreamConfig[E], shipped: DownstreamConfig[Any], trainable: bool, where: str
) -> DownstreamConfig[E]:
    """The same with what ``finetune`` comes to: complete under ``-f``, none for a frozen upstream.

    Args:
        settings: checked
        shipped: of the file that ships, whose ``finetune`` waits for ``-f``
        trainable: ``-f``
        where: file or option, for the message

    Raises:
        ConfigError: if ``finetune`` is given for an upstream that stays frozen
    """
    if trainable:
        return replace(settings, finetune=settings.finetune or FinetuneConfig())
    if settings.finetune not in (None, shipped.finetune):
        raise ConfigError(
            f"{where}: finetune is given, but the upstream stays frozen: add -f to train it, or leave finetune out"
        )
    return replace(settings, finetune=None)


def check_warmup(settings: DownstreamConfig[Any], where: str) -> None:
    """Refuse a warm-up that lasts as long as the training: the rate would only rise.

    The steps must be known: epochs are counted in each fold, see :meth:`RunnerConfig.counted`.

    Raises:
        ConfigError: with the number of steps, and how to set the warm-up
    """
    steps = settings.runner.total_steps
    warmup = 0 if settings.scheduler is None else settings.scheduler["num_warmup_steps"]
    if steps is not None and warmup >= steps:
        raise ConfigError(
            f"{where}: scheduler.num_warmup_steps {warmup} must be below the {steps} optimiser steps of the training: "
            f"the rate would only rise. Shorten it, for example to a tenth: -o "
            f"config.scheduler.num_warmup_steps={steps // 10}, or leave the schedule out: -o config.scheduler=None"
        )


INPUTS = ("manifest", "folds", "test_fold", "cached", "pretrained")
"""What our expert is given in a fold."""


def read_expert(given: Any, where: str) -> tuple[ExpertConfig, FoldInputs]:
    """``downstream_expert`` of one of ours, its parts built once.

    Raises:
        ConfigError: naming the key that is wrong
    """
    configured, inputs = split_inputs(given, INPUTS, where)
    expert = from_mapping(ExpertConfig, configured, where)
    check_parts(expert.modelrc, f"{where}.modelrc")
    check_targets(expert, where)
    return expert, inputs


def check_config(config: Mapping[str, Any], where: str, *, ours: bool = True) -> dict[str, Any]:
    """Check a whole configuration and return it as plain values, numbers converted, see :func:`read_settings`.

    Args:
        config: the content of the YAML file
        where: the file's name, for messages
        ours: whether ``downstream_expert`` is read by our expert (S3PRL's own experts read it themselves)
    """
    if not ours:
        settings, _ = read_settings(config, where, lambda expert, _: (expert, FoldInputs()))
        return plain_settings(settings, settings.expert)
    checked, inputs = read_settings(config, where, read_expert)
    return plain_settings(checked, plain_expert(checked.expert, inputs))


def plain_expert(expert: ExpertConfig, inputs: FoldInputs | None = None) -> dict[str, Any]:
    """``downstream_expert`` of one of ours as S3PRL has it; without ``inputs``, of no fold."""
    given = plain(inputs or FoldInputs())
    given = {key: given[key] for key in INPUTS if key in given and (inputs is not None or key != "test_fold")}
    content: dict[str, Any] = plain(expert)
    return {**content, "datarc": {**given, **content["datarc"]}}


def plain_settings(settings: DownstreamConfig[Any], expert: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration in S3PRL's layout, ``downstream_expert`` given."""
    further = {key: getattr(settings, key) for key in ("scheduler", "specaug", "finetune")}
    runner = plain(settings.runner)
    content = {
        "runner": {key: value for key, value in runner.items() if value is not None},
        "optimizer": settings.optimizer,
        **{key: value for key, value in further.items() if value is not None},
        "downstream_expert": expert,
    }
    return dict(plain(content))


def plain(value: Any) -> Any:
    """Dataclasses and tuples to dicts and lists: checkpoints hold them, and must load without pickled classes."""
    if hasattr(value, "__dataclass_fields__"):
        items = [(item, getattr(value, item.name)) for item in fields(value)]
        value = {item.name: own for item, own in items if item.metadata != LATER or own != item.default}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
