"""The settings of ``pretraining/configs/flea.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from s3prl_emotion.errors import suggest
from s3prl_emotion.pretraining.settings import KMeansSettings, MaskedPredictionConfig
from s3prl_emotion.s3prl_runner.registration import downstream_configs


@dataclass(frozen=True)
class TaptSettings:
    """Stage 1."""

    layer: int = 9
    clusters: int = 500
    kmeans: str | None = None  # a file: a given k-means
    training: MaskedPredictionConfig = field(default_factory=MaskedPredictionConfig)

    def __post_init__(self) -> None:
        _check_clusters(self.layer, self.clusters)


@dataclass(frozen=True)
class FinetuneSettings:
    """Stage 2."""

    downstream: str = "emotion_attn_pool"
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_downstream(self.downstream)


@dataclass(frozen=True)
class FrameClusterSettings:
    """Stage 3."""

    layer: int = 9
    clusters: int = 50
    kmeans: KMeansSettings = field(default_factory=KMeansSettings)

    def __post_init__(self) -> None:
        _check_clusters(self.layer, self.clusters)


@dataclass(frozen=True)
class CptSettings:
    """Stage 4."""

    training: MaskedPredictionConfig = field(default_factory=MaskedPredictionConfig)


@dataclass(frozen=True)
class EvaluateSettings:
    """What the last table compares."""

    downstreams: tuple[str, ...] = ("emotion_mean_pool", "emotion_attn_pool")
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.downstreams:
            raise ValueError("downstreams: expected at least one")
        for name in self.downstreams:
            _check_downstream(name)


@dataclass(frozen=True)
class FleaSettings:
    """All stages."""

    tapt: TaptSettings = field(default_factory=TaptSettings)
    finetune: FinetuneSettings = field(default_factory=FinetuneSettings)
    cluster: FrameClusterSettings = field(default_factory=FrameClusterSettings)
    cpt: CptSettings = field(default_factory=CptSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)


def _check_clusters(layer: int, clusters: int) -> None:
    if layer < 1:
        raise ValueError(f"layer must be at least 1, the output of the first transformer block, got {layer}")
    if clusters < 2:
        raise ValueError(f"clusters must be at least 2, got {clusters}")


def _check_downstream(name: str) -> None:
    known = downstream_configs()
    if name not in known:
        raise ValueError(f"unknown downstream {name!r}. {suggest(name, known)}")
