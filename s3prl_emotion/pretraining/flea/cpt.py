"""Stage 4: masked prediction of the emotion-tuned clusters, started from the base (continued pretraining)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s3prl_emotion.pretraining.flea import cluster
from s3prl_emotion.pretraining.flea.cluster import Cell
from s3prl_emotion.pretraining.flea.plan import FleaPlan, settings_of
from s3prl_emotion.pretraining.flea.training import train_stage
from s3prl_emotion.pretraining.provenance import Stage, sha256_of_path


def stage_of(plan: FleaPlan, fold: int, cell: Cell) -> Stage:
    """The stage for a fold and a cell."""
    inputs = {"labels": sha256_of_path(cluster.labels_of(cluster.stage_of(plan, fold, cell)) / "labels.npy")}
    return plan.stage("cpt", fold, settings_of(plan.settings.cpt), inputs, cell.below)


def run(plan: FleaPlan, fold: int, cell: Cell) -> dict[str, Any]:
    """Train on stage 3's labels.

    Returns:
        the stage's record
    """
    before = cluster.stage_of(plan, fold, cell)
    stage = stage_of(plan, fold, cell)

    def labels() -> Path:
        return cluster.labels_of(before)

    training = plan.settings.cpt.training
    return train_stage(stage, plan.base, plan.heard(fold), labels, training, plan.wanted.seed, plan.device)
