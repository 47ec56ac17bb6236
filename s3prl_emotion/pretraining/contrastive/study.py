"""Does pretraining on clusters help? From scratch, pretrained, and two controls, at several shares of the labels.

``random`` is pretrained on clusters of the same sizes drawn at random, so what it gains is not due to clusters.
``labels`` is pretrained on emotion labels of the training part in place of clusters: an upper bound, no method.
"""

from __future__ import annotations

import dataclasses
import io
import logging
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from s3prl_emotion.errors import ConfigError, RunError
from s3prl_emotion.evaluation.comparability import say_folds
from s3prl_emotion.evaluation.comparison import compare
from s3prl_emotion.experiment import jobs as points_of
from s3prl_emotion.experiment.jobs import work_through
from s3prl_emotion.experiment.request import Request
from s3prl_emotion.experiment.run import check as check_experiment
from s3prl_emotion.experiment.splits import SplitCache
from s3prl_emotion.files import write_atomically
from s3prl_emotion.pretraining.contrastive import export, recipe
from s3prl_emotion.pretraining.contrastive.plan import ContrastivePlan
from s3prl_emotion.pretraining.settings import override_of
from s3prl_emotion.reporting.comparison import comparison_text
from s3prl_emotion.reporting.layout import Rows, percent, tabulated, wrap
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.results import read_results

logger = logging.getLogger(__name__)

FOLDER = "study"
CSV_FILE = "study.csv"
COLUMNS = ("start", "share", "seed", "ua", "wa", "macro_f1", "folds", "run")
GROUPINGS = {"pretrained": "embeddings", "random": "random", "labels": "labels"}
"""What clusters a start is pretrained on."""
TOLD = {
    "scratch": "random weights",
    "pretrained": "pretrained on clusters",
    "random": "pretrained on random clusters of the same sizes (control)",
    "labels": "pretrained on emotion labels (upper bound, no method)",
}


@dataclass(frozen=True)
class StudyPoint:
    """One run of the study."""

    start: str
    share: float
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.start}-share{self.share:g}-seed{self.seed}"


def run(plan: ContrastivePlan) -> str:
    """Pretrain what is missing, train every point, and compare; what is finished is not done again.

    A point that fails does not stop the others.

    Returns:
        the tables; ``study.csv`` in the study's folder holds the figures

    Raises:
        ConfigError: if no corpus is divided
        RunError: at the end, naming the points that failed and why
    """
    if plan.manifest is None or plan.folds is None:
        raise ConfigError(
            "--study trains and tests heads on a corpus: hear one with --speech CORPUS=DIR, or name it with --corpus "
            "and --data"
        )
    if plan.settings.cluster.by != "embeddings":
        raise ConfigError(f"--study sets cluster.by itself: leave {plan.settings.cluster.by!r} out")
    settings = plan.settings.study
    check_experiment(request_of(plan, StudyPoint("scratch", settings.shares[0], settings.seeds[0])))
    for start in settings.starts:
        if start != "scratch":
            logger.info("study: %s", TOLD[start])
    work_through(
        [start for start in settings.starts if start != "scratch"],
        lambda start: _pretrained(variant(plan, start)),
        lambda start: TOLD[start],
    )
    prepared = SplitCache({plan.folds.protocol: (plan.manifest, plan.folds)})
    points = [StudyPoint(*item) for item in product(settings.starts, settings.shares, settings.seeds)]
    runs = [points_of.Job(f"{point.start}-share{point.share:g}", request_of(plan, point)) for point in points]
    points_of.run_jobs(runs, prepared).raise_failures(len(runs))
    write_atomically(plan.folder / FOLDER / CSV_FILE, _csv(plan, points))
    return printed(plan, points)


def _pretrained(plan: ContrastivePlan) -> bool:
    """Pretrain; False if another process is at it."""
    try:
        recipe.run(plan)
    except RunError as error:
        if not points_of.is_held_elsewhere(error):
            raise
        return False
    return True


def variant(plan: ContrastivePlan, start: str) -> ContrastivePlan:
    """The same pretraining with other pairs, in a folder of its own; ``pretrained`` is the plan itself.

    On labels it is one for each fold under a transductive protocol too: what a fold tests on keeps its labels.
    """
    by = GROUPINGS[start]
    if by == plan.settings.cluster.by:
        return plan
    clusters = dataclasses.replace(plan.settings.cluster, by=by)
    wanted = dataclasses.replace(plan.wanted, settings=dataclasses.replace(plan.settings, cluster=clusters))
    inductive = plan.inductive or by == "labels"
    return dataclasses.replace(plan, wanted=wanted, folder=plan.folder / FOLDER / start, inductive=inductive)


