"""Typed settings of pretraining: a YAML file per recipe, ``-o`` to override, unknown keys are errors."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from s3prl_emotion.config import check_plain, from_mapping, read_yaml, shown
from s3prl_emotion.errors import ConfigError, suggest
from s3prl_emotion.pretraining.objective import MaskSettings

D = TypeVar("D")

CROPS = ("shortest", "none")
PRECISIONS = ("no", "bf16", "fp16")
MAX_PARTS = 10_000
"""Parts of a step; the bound is ours."""


@dataclass(frozen=True)
class BatchSettings:
    """What one optimiser step hears."""

    seconds: float = 350.0  # of audio in a step, over all processes
    part_seconds: float = 87.5  # of audio that one device holds at a time: the step is accumulated from such parts
    min_s: float = 1.0  # shorter clips are left out
    max_s: float = 15.6  # longer ones are cropped, elsewhere at every step
    crop: str = "shortest"  # a part's clips are cropped to its shortest; none: they are padded
    buckets: int = 1000  # groups by length: a part's clips are of one group, or of neighbours
    dev_share: float = 0.1  # of the files, drawn at random, on which the best checkpoint is chosen

    def __post_init__(self) -> None:
        if self.crop not in CROPS:
            raise ValueError(f"unknown crop {self.crop!r}. {suggest(self.crop, CROPS)}")
        if not 0.025 <= self.min_s <= self.max_s <= self.part_seconds <= self.seconds:
            raise ValueError(
                "expected 0.025 <= min_s <= max_s <= part_seconds <= seconds, got "
                f"{self.min_s:g}, {self.max_s:g}, {self.part_seconds:g}, {self.seconds:g}"
            )
        if self.parts > MAX_PARTS:
            raise ValueError(
                f"seconds {self.seconds:g} are {self.parts:.0g} parts of part_seconds {self.part_seconds:g}, expected "
                f"at most {MAX_PARTS}"
            )
        if self.buckets < 1:
            raise ValueError(f"buckets must be at least 1, got {self.buckets}")
        if not 0 < self.dev_share < 1:
            raise ValueError(f"dev_share must be in (0, 1), got {self.dev_share}")

    @property
    def parts(self) -> int:
        """Parts of a step."""
        return max(1, round(self.seconds / self.part_seconds))


@dataclass(frozen=True)
class OptimiserSettings:
    """AdamW with a rate that rises linearly, then falls linearly to 0 at the last step."""

    lr: float = 5e-4
    warmup_steps: int = 4000
    beta1: float = 0.9
    beta2: float = 0.98
    eps: float = 1e-6
    weight_decay: float = 0.01
    clip: float = 10.0  # maximal gradient norm

    def __post_init__(self) -> None:
        for name in ("lr", "eps", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if self.warmup_steps < 0 or self.weight_decay < 0:
            raise ValueError(f"warmup_steps, weight_decay: at least 0, got {self.warmup_steps}, {self.weight_decay}")


@dataclass(frozen=True)
class Schedule:
    """Of any training: how long, how fast, and when it is evaluated and saved."""

    steps: int = 20000  # optimiser steps
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    precision: str = "fp16"  # on a GPU: no, bf16 or fp16; a CPU computes in float32
    eval_every: int = 500  # steps between dev losses
    save_every: int = 500  # steps between checkpoints to go on from
    log_every: int = 50

    def __post_init__(self) -> None:
        for name in ("steps", "eval_every", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"unknown precision {self.precision!r}. {suggest(self.precision, PRECISIONS)}")
        if self.optimiser.warmup_steps >= self.steps:
            raise ValueError(
                f"optimiser.warmup_steps {self.optimiser.warmup_steps} must be below steps {self.steps}: the rate "
                f"would only rise. Shorten it, for example to a tenth: {self.steps // 10}"
            )

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ..., ``steps - 1``."""
        warmup = self.optimiser.warmup_steps
        done = step + 1
        if done <= warmup:
            return self.optimiser.lr * done / warmup
        return self.optimiser.lr * (self.steps - step) / (self.steps - warmup)


