"""All stages of contrastive pretraining, or one of them, for the folds that are worked on."""

from __future__ import annotations

import logging
import shlex
from typing import Any

from s3prl_emotion.errors import ConfigError
from s3prl_emotion.pretraining.contrastive import analysis, clustering, embed, export, training
from s3prl_emotion.pretraining.contrastive.plan import ContrastivePlan
from s3prl_emotion.pretraining.trainer_state import processes
from s3prl_emotion.reporting.layout import percent, tabulated, wrap

logger = logging.getLogger(__name__)

STAGES = ("embed", "cluster", "analysis", "pretrain", "export")
DISTRIBUTED = ("pretrain",)
"""Stages that several processes can work on together."""


def run(plan: ContrastivePlan, stage: str | None = None) -> None:
    """Run one stage, or all, on every fold that is worked on; what is finished is not done again.

    Raises:
        ConfigError: if several processes were started for a stage that one does
        RunError: if an earlier stage is not finished
    """
    if processes() > 1 and stage not in DISTRIBUTED:
        raise ConfigError(
            f"{processes()} processes: only --stage {' and --stage '.join(DISTRIBUTED)} works in several; start the "
            "others, or the whole recipe, in one"
        )
    training.check_settings(plan.settings)
    for name in STAGES if stage is None else (stage,):
        if name == "embed":
            embed.run(plan)
        elif name == "analysis":
            analysis.run(plan)
        else:
            for fold in plan.numbers:
                logger.info("stage %s%s", name, "" if fold is None else f", fold {fold}")
                run_stage(plan, name, fold)


def run_stage(plan: ContrastivePlan, name: str, fold: int | None) -> None:
    """One of the stages that each fold has of its own."""
    if name == "cluster":
        clustering.run(plan, fold)
    elif name == "pretrain":
        training.train(plan, fold)
    else:
        export.export(plan, fold)


def printed(plan: ContrastivePlan) -> str:
    """What came out: the analysis, and the losses of each fold's pretraining."""
    rows = []
    for fold in plan.numbers:
        metrics: dict[str, Any] = (training.stage_of(plan, fold).finished() or {})["metrics"]
        heard = plan.heard(fold)
        rows.append(
            [
                "all" if fold is None else str(fold),
                str(len(heard.utterances)),
                str(len(heard.speakers)),
                percent(1 - metrics["without_pairs"] / metrics["utterances"]),
                f"{metrics['dev_untrained']['loss']:.4f}",
                f"{metrics['dev']['loss']:.4f}",
                f"{metrics['best_step']} of {metrics['steps']}",
            ]
        )
    head = ["fold", "heard", "speakers", "give pairs %", "dev loss untrained", "dev loss", "step"]
    about = [f"contrastive pretraining of {plan.upstream.name} on {plan.speech.corpus}", "", tabulated(head, rows), ""]
    if plan.settings.cluster.by == "labels":
        about.append(wrap("pairs come from emotion labels: an upper bound, no pretraining without labels"))
    if plan.wanted.demo:
        about.append(wrap("demo settings: it shows that the recipe works, and nothing else"))
    return "\n".join([analysis.printed(plan), "", *about, shlex.join(next_command(plan))])


def next_command(plan: ContrastivePlan) -> list[str]:
    """What trains a head from what was pretrained, on the same upstream and the same division."""
    wanted = plan.wanted
    words = ["s3prl-emotion", "run", "-u", wanted.upstream, "-d", "emotion_contrastive"]
    words += ["--pretrained", str(export.root_of(plan))]
    for flag, value in (("-k", wanted.checkpoint), ("-g", wanted.model_config), ("--corpus", wanted.corpus)):
        words += [] if value is None else [flag, value]
    words += [] if wanted.data is None else ["--data", str(wanted.data)]
    for key, value in wanted.corpus_options.items():
        words += ["--corpus-option", f"{key}={value}"]
    words += [] if plan.folds is None else ["--protocol", plan.folds.protocol]
    words += ["--fold", ",".join(map(str, wanted.folds))] if wanted.folds else []
    switches = (("--trim-zeros", wanted.trim_zeros), ("--skip-bad", wanted.skip_bad))
    words += [flag for flag, given in (*switches, ("--drop-leaks", wanted.drop_leaks)) if given]
    return words