def folder_of(plan: ContrastivePlan, point: StudyPoint) -> Path:
    """The run folder of a point."""
    return plan.folder / FOLDER / "runs" / point.name


def request_of(plan: ContrastivePlan, point: StudyPoint) -> Request:
    """The run of a point; all that differ in the start alone differ in nothing else."""
    model = plan.settings.model
    head: dict[str, Any] = {
        "projector_dim": model.projector_dim,
        "pooling": model.pooling,
        **({"pretrained": None} if point.start == "scratch" else {}),
    }
    overrides = (override_of(plan.settings.study.config), override_of({"downstream_expert": {"modelrc": head}}))
    s3prl = {
        "upstream": plan.wanted.upstream,
        "upstream_ckpt": plan.wanted.checkpoint,
        "upstream_model_config": plan.wanted.model_config,
        "downstream": plan.settings.study.downstream,
        "seed": point.seed,
        "device": plan.device,
        "override": ",,".join(text for text in overrides if text),
        "expdir": str(folder_of(plan, point)),
    }
    return Request(
        s3prl=s3prl,
        corpus=plan.wanted.corpus or "",
        data=plan.wanted.data,
        corpus_options=plan.wanted.corpus_options,
        protocol=None if plan.folds is None else plan.folds.protocol,
        folds=plan.wanted.folds,
        skip_bad=plan.wanted.skip_bad,
        trim_zeros=plan.wanted.trim_zeros,
        drop_leaks=plan.wanted.drop_leaks,
        cache_options=plan.wanted.cache_options,
        pretrained=None if point.start == "scratch" else export.root_of(variant(plan, point.start)),
        train_share=None if point.share == 1 else point.share,
    )


def printed(plan: ContrastivePlan, points: list[StudyPoint]) -> str:
    """UA of every start and share, then the comparison of each share, with paired tests against the first start."""
    settings = plan.settings.study
    rows, scored = [], set[int]()
    for start, share in product(settings.starts, settings.shares):
        results = [
            read_results(RunFolder(folder_of(plan, point)).results)
            for point in points
            if (point.start, point.share) == (start, share)
        ]
        values = [item.rates["ua"].mean for item in results]
        scored |= {fold.fold for item in results for fold in item.folds}
        rows.append(
            [
                TOLD[start],
                f"{100 * share:g}",
                percent(sum(values) / len(values)),
                " ".join(percent(value) for value in values),
            ]
        )
    first = settings.starts[0]
    parts = [
        f"study: {plan.upstream.name}, {plan.settings.model.pooling['name']} pooling, on {plan.speech.corpus}",
        "",
        tabulated(["start", "labels %", "UA %", "of each seed"], rows),
        "",
        wrap(
            f"UA: mean over {say_folds(sorted(scored))} and seeds "
            f"{', '.join(map(str, settings.seeds))}, of each in this order"
        ),
        wrap(
            "all seeds of a start share one pretraining, so the spread over seeds is that of training heads alone; "
            "differences are taken from the first start, and p adjusted within each share"
        ),
    ]
    if plan.wanted.demo:
        parts += [wrap("demo settings: it shows that the study works, and nothing else")]
    for share in settings.shares:
        here = [folder_of(plan, point) for point in points if point.share == share]
        base = next(folder_of(plan, point) for point in points if (point.start, point.share) == (first, share))
        parts += ["", f"{100 * share:g} % of the labels", "", comparison_text(compare(here, base))]
    return "\n".join([*parts, "", str(plan.folder / FOLDER / CSV_FILE)])


def _csv(plan: ContrastivePlan, points: list[StudyPoint]) -> str:
    buffer = io.StringIO()
    writer = Rows(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for point in points:
        folder = folder_of(plan, point)
        results = read_results(RunFolder(folder).results)
        writer.writerow(
            {
                **dataclasses.asdict(point),
                **{name: results.rates[name].mean for name in ("ua", "wa", "macro_f1")},
                "folds": " ".join(str(fold.fold) for fold in results.folds),
                "run": folder.relative_to(plan.folder).as_posix(),
            }
        )
    return buffer.getvalue()
