"""The parts of a ``-d`` name's configuration, typed and checked.

The layout is S3PRL's (``runner``, ``optimizer``, ``downstream_expert: {datarc, modelrc}``), so that ``-o`` works as its
users know it; :mod:`s3prl_emotion.downstream.settings` reads a whole one. Every key is checked before anything is
trained; an unknown one is an error that names the nearest.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Any

from s3prl_emotion.config import shown
from s3prl_emotion.errors import ConfigError, suggest
from s3prl_emotion.mapping import LATER
from s3prl_emotion.text.settings import TextConfig

SAMPLERS = ("shuffle", "class_weighted")
TARGETS = ("hard", "soft")
MIN_DURATION_S = 0.025
MAX_WORKERS = 256
MAX_HEAD_NUMBERS = 2**30
"""Parameters and buffers of a pooling: 4 GB in float32; the bound is ours."""

_COUNTS = ("total_steps", "eval_step", "gradient_accumulate_steps", "log_step", "save_step", "max_keep", "epochs")


@dataclass(frozen=True)
class RunnerConfig:
    """What S3PRL's Runner reads from ``runner``, and ``epochs``, which is counted in steps before S3PRL sees it.

    Either ``total_steps`` and ``eval_step`` are given, or ``epochs``, and ``eval_step`` if not once an epoch.
    """

    total_steps: int | None = None  # optimiser steps
    eval_step: int | None = None  # steps between evaluations on eval_dataloaders
    gradient_clipping: float = 1.0  # maximal gradient norm
    gradient_accumulate_steps: int = 1  # batches per optimiser step
    log_step: int = 500  # steps between training log lines
    save_step: int = 1000  # steps between checkpoints to resume from
    max_keep: int = 2  # such checkpoints kept; with 2 a kill during saving loses nothing
    eval_dataloaders: tuple[str, ...] = ("dev",)
    train_dataloader: str = "train"
    fp16: bool = False
    evaluate_ratio: float = 1.0
    epochs: int | None = None  # times that a fold's training part is gone through, in place of total_steps

    def __post_init__(self) -> None:
        if self.epochs is not None and self.total_steps is not None:
            raise ValueError(
                f"epochs {self.epochs} and total_steps {self.total_steps} both say how long to train: make one null"
            )
        for name in ("total_steps", "eval_step"):
            if self.epochs is None and getattr(self, name) is None:
                raise ValueError(f"missing key {name!r}")
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.total_steps is not None and self.eval_step is not None and self.eval_step > self.total_steps:
            raise ValueError(
                f"eval_step {self.eval_step} is above total_steps {self.total_steps}: no checkpoint would be selected. "
                f"Lower eval_step, for example -o config.runner.eval_step={max(1, self.total_steps // 5)}"
            )
        if "dev" not in self.eval_dataloaders or set(self.eval_dataloaders) - {"dev", "test"}:
            raise ValueError(
                f"eval_dataloaders may hold 'test' and must hold 'dev', on which the checkpoint is selected, "
                f"got {list(self.eval_dataloaders)}"
            )
        if self.train_dataloader != "train":
            raise ValueError(
                f"train_dataloader must be 'train', got {self.train_dataloader!r}: nothing else is trained on"
            )
        if self.evaluate_ratio != 1.0:
            raise ValueError(f"evaluate_ratio must be 1, got {self.evaluate_ratio}: dev and test are scored whole")
        if not self.gradient_clipping > 0:
            raise ValueError(f"gradient_clipping must be positive, got {self.gradient_clipping}")

    @property
    def length(self) -> int | str:
        """How long it trains: optimiser steps, or epochs in words."""
        return self.total_steps if self.total_steps is not None else f"{self.epochs} epochs"

    def counted(self, utterances: int, batch_size: int) -> RunnerConfig:
        """The same with epochs counted in optimiser steps (the count is ours, as S3PRL knows steps only).

        An epoch has ``ceil(utterances / batch_size) // gradient_accumulate_steps`` steps, at least one; what is left
        over of it is accumulated into the next one's. Dev is scored once an epoch, unless ``eval_step`` says otherwise.

        Args:
            utterances: of the training part
            batch_size: utterances in a batch

        Raises:
            ValueError: if ``eval_step`` is above the steps of all epochs
        """
        if self.epochs is None:
            return self
        of_epoch = max(1, -(-utterances // batch_size) // self.gradient_accumulate_steps)
        return replace(self, total_steps=self.epochs * of_epoch, eval_step=self.eval_step or of_epoch, epochs=None)


@dataclass(frozen=True)
class DataConfig:
    """``downstream_expert.datarc``: how batches are made."""

    train_batch_size: int = 32
    eval_batch_size: int = 32
    num_workers: int = 0  # audio is decoded once and kept, so workers rarely pay
    pre_load: bool = True  # keep decoded audio in memory
    sampler: str = "shuffle"  # or class_weighted: draw with replacement, weight 1 / class count
    labels: str = "hard"  # or soft: train on the annotators' votes; where an utterance has none, on its label (ours)
    max_duration_s: float | None = None  # training and evaluation use the first seconds only
    augmentation: tuple[dict[str, Any], ...] = field(default=(), metadata=LATER)  # effects: name, p and options
    train_share: float = field(default=1.0, metadata=LATER)  # of the training part, see downstream/share.py

    def __post_init__(self) -> None:
        if not 0 < self.train_share <= 1:
            raise ValueError(f"train_share must be above 0 and at most 1, got {self.train_share}")
        for name in ("train_batch_size", "eval_batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.num_workers <= MAX_WORKERS:
            raise ValueError(f"num_workers must be in 0 to {MAX_WORKERS}, got {self.num_workers}")
        if self.sampler not in SAMPLERS:
            raise ValueError(f"unknown sampler {self.sampler!r}. {suggest(self.sampler, SAMPLERS)}")
        if self.labels not in TARGETS:
            raise ValueError(f"unknown labels {self.labels!r}. {suggest(self.labels, TARGETS)}")
        if self.max_duration_s is not None and not MIN_DURATION_S <= self.max_duration_s < math.inf:
            raise ValueError(
                f"max_duration_s must be at least {MIN_DURATION_S}, one frame, and finite, got {self.max_duration_s}; "
                "null keeps whole utterances"
            )


@dataclass(frozen=True)
class FinetuneConfig:
    """``finetune``: how ``-f`` trains the upstream.

    The defaults are what S3PRL does with its own HuBERT, wav2vec 2.0 and WavLM (no masks, no layer-drop, convolutional
    feature encoder frozen), whatever a checkpoint's own configuration says: so the same weights are fine-tuned alike
    in every format. Masks follow SpecAugment as transformers draws it; a clip shorter than a mask has none.
    """

    mask_time_prob: float = 0.0  # share of frames that begin or continue a mask, before overlaps; 0: no masks
    mask_time_length: int = 10  # frames of a mask
    mask_time_min_masks: int = 2  # of a clip
    mask_feature_prob: float = 0.0  # the same of channels, which are set to 0
    mask_feature_length: int = 10  # channels of a mask
    mask_feature_min_masks: int = 0
    layerdrop: float = 0.0  # how probably a transformer block is skipped
    freeze_feature_encoder: bool = True  # the convolutions before the blocks stay as they are

    def __post_init__(self) -> None:
        for name in ("mask_time_prob", "mask_feature_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        for name in ("mask_time_length", "mask_feature_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("mask_time_min_masks", "mask_feature_min_masks"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 <= self.layerdrop < 1:
            raise ValueError(f"layerdrop must be in [0, 1), got {self.layerdrop}")


@dataclass(frozen=True)
class StartConfig:
    """``modelrc.pretrained``: layer weights, projector and pooling start from a pretrained head (``--pretrained``)."""

    frozen: bool = False  # they stay as they are: the classifier alone learns
    sha256: str | None = None  # of the folder that --pretrained named; filled in by it


@dataclass(frozen=True)
class AuxiliaryConfig:
    """``modelrc.auxiliary``: who speaks, as a second task in training (arXiv 2401.11017; the weight is ours)."""

    speaker_weight: float = 1.0  # times the cross-entropy of the training part's speakers is added to the loss
    reverse: bool = False  # turn its gradient around where it enters the head: who speaks is to be forgotten

    def __post_init__(self) -> None:
        if not 0 < self.speaker_weight < math.inf:
            raise ValueError(
                f"speaker_weight must be a finite number above 0, got {self.speaker_weight:g}; auxiliary: null leaves "
                "the task out"
            )


@dataclass(frozen=True)
class ModelConfig:
    """``downstream_expert.modelrc``: weighted sum -> projector -> dropout -> pooling -> linear."""

    pooling: dict[str, Any]  # name and options of a pooling
    projector_dim: int | None = 256  # d_v; null pools the upstream's features themselves
    dropout: float = 0.0  # on the features before pooling
    objective: dict[str, Any] = field(default_factory=lambda: {"name": "cross_entropy"})
    text: TextConfig | None = field(default=None, metadata=LATER)  # a text encoder beside the pooled speech
    pretrained: StartConfig | None = field(default=None, metadata=LATER)  # null: random weights
    auxiliary: AuxiliaryConfig | None = field(default=None, metadata=LATER)  # null: no second task

    def __post_init__(self) -> None:
        if self.projector_dim is not None and self.projector_dim < 1:
            raise ValueError(f"projector_dim must be at least 1 or null, got {self.projector_dim}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        for key in ("pooling", "objective"):
            if not isinstance(getattr(self, key).get("name"), str):
                raise ValueError(f"{key} needs a 'name', a text, got {shown(getattr(self, key))}")
        speechless = self.text is not None and not self.text.speech
        if speechless and (self.projector_dim is not None or self.dropout or self.pooling != {"name": "mean"}):
            raise ValueError(
                "text.speech is false, so nothing of the speech is used: expected projector_dim: null, dropout: 0 and "
                "pooling: {name: mean}"
            )
        for key in ("pretrained", "auxiliary"):
            if speechless and getattr(self, key) is not None:
                raise ValueError(f"text.speech is false, so nothing is pooled that {key} could act on: leave {key} out")


@dataclass(frozen=True)
class ExpertConfig:
    """``downstream_expert``."""

    modelrc: ModelConfig
    datarc: DataConfig = field(default_factory=DataConfig)


def fold_number(name: str) -> int:
    """``"fold3"`` or ``"3"`` to 3.

    Raises:
        ValueError: for anything else
    """
    match = re.fullmatch(r"(?:fold)?([1-9][0-9]*)", str(name))
    if not match:
        raise ValueError(f"test_fold must look like 'fold1', got {name!r}")
    return int(match[1])


def check_parts(model: ModelConfig, where: str) -> None:
    """Build the pooling and the objective once, without memory, so that a wrong option is reported before anything is
    loaded, and a size that no machine has before it is tried.
    """
    import torch

    from s3prl_emotion.downstream.objectives import objectives
    from s3prl_emotion.pooling import poolings

    for key, registry, injected in (
        ("pooling", poolings, {"input_size": model.projector_dim or 4}),
        ("objective", objectives, {}),
    ):
        options = dict(getattr(model, key))
        name = options.pop("name")
        try:
            with torch.device("meta"):
                part = registry.build(name, options, where=f"{where}.{key}", **injected)
        except RuntimeError as error:  # torch's word for sizes that it cannot count
            raise ConfigError(f"{where}.{key}: {name!r} cannot be built: {str(error).splitlines()[0]}") from error
        numbers = sum(item.numel() for item in (*part.parameters(), *part.buffers())) + getattr(part, "output_size", 0)
        if numbers > MAX_HEAD_NUMBERS:
            raise ConfigError(
                f"{where}.{key}: {shown(getattr(model, key))} on {injected['input_size']} channels holds "
                f"{numbers:.1e} numbers, expected at most {MAX_HEAD_NUMBERS:.1e}"
            )


def check_targets(expert: ExpertConfig, where: str) -> None:
    """Votes need an objective that takes them."""
    from s3prl_emotion.downstream.objectives import objectives

    name = expert.modelrc.objective["name"]
    if expert.datarc.labels == "soft" and not getattr(objectives.get(name), "soft", False):
        able = [other for other in objectives.names() if getattr(objectives.get(other), "soft", False)]
        raise ConfigError(
            f"{where}.datarc.labels is soft, and the objective {name!r} takes class indices only (its class does "
            f"not say soft = True). Use labels: hard, or the objective {' or '.join(able)}"
        )
