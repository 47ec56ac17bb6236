"""What stages 1 and 4 share: labels are made by one process, then all processes train on them."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.files import write_atomically
from s3prl_emotion.pretraining.labels import PseudoLabels
from s3prl_emotion.pretraining.loop import forget_checkpoints
from s3prl_emotion.pretraining.masked import MODEL, train
from s3prl_emotion.pretraining.processes import make_accelerator
from s3prl_emotion.pretraining.provenance import Stage
from s3prl_emotion.pretraining.settings import MaskedPredictionConfig
from s3prl_emotion.runs.record import read_json

logger = logging.getLogger(__name__)

REPORT = "clusters.json"


def train_stage(
    stage: Stage,
    base: Path,
    manifest: Manifest,
    labels: Callable[[], Path],
    training: MaskedPredictionConfig,
    seed: int,
    device: str,
) -> dict[str, Any]:
    """Train a stage to its end, in any number of processes.

    Args:
        stage: which
        base: the HuBERT to start from
        manifest: the utterances
        labels: makes their frame labels, if they are not there, and gives their folder; called by one process
        training: its settings
        seed: of the run
        device: ``cuda`` or ``cpu``

    Returns:
        the stage's record; ``model`` in its folder is the HuBERT of the best dev loss
    """
    done = stage.finished()
    if done is not None:
        logger.info("%s: finished already", stage)
        return done
    accelerator = make_accelerator(training.precision, device)
    with stage.working() if accelerator.is_main_process else contextlib.nullcontext():
        place = labels() if accelerator.is_main_process else None
        accelerator.wait_for_everyone()
        place = stage.folder / "labels" if place is None else place
        found = PseudoLabels.read(place)
        metrics = train(base, manifest, found, training, seed, stage.folder, accelerator, str(stage))
        report = place / REPORT
        if report.is_file():
            metrics["clustering"] = read_json(report, "a clustering")
        if accelerator.is_main_process:
            stage.finish(metrics)
        accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        forget_checkpoints(stage.folder)
    return stage.finished() or {}


def model_of(stage: Stage) -> Path:
    """The HuBERT that a stage left."""
    return stage.folder / MODEL


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Keep what a clustering says beside its labels, last of all: the labels are then complete."""
    write_atomically(folder / REPORT, json.dumps(report, indent=1, allow_nan=False) + "\n")