@dataclass(frozen=True)
class MaskedPredictionConfig(Schedule):
    """One training by masked prediction."""

    batch: BatchSettings = field(default_factory=BatchSettings)
    mask: MaskSettings = field(default_factory=MaskSettings)
    projection: int = 256  # width of the label embeddings
    temperature: float = 0.1
    penalty: float = 10.0  # weight of the mean square of the convolutional features
    freeze_convolutions: bool = True
    layerdrop: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.projection < 1:
            raise ValueError(f"projection must be at least 1, got {self.projection}")
        if not self.temperature > 0 or self.penalty < 0:
            raise ValueError(
                f"temperature must be above 0 and penalty not below, got {self.temperature}, {self.penalty}"
            )
        if not 0 <= self.layerdrop < 1:
            raise ValueError(f"layerdrop must be in [0, 1), got {self.layerdrop}")


@dataclass(frozen=True)
class KMeansSettings:
    """scikit-learn's MiniBatchKMeans, see :mod:`s3prl_emotion.pretraining.clustering`."""

    n_init: int = 20
    max_iter: int = 100  # passes over the frames
    batch_size: int = 10000  # frames
    max_no_improvement: int = 100  # batches
    seed: int = 1337

    def __post_init__(self) -> None:
        for name in ("n_init", "max_iter", "batch_size", "max_no_improvement"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def read_settings(kind: type[D], recipe: str, config: str | Path | None, *overrides: dict[str, Any] | str | None) -> D:
    """The settings of a recipe.

    Args:
        kind: a dataclass
        recipe: names the shipped file
        config: another file in its place
        overrides: nested mappings, or texts of ``-o``: ``"cpt.steps=100,,cluster.layer=6"``

    Raises:
        ConfigError: naming the file and the key
    """
    path = shipped(recipe) if config is None else Path(config)
    content = read_yaml(path)
    for override in overrides:
        if isinstance(override, str):
            override = _parsed(override)
        content = merged(content, override or {})
    typed = any(isinstance(item, str) and item.strip() for item in overrides)
    where = f"-o on {path}" if typed else str(path)
    check_plain(content, where)
    return from_mapping(kind, content, where)


def shipped(recipe: str) -> Path:
    """The YAML file of a recipe."""
    package = importlib.import_module("s3prl_emotion.pretraining.configs")
    return Path(str(package.__path__[0])) / f"{recipe}.yaml"


def plain(settings: Any) -> dict[str, Any]:
    """Settings as JSON holds them."""
    return dataclasses.asdict(settings)


def merged(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``content`` with the values of ``changes``, keys below keys."""
    result = dict(content)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def override_of(config: Mapping[str, Any]) -> str | None:
    """Nested changes of a downstream's configuration as the text of ``-o``."""

    def flat(value: Any, key: str) -> list[str]:
        if isinstance(value, Mapping):
            return [line for name, item in value.items() for line in flat(item, f"{key}.{name}")]
        return [f"{key}={value!r}"]

    return ",,".join(flat(config, "config")) or None


def _parsed(text: str) -> dict[str, Any]:
    """``a.b=1,,c=x`` as a nested mapping; a value is a Python literal, else a text. Nothing is executed."""
    result: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in text.split(",,"))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        names = key.split(".")
        if not equals or not all(names):
            raise ConfigError(f"-o {part!r}: expected KEY=VALUE, such as cpt.steps=100; several are joined by ',,'")
        try:
            found = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found = {"null": None, "true": True, "false": False}.get(value, value)
        except (MemoryError, RecursionError):
            raise ConfigError(f"-o {key}=...: {shown(value)} is nested too deeply to be a value") from None
        for name in reversed(names):
            found = {name: found}
        result = merged(result, found)
    return result
