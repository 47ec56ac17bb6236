"""The settings of ``pretraining/configs/contrastive.yaml``. The paper states none of them: all defaults are ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from s3prl_emotion.errors import nearest

ALGORITHMS = ("kmeans", "agglomerative", "gaussian_mixture")
CHOICES = ("fixed", "silhouette")
NEGATIVES = ("clusters", "speakers")
PRECISIONS = ("no", "bf16", "fp16")


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
class ClusterSettings:
    """How a speaker's vectors, each of length 1, are grouped."""

    algorithm: str = "kmeans"  # or agglomerative (Ward), or gaussian_mixture (diagonal)
    choose: str = "fixed"  # clusters of them; silhouette: the number from fewest to most with the best silhouette
    clusters: int = 4
    fewest: int = 2
    most: int = 8
    min_utterances: int = 2  # of a cluster that gives pairs; a speaker gives pairs with two such clusters
    n_init: int = 10  # starts of k-means and of Gaussian mixtures
    shuffles: int = 1000  # random clusterings of the same sizes in the analysis

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"unknown algorithm {self.algorithm!r}. {nearest(self.algorithm, ALGORITHMS)}")
        if self.choose not in CHOICES:
            raise ValueError(f"unknown choose {self.choose!r}. {nearest(self.choose, CHOICES)}")
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

    projector_dim: int = 256
    pooling: dict[str, Any] = field(default_factory=lambda: {"name": "mean"})  # a registered one, and its options
    head: tuple[int, ...] = (256, 128)  # widths of the dropped head's layers

    def __post_init__(self) -> None:
        if self.projector_dim < 1 or not self.head or min(self.head) < 1:
            raise ValueError(f"projector_dim and every width in head: at least 1, got {self.projector_dim}, {self.head}")
        if not isinstance(self.pooling.get("name"), str):
            raise ValueError(f"pooling: expected a mapping with a name, such as {{name: mean}}, got {self.pooling}")


@dataclass(frozen=True)
class BatchSettings:
    """What one step hears: speakers x clusters x utterances."""

    speakers: int = 8
    clusters: int = 2  # of each speaker
    utterances: int = 4  # of each cluster

    def __post_init__(self) -> None:
        for name, least in (("speakers", 1), ("clusters", 2), ("utterances", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


@dataclass(frozen=True)
class LossSettings:
    """What is minimised: a contrastive loss, and a weight times the cross-entropy of who speaks."""

    name: str = "infonce"  # or triplet, or supcon
    temperature: float = 0.1  # of infonce and supcon
    margin: float = 0.2  # of triplet, in cosine distance
    negatives: str = "clusters"  # the same speaker's other clusters; speakers: other speakers' utterances too
    speaker_weight: float = 0.0  # lambda; 1 is the multi-task form
    reverse: bool = False  # turn the speaker task's gradient around where it enters the model

    def __post_init__(self) -> None:
        if not self.temperature > 0 or not self.margin > 0 or self.speaker_weight < 0:
            raise ValueError(
                "temperature and margin must be above 0, speaker_weight not below, got "
                f"{self.temperature:g}, {self.margin:g}, {self.speaker_weight:g}"
            )
        if self.negatives not in NEGATIVES:
            raise ValueError(f"unknown negatives {self.negatives!r}. {nearest(self.negatives, NEGATIVES)}")
        if self.reverse and not self.speaker_weight:
            raise ValueError("reverse turns the speaker task around, and speaker_weight 0 leaves it out")


@dataclass(frozen=True)
class TrainingSettings:
    """One training: Adam at a constant rate."""

    steps: int = 2000
    lr: float = 1e-3
    weight_decay: float = 0.0
    clip: float = 1.0  # maximal gradient norm
    save_every: int = 200  # steps between checkpoints to go on from
    log_every: int = 20
    precision: str = "no"

    def __post_init__(self) -> None:
        for name in ("steps", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.lr > 0 or not self.clip > 0 or self.weight_decay < 0:
            raise ValueError(
                f"lr and clip must be above 0, weight_decay not below, got {self.lr:g}, {self.clip:g}, "
                f"{self.weight_decay:g}"
            )
        if self.precision not in PRECISIONS:
            raise ValueError(f"unknown precision {self.precision!r}. {nearest(self.precision, PRECISIONS)}")


@dataclass(frozen=True)
class ContrastiveSettings:
    """All stages."""

    speech: SpeechSettings = field(default_factory=SpeechSettings)
    embed: EmbedSettings = field(default_factory=EmbedSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    batches: BatchSettings = field(default_factory=BatchSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)


def with_encoder(name: str) -> Mapping[str, Any]:
    """What ``--encoder`` changes."""
    return {"embed": {"encoder": {"name": name}}}
