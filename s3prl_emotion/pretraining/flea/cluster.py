"""Stage 3: clusters of the fine-tuned model's hidden states, without masks and without augmentation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3prl_emotion.pretraining import clustering
from s3prl_emotion.pretraining.flea import finetune
from s3prl_emotion.pretraining.flea.plan import FleaPlan, settings_of
from s3prl_emotion.pretraining.flea.training import write_report
from s3prl_emotion.pretraining.hubert import read_base
from s3prl_emotion.pretraining.masked import MODEL
from s3prl_emotion.pretraining.provenance import Stage, sha256_of_path
from s3prl_emotion.pretraining.states import hidden_states

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cell:
    """A layer and a number of clusters; ``below`` is where its stages lie in the run's folder."""

    layer: int
    clusters: int
    below: str = ""


def cell_of(plan: FleaPlan) -> Cell:
    """The one cell of a run that is no grid."""
    return Cell(plan.settings.cluster.layer, plan.settings.cluster.clusters)


def stage_of(plan: FleaPlan, fold: int, cell: Cell) -> Stage:
    """The stage for a fold and a cell."""
    settings = settings_of(plan.settings.cluster) | {"layer": cell.layer, "clusters": cell.clusters}
    inputs = {"finetune": sha256_of_path(finetune.stage_of(plan, fold).folder / MODEL)}
    return plan.stage("cluster", fold, settings, inputs, cell.below)


def labels_of(stage: Stage) -> Path:
    """Where the stage leaves its labels."""
    return stage.folder / "labels"


def run(plan: FleaPlan, fold: int, cell: Cell, layers: Sequence[int] = ()) -> dict[str, Any]:
    """Extract, cluster and report.

    Args:
        plan: the run
        fold: whose model, and whose audio
        cell: layer and number of clusters
        layers: of all cells, which share one extraction

    Returns:
        the stage's record
    """
    stage = stage_of(plan, fold, cell)
    done = stage.finished()
    if done is not None:
        logger.info("%s: finished already", stage)
        return done
    model = finetune.stage_of(plan, fold).folder / MODEL
    manifest = plan.heard(fold)
    with stage.working():
        blocks = read_base(model).blocks
        wanted = sorted({cell.layer, *layers})
        states = hidden_states(model, manifest, wanted, blocks, plan.wanted.cache_options, plan.device)
        place = labels_of(stage)
        settings = plan.settings.cluster.kmeans
        report = clustering.cluster(states, cell.layer, cell.clusters, None, settings, manifest, place)
        write_report(place, report)
        return stage.finish(report)
