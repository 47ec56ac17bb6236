"""Parts of a trained recogniser, apart from the upstream itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from s3prl_emotion.audio.preparation import WHOLE, Preparation
from s3prl_emotion.classical import Choice
from s3prl_emotion.classical.model import Model
from s3prl_emotion.downstream.config import ModelConfig
from s3prl_emotion.runs.results import Results
from s3prl_emotion.upstreams.reference import UpstreamOrigin, UpstreamRef


@dataclass(frozen=True)
class UpstreamUse:
    """What a head takes of its upstream; the names are those of S3PRL's options."""

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
    classical: Model | None = None  # in place of head and layer weights
    text: Mapping[str, Tensor] | None = None  # parameters of downstream.text.TextBranch, where they were trained


@dataclass(frozen=True)
class Parts:
    """Everything but the upstream: heads of one or more folds of one run, and how audio is prepared for them."""

    upstream: UpstreamRef
    use: UpstreamUse
    downstream: str  # the -d name
    model: ModelConfig | None  # None for a classical model
    labels: tuple[str, ...]
    folds: tuple[FoldParts, ...]
    corpus: str
    preparation: Preparation = WHOLE  # of recordings, as in training
    results: Results | None = None  # the run's results.json
    choice: Choice | None = None  # of a classical model: how states become vectors
    text: UpstreamOrigin | None = None  # the text encoder, of heads that read what is said
