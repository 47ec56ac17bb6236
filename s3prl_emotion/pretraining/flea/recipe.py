"""All stages of FLEA, or one of them, for the folds that are worked on."""

from __future__ import annotations

import logging
from collections.abc import Callable

from s3prl_emotion.errors import ConfigError, RunError
from s3prl_emotion.pretraining.flea import evaluate, stages
from s3prl_emotion.pretraining.flea.plan import FleaPlan
from s3prl_emotion.pretraining.flea.stages import Cell
from s3prl_emotion.pretraining.provenance import Stage
from s3prl_emotion.pretraining.trainer_state import processes

logger = logging.getLogger(__name__)

STAGES = ("tapt", "finetune", "cluster", "cpt", "export", "evaluate")
DISTRIBUTED = ("tapt", "cpt")
"""Stages that several processes can work on together."""


def run(plan: FleaPlan, stage: str | None = None) -> None:
    """Run one stage, or all, on every fold that is worked on; what is finished is not done again.

    Raises:
        ConfigError: if several processes were started for a stage that one does
        RunError: if an earlier stage is not finished
    """
    if processes() > 1 and stage not in DISTRIBUTED:
        raise ConfigError(
            f"{processes()} processes: only --stage {' and --stage '.join(DISTRIBUTED)} work in several; start the "
            "others, or the whole recipe, in one"
        )
    cell = stages.cell_of(plan)
    stages.check(plan)
    for name in STAGES if stage is None else (stage,):
        if name == "evaluate":
            check_exports(plan)
            evaluate.run(plan)
            continue
        for fold in plan.numbers:
            run_stage(plan, name, fold, cell)


def run_stage(plan: FleaPlan, name: str, fold: int, cell: Cell, layers: tuple[int, ...] = ()) -> None:
    """One stage of one fold.

    Raises:
        RunError: if an earlier one is not finished
    """
    before = STAGES[: STAGES.index(name)]
    if before:
        chain(plan, fold, cell, before[-1], f"{name}, fold {fold}")
    logger.info("stage %s, fold %d%s", name, fold, f", {cell.below}" if cell.below else "")
    if name == "tapt":
        stages.run_tapt(plan, fold)
        if processes() == 1:
            stages.run_export(plan, [stages.tapt_stage(plan, fold)], fold)
    elif name == "finetune":
        stages.run_export(plan, [stages.tapt_stage(plan, fold)], fold)
        stages.run_finetune(plan, fold)
    elif name == "cluster":
        stages.run_cluster(plan, fold, cell, layers)
    elif name == "cpt":
        stages.run_cpt(plan, fold, cell)
    else:
        stages.run_export(plan, chain(plan, fold, cell, "cpt", f"export, fold {fold}"), fold, cell.below)


def chain(plan: FleaPlan, fold: int, cell: Cell, last: str, what: str) -> list[Stage]:
    """The finished stages up to ``last``, each of which says what it was made from.

    Raises:
        RunError: naming the first that is not finished; ``what`` needs it
    """
    stage_of: dict[str, Callable[[], Stage]] = {
        "tapt": lambda: stages.tapt_stage(plan, fold),
        "finetune": lambda: stages.finetune_stage(plan, fold),
        "cluster": lambda: stages.cluster_stage(plan, fold, cell),
        "cpt": lambda: stages.cpt_stage(plan, fold, cell),
    }
    found: list[Stage] = []
    for name in list(stage_of)[: list(stage_of).index(last) + 1]:
        found.append(stage_of[name]())
        if found[-1].finished() is None:
            raise RunError(f"{what}: stage {name} is not finished: run it first (--stage {name})")
    return found


def check_exports(plan: FleaPlan) -> None:
    """Refuse to evaluate before every fold has its models.

    Raises:
        RunError: naming the fold
    """
    for fold in plan.numbers:
        for name in ("tapt", "cpt"):
            if not (stages.folder_of(plan, name, fold) / "pretraining.json").is_file():
                raise RunError(
                    f"evaluate, fold {fold}: no exported {name} model: run its stages and --stage export first"
                )
