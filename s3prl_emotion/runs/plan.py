"""Typed parts of a run plan; ``s3prl_runner`` alone turns them into S3PRL's arguments and configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3prl_emotion.downstream.settings import DownstreamConfig
from s3prl_emotion.protocols.balance import Balance
from s3prl_emotion.text.choice import TextChoice

if TYPE_CHECKING:
    from s3prl_emotion.s3prl_runner.cache import CacheOptions


@dataclass(frozen=True)
class UpstreamChoice:
    """The upstream, and what is taken of it: S3PRL's options that begin with ``upstream``."""

    name: str  # -u, as it is on s3prl.hub
    checkpoint: str | None = None  # -k
    model_config: str | None = None  # -g
    refresh: bool = False  # -r
    trainable: bool = False  # -f
    selection: str = "hidden_states"  # -s
    layer: int | None = None  # -l
    normalize: bool = False
    model_name: str | None = "model.pt"
    revision: str | None = None


@dataclass(frozen=True)
class TrainingSpec:
    """What S3PRL's Runner does in every fold."""

    upstream: UpstreamChoice
    downstream: str  # -d
    settings: DownstreamConfig[Any]
    seed: int
    device: str
    further: Mapping[str, Any] = field(default_factory=dict)  # S3PRL's other arguments, which decide no number


AUDIO_ROOT = Path("result/audio")
"""Where audio that is made from a corpus lies: augmented copies, cleaned recordings."""


@dataclass(frozen=True)
class AudioDerivation:
    """What audio is made of a corpus' audio."""

    preparation: str | None = None  # the name of a way to clean, of all parts
    balance: Balance | None = None  # of training parts, by augmented copies
    root: Path = AUDIO_ROOT  # for the files; it decides no number

    def record(self) -> dict[str, Any]:
        """As ``run.json`` has it: what is made only, as records of earlier versions do not know it."""
        balance = None if self.balance is None else dataclasses.asdict(self.balance)
        made = {"preparation": self.preparation, "balance": balance}
        return {key: value for key, value in made.items() if value is not None}


@dataclass(frozen=True)
class CorpusChoice:
    """What is trained and tested on."""

    name: str
    data: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  # of the corpus' reader
    skip_bad: bool = False
    trim_zeros: bool = False
    drop_leaks: bool = False
    pretraining: tuple[Path, ...] = ()  # manifests of what the upstream was pretrained on
    making: AudioDerivation = field(default_factory=AudioDerivation)


@dataclass(frozen=True)
class Remarks:
    """What is worth printing of the settings, beside those of the configuration that ships."""

    demo: bool
    total_steps: int | str  # or epochs, in words
    lr: float | None
    file: Mapping[str, Any]  # total_steps and lr of the configuration that ships
    deviations: tuple[str, ...]  # from it, each in words
    plugins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # that decide the numbers, by kind and name
    pretrained: Mapping[str, Any] = field(default_factory=dict)  # the head that was started from: hash and lineage

    def record(self) -> dict[str, Any]:
        """As ``run.json`` has them; plugins, and a pretrained head, only where there are any."""
        content = dataclasses.asdict(self)
        return {key: value for key, value in content.items() if value or key not in ("plugins", "pretrained")}


@dataclass(frozen=True)
class RunPlan:
    """A run: everything that decides its numbers, where it goes, and what is said of it."""

    training: TrainingSpec
    corpus: CorpusChoice
    protocol: str
    folder: Path
    remarks: Remarks
    folds: tuple[int, ...] | None = None  # None: all
    score_again: bool = False  # -m evaluate: test again with the checkpoints that dev selected
    cache: CacheOptions | None = None  # None: hidden states are not stored
    text: TextChoice | None = None  # what is said; None for heads that do not read it
    pretrained: Path | None = None  # the folder of the head to start from; None: random weights
