"""The settings of ``pretraining/configs/contrastive.yaml``. The paper states none of them: all defaults are ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from s3prl_emotion.errors import suggest
from s3prl_emotion.pretraining.settings import OptimiserSettings, Schedule

GROUPINGS = ("embeddings", "random", "labels")
STARTS = ("scratch", "pretrained", "random", "labels")
ALGORITHMS = ("kmeans", "agglomerative", "gaussian_mixture")
CHOICES = ("fixed", "silhouette")
NEGATIVES = ("clusters", "speakers")
DEVS = ("utterances", "speakers")


@dataclass(frozen=True)
class SpeechSettings:
    """Which utterances of the speech are heard."""

    min_s: float = 1.0  # shorter ones are left out

    def __post_init__(self) -> None:
        if not self.min_s >= 0.025:
            raise ValueError(f"min_s must be at least 0.025, got {self.min_s:g}")


@dataclass(frozen=True)
class EmbedSettings:
    """What makes one vector of an utterance."""

    encoder: dict[str, Any] = field(default_factory=lambda: {"name": "ge2e"})  # a registered one, and its options

    def __post_init__(self) -> None:
        if not isinstance(self.encoder.get("name"), str):
            raise ValueError(f"encoder: expected a mapping with a name, such as {{name: ge2e}}, got {self.encoder}")


@dataclass(frozen=True)
class SpeakerClusterSettings:
    """How a speaker's utterances are grouped."""

    by: str = "embeddings"  # each of length 1; random: the same sizes, drawn; labels: emotion, an upper bound
    algorithm: str = "kmeans"  # or agglomerative (Ward), or gaussian_mixture (diagonal)
    choose: str = "fixed"  # clusters of them; silhouette: the number from fewest to most with the best silhouette
    clusters: int = 4
    fewest: int = 2
    most: int = 8
    min_utterances: int = 2  # of a cluster that gives pairs; a speaker gives pairs with two such clusters
    n_init: int = 10  # starts of k-means and of Gaussian mixtures
    shuffles: int = 1000  # random clusterings of the same sizes in the analysis

    def __post_init__(self) -> None:
        if self.by not in GROUPINGS:
            raise ValueError(f"unknown by {self.by!r}. {suggest(self.by, GROUPINGS)}")
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"unknown algorithm {self.algorithm!r}. {suggest(self.algorithm, ALGORITHMS)}")
        if self.choose not in CHOICES:
            raise ValueError(f"unknown choose {self.choose!r}. {suggest(self.choose, CHOICES)}")
        if self.clusters < 2:
            raise ValueError(f"clusters must be at least 2, got {self.clusters}")
        if not 2 <= self.fewest <= self.most:
            raise ValueError(f"expected 2 <= fewest <= most, got {self.fewest} and {self.most}")
        if self.min_utterances < 2:
            raise ValueError(f"min_utterances must be at least 2, which make a pair, got {self.min_utterances}")
        for name in ("n_init", "shuffles"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class ModelSettings:
    """What is trained: layer weights, a projection of each frame, a pooling, and a head that is dropped afterwards."""

    projector_dim: int | None = 256  # null pools the upstream's features themselves
    pooling: dict[str, Any] = field(default_factory=lambda: {"name": "mean"})  # a registered one, and its options
    dropout: float = 0.0  # on the features before pooling
    head: tuple[int, ...] = (256, 128)  # widths of the dropped head's layers, with ReLU in between

    def __post_init__(self) -> None:
        if (self.projector_dim is not None and self.projector_dim < 1) or not self.head or min(self.head) < 1:
            raise ValueError(
                f"projector_dim and every width in head must be at least 1, got {self.projector_dim}, {self.head}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if not isinstance(self.pooling.get("name"), str):
            raise ValueError(f"pooling: expected a mapping with a name, such as {{name: mean}}, got {self.pooling}")


@dataclass(frozen=True)
class PairBatchSettings:
    """What one batch hears: speakers x clusters x utterances."""

    speakers: int = 8
    clusters: int = 2  # of each speaker
    utterances: int = 4  # of each cluster
    per_step: int = 1  # batches whose gradients are added for an optimiser step; at least as many as processes

    def __post_init__(self) -> None:
        for name, least in (("speakers", 1), ("clusters", 2), ("utterances", 2), ("per_step", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


@dataclass(frozen=True)
class LossSettings:
    """What is minimised: a contrastive loss, and a weight times the cross-entropy of who speaks."""

    objective: dict[str, Any] = field(default_factory=lambda: {"name": "infonce"})  # a registered one, and its options
    negatives: str = "clusters"  # the same speaker's other clusters; speakers: other speakers' utterances too
    speaker_weight: float = 0.0  # lambda; 1 is the multi-task form
    reverse: bool = False  # turn the speaker task's gradient around where it enters the model

    def __post_init__(self) -> None:
        if not isinstance(self.objective.get("name"), str):
            raise ValueError(f"objective: expected a mapping with a name, such as {{name: infonce}}: {self.objective}")
        if not 0 <= self.speaker_weight < math.inf:
            raise ValueError(f"speaker_weight must be a finite number, not below 0, got {self.speaker_weight:g}")
        if self.negatives not in NEGATIVES:
            raise ValueError(f"unknown negatives {self.negatives!r}. {suggest(self.negatives, NEGATIVES)}")
        if self.reverse and not self.speaker_weight:
            raise ValueError("reverse turns the speaker task around, and speaker_weight 0 leaves it out")


@dataclass(frozen=True)
class DevSettings:
    """What is held out to choose the checkpoint; pairs are made within it alone."""

    of: str = "utterances"  # some of each cluster; speakers: some speakers with all of theirs
    share: float = 0.1  # at least two utterances of a cluster, or one speaker

    def __post_init__(self) -> None:
        if self.of not in DEVS:
            raise ValueError(f"unknown of {self.of!r}. {suggest(self.of, DEVS)}")
        if not 0 < self.share < 1:
            raise ValueError(f"share must be in (0, 1), got {self.share}")


@dataclass(frozen=True)
class TrainingSettings(Schedule):
    """One training by contrast."""

    steps: int = 2000
    optimiser: OptimiserSettings = field(
        default_factory=lambda: OptimiserSettings(lr=1e-3, warmup_steps=100, beta2=0.999, eps=1e-8, clip=1.0)
    )
    precision: str = "no"
    eval_every: int = 100
    save_every: int = 200
    log_every: int = 20
    dev: DevSettings = field(default_factory=DevSettings)


@dataclass(frozen=True)
class StudySettings:
    """What ``--study`` trains heads on, and how often."""

    downstream: str = "emotion_contrastive"
    starts: tuple[str, ...] = STARTS
    shares: tuple[float, ...] = (1.0, 0.3, 0.1)  # of the training part's labels
    seeds: tuple[int, ...] = (1337, 1338, 1339)  # of training and of what a share holds
    config: dict[str, Any] = field(default_factory=dict)  # changes of that downstream's configuration

    def __post_init__(self) -> None:
        for name in ("starts", "shares", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name}: expected one or several different ones, got {list(values)}")
        for start in self.starts:
            if start not in STARTS:
                raise ValueError(f"unknown start {start!r}. {suggest(start, STARTS)}")
        if not all(0 < share <= 1 for share in self.shares):
            raise ValueError(f"shares must be above 0 and at most 1, got {list(self.shares)}")
        if not all(0 <= seed < 2**32 for seed in self.seeds):
            raise ValueError(f"seeds must be in 0 to 2^32 - 1, got {list(self.seeds)}")


@dataclass(frozen=True)
class ContrastiveSettings:
    """All stages."""

    speech: SpeechSettings = field(default_factory=SpeechSettings)
    embed: EmbedSettings = field(default_factory=EmbedSettings)
    cluster: SpeakerClusterSettings = field(default_factory=SpeakerClusterSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    batches: PairBatchSettings = field(default_factory=PairBatchSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    study: StudySettings = field(default_factory=StudySettings)


def with_encoder(name: str) -> Mapping[str, Any]:
    """What ``--encoder`` changes."""
    return {"embed": {"encoder": {"name": name}}}
