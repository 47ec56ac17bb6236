"""What a trained recogniser is made of, apart from the upstream itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from s3prl_emotion.audio.preparation import WHOLE, Preparation
from s3prl_emotion.downstream.config import ModelConfig


@dataclass(frozen=True)
class UpstreamUse:
    """The upstream that a head was trained on, and what it takes of it; the names are those of S3PRL's options."""

    name: str
    checkpoint: str | None = None  # -k: a path, URL or Hub id; of a path, an export holds the last part only
    checkpoint_sha256: str | None = None  # of the file, or of a folder's files with their names
    checkpoint_revision: str | None = None  # the commit, of a Hub id
    model_config: str | None = None  # -g, the same three
    model_config_sha256: str | None = None
    model_config_revision: str | None = None
    fine_tuned: bool = False  # -f: the weights come with the head
    selection: str = "hidden_states"  # -s
    layer: int | None = None  # -l
    normalize: bool = False  # --upstream_feature_normalize


@dataclass(frozen=True)
class FoldParts:
    """What one fold learned."""

    number: int
    head: Mapping[str, Tensor]  # parameters of downstream.head.Head
    layer_weights: Tensor | None  # (layers,), before the softmax; None with a single layer
    upstream: Mapping[str, Tensor] | None = None  # the fine-tuned upstream's parameters


@dataclass(frozen=True)
class Parts:
    """Everything but the upstream: heads of one or more folds of one run, and how audio is prepared for them."""

    upstream: UpstreamUse
    downstream: str  # the -d name
    model: ModelConfig
    labels: tuple[str, ...]
    folds: tuple[FoldParts, ...]
    corpus: str
    preparation: Preparation = WHOLE  # of recordings, as in training
    results: Mapping[str, Any] | None = None  # the run's results.json
