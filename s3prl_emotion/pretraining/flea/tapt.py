"""Stage 1: masked prediction of the base's own clusters, on the corpus (task-adaptive pretraining)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s3prl_emotion.pretraining.clustering import cluster
from s3prl_emotion.pretraining.flea.plan import FleaPlan, settings_of
from s3prl_emotion.pretraining.flea.training import REPORT, train_stage, write_report
from s3prl_emotion.pretraining.hubert import read_base
from s3prl_emotion.pretraining.provenance import Stage, sha256_of_path
from s3prl_emotion.pretraining.settings import KMeansSettings
from s3prl_emotion.pretraining.states import hidden_states


def stage_of(plan: FleaPlan, fold: int) -> Stage:
    """The stage for a fold: its own, or the one for all where everything may be heard."""
    settings = plan.settings.tapt
    given = {} if settings.kmeans is None else {"kmeans": sha256_of_path(Path(settings.kmeans))}
    about = {**settings_of(settings), "kmeans_settings": settings_of(plan.settings.cluster.kmeans)}
    return plan.stage("tapt", None if plan.shared_tapt() else fold, about, given)


def run(plan: FleaPlan, fold: int) -> dict[str, Any]:
    """Cluster the base's hidden states, or label them by a given k-means; then train.

    Returns:
        the stage's record
    """
    stage = stage_of(plan, fold)
    settings = plan.settings.tapt
    manifest = plan.heard(stage.fold)

    def labels() -> Path:
        place = stage.folder / "labels"
        if not (place / REPORT).is_file():
            kmeans: KMeansSettings = plan.settings.cluster.kmeans
            blocks = read_base(plan.base).blocks
            states = hidden_states(
                plan.base, manifest, [settings.layer], blocks, plan.wanted.cache_options, plan.device
            )
            given = None if settings.kmeans is None else Path(settings.kmeans)
            write_report(place, cluster(states, settings.layer, settings.clusters, given, kmeans, manifest, place))
        return place

    return train_stage(stage, plan.base, manifest, labels, settings.training, plan.wanted.seed, plan.device)
