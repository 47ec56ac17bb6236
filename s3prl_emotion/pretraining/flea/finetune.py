"""Stage 2: stage 1 fine-tuned for emotion on a fold's training part, by S3PRL's Runner."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from s3prl_emotion.experiment.run import check as check_experiment
from s3prl_emotion.experiment.run import run as run_experiment
from s3prl_emotion.pretraining.flea import export
from s3prl_emotion.pretraining.flea.plan import FleaPlan, settings_of
from s3prl_emotion.pretraining.hubert import new_folder, read_base, write_model
from s3prl_emotion.pretraining.masked import MODEL
from s3prl_emotion.pretraining.provenance import Stage, sha256_of_path
from s3prl_emotion.pretraining.settings import override_of
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.record import read_json
from s3prl_emotion.s3prl_runner.checkpoints import load_checkpoint

logger = logging.getLogger(__name__)


def stage_of(plan: FleaPlan, fold: int) -> Stage:
    """The stage for a fold."""
    inputs = {"tapt": sha256_of_path(export.folder_of(plan, "tapt", fold)), "folds": plan.folds.sha256()}
    return plan.stage("finetune", fold, settings_of(plan.settings.finetune), inputs)


def run_folder(plan: FleaPlan, upstream: str, downstream: str) -> Path:
    """Where a system of the last table is trained and tested."""
    return plan.folder / "runs" / f"{upstream}-{downstream}"


def fine_tune(plan: FleaPlan, upstream: dict[str, Any], downstream: str, config: Any, folder: Path, folds: Any) -> None:
    """Fine-tune an upstream on folds, ``-f -s last_hidden_state``, and test it; finished folds are not run again."""
    run_experiment(*plan.request(_fine_tuning(upstream, downstream, config, folder), folds))


def check(plan: FleaPlan) -> None:
    """Check the settings of stage 2 and of the last table on the base, before anything is trained.

    Raises:
        EmotionError: naming the option that is wrong, or file and key
    """
    settings = plan.settings
    base = export.upstream_of(plan, "base")
    wanted = [(settings.finetune.downstream, settings.finetune.config)]
    wanted += [(name, settings.evaluate.config) for name in settings.evaluate.downstreams]
    for downstream, config in wanted:
        s3prl = _fine_tuning(base, downstream, config, run_folder(plan, "base", downstream))
        check_experiment(plan.request(s3prl, plan.numbers)[0])


def _fine_tuning(upstream: dict[str, Any], downstream: str, config: Any, folder: Path) -> dict[str, Any]:
    """S3PRL's arguments."""
    return {
        **upstream,
        "downstream": downstream,
        "upstream_trainable": True,
        "upstream_feature_selection": "last_hidden_state",
        "override": override_of(config),
        "expdir": str(folder),
    }


def run(plan: FleaPlan, fold: int) -> dict[str, Any]:
    """Fine-tune stage 1, then write the dev-best checkpoint's HuBERT as a folder in transformers format.

    Returns:
        the stage's record
    """
    stage = stage_of(plan, fold)
    done = stage.finished()
    if done is not None:
        logger.info("%s: finished already", stage)
        return done
    settings = plan.settings.finetune
    place = run_folder(plan, "tapt", settings.downstream)
    with stage.working():
        fine_tune(plan, export.upstream_of(plan, "tapt"), settings.downstream, settings.config, place, [fold])
        trained = RunFolder(place).fold(fold)
        weights = {
            name.removeprefix("model."): value for name, value in load_checkpoint(trained.best)["Upstream"].items()
        }
        with new_folder(stage.folder / MODEL) as temporary:
            write_model(read_base(export.folder_of(plan, "tapt", fold)), temporary, weights)
        about = read_json(trained.record, "a finished fold")
        return stage.finish(
            {
                "run": place.relative_to(plan.folder).as_posix(),
                "step": about["step"],
                "dev_score": about["dev_score"],
                "checkpoint_sha256": about["checkpoint_sha256"],
            }
        )
