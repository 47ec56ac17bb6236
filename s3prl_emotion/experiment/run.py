"""A whole experiment: corpus, folds, one S3PRL run per fold, one answer.

Everything that is computed lands in the run folder at once, so the same request, made again, goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from pathlib import Path

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.downstream.settings import check_warmup
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.experiment.aggregation import aggregate_folds
from s3prl_emotion.experiment.checkpoint import score_best
from s3prl_emotion.experiment.classical import Statistics, check_classical, is_classical, run_classical
from s3prl_emotion.experiment.initialisation import head_of, pin_head
from s3prl_emotion.experiment.provenance import identity_of, pin_upstream
from s3prl_emotion.experiment.request import Request, resolve_request
from s3prl_emotion.experiment.splits import SplitCache, check_texts, load_splits, log_score, put_texts
from s3prl_emotion.experiment.states import stored_states
from s3prl_emotion.features.upstream import CachedUpstream
from s3prl_emotion.protocols.split import Folds
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.plan import RunPlan
from s3prl_emotion.runs.results import Results
from s3prl_emotion.s3prl_runner import launch
from s3prl_emotion.s3prl_runner.arguments import counted, namespace
from s3prl_emotion.s3prl_runner.downstream_kinds import downstream_kind
from s3prl_emotion.s3prl_runner.fine_tuning import check_fine_tuning
from s3prl_emotion.s3prl_runner.selection import check_has_frames, check_upstream
from s3prl_emotion.s3prl_runner.training_files import check_pretrained_head
from s3prl_emotion.upstreams.per_fold import folds_of, is_per_fold, of_fold

logger = logging.getLogger(__name__)


def check(request: Request) -> None:
    """Settle a request and check its upstream; nothing is computed or written.

    Raises:
        EmotionError: naming the option that is wrong, or file and key
    """
    if is_classical(request):
        check_classical(request)
        return
    _check_upstream(resolve_request(request))


def run(
    request: Request, prepared: SplitCache | None = None, statistics: Statistics | None = None
) -> tuple[Path, Results]:
    """Train and test the requested folds and summarise all folds that are finished.

    Args:
        request: what to run
        prepared: the corpus and its division, by protocol, where several runs share them; filled in where it has none
        statistics: what classical models read, where several runs share it

    Returns:
        the run folder and the content of its ``results.json``

    Raises:
        EmotionError: with a message for the user; folds finished before stay finished
    """
    if is_classical(request):
        return run_classical(request, prepared, statistics)
    plan = resolve_request(request)
    upstream, split = plan.training.upstream, plan.training.further["evaluate_split"]
    _check_upstream(plan)
    if plan.score_again and split != "test":
        raise ConfigError(f"-m evaluate -t {split} needs -e CKPT; without it, test is scored again")
    folder = RunFolder(plan.folder)

    def prepared_folds(known: bool) -> tuple[Manifest, Folds, tuple[int, ...]]:
        shared = SplitCache() if prepared is None else prepared
        learned = [Path(place) for place in (upstream.checkpoint, plan.pretrained) if place is not None]
        manifest, folds, wanted = load_splits(plan.corpus, plan.protocol, plan.folds, learned, folder, shared, known)
        for number in wanted:  # a fold that an upstream has no model for is named before anything is trained
            of_fold(upstream.checkpoint, number)
            if plan.pretrained is not None:
                head_of(plan.pretrained, number)
        if plan.text is not None and known:
            check_texts(manifest, folder)
        elif plan.text is not None:
            manifest = put_texts(manifest, plan.text, plan.training, folder)
            folder.write_division(manifest, folds)
        return manifest, folds, wanted

    with folder.claimed(identity_of(plan), prepared_folds) as (manifest, folds, wanted):
        todo = [number for number in wanted if plan.score_again or not folder.fold(number).is_finished]
        for number in () if plan.score_again else todo:
            where = f"-d {plan.training.downstream}, fold {number}"
            check_warmup(counted(plan.training, len(folds[number].train)).settings, where)
        if plan.pretrained is not None and todo and not plan.score_again:
            check_pretrained_head(namespace(plan.training, todo[0]), head_of(plan.pretrained, todo[0]))
        each, store = is_per_fold(upstream.checkpoint), plan.cache if todo else None
        cached = None if store is None or each else stored_states(plan.training, manifest, store)
        for count, number in enumerate(wanted, start=1):
            if number not in todo:
                logger.info("fold %d is finished already", number)
                continue
            logger.info("fold %d (%d of %d): %s", number, count, len(wanted), folder.fold(number).path)
            if store is not None and each:
                cached = stored_states(plan.training, manifest, store, number)
            _run_fold(plan, manifest, folds, folder, number, cached)
        return folder.path, aggregate_folds(folder)


def _check_upstream(plan: RunPlan) -> None:
    """Check what is known of the upstream before a corpus is read.

    Raises:
        EmotionError: if it is missing, has no frames, or cannot be fine-tuned as the configuration says
    """
    upstream = plan.training.upstream
    check_upstream(upstream.name, upstream.checkpoint, upstream.model_config)
    check_has_frames(upstream.name, f"-d {plan.training.downstream}")
    tuning = plan.training.settings.finetune
    if tuning is not None and not plan.score_again:
        each = is_per_fold(upstream.checkpoint) and upstream.checkpoint
        first = next(iter(folds_of(each)), None) if each else None
        check_fine_tuning(namespace(plan.training, first), dataclasses.asdict(tuning))


def _run_fold(
    plan: RunPlan, manifest: Manifest, folds: Folds, folder: RunFolder, number: int, cached: CachedUpstream | None
) -> None:
    """Train one fold to its end and test its dev-best checkpoint, unless that is done."""
    training, fold, begun = plan.training, folder.fold(number), time.monotonic()
    with fold.only_here():
        if fold.is_finished and not plan.score_again:
            return  # another process has finished it meanwhile
        inputs = downstream_kind(training.downstream).prepare(manifest, folds, fold, number)
        if cached is not None:
            inputs = dataclasses.replace(inputs, cached=cached.store.key.dtype)
        if plan.pretrained is not None:
            pin_head(fold, plan.pretrained, number)
            inputs = dataclasses.replace(inputs, pretrained=str(head_of(plan.pretrained, number)))
        pin_upstream(fold, of_fold(training.upstream.checkpoint, number), training.upstream.checkpoint)
        if not plan.score_again:
            training = counted(training, len(folds[number].train))
            if plan.training.settings.runner.epochs is not None:
                steps = training.settings.runner.total_steps
                logger.info("fold %d: %s are %s optimiser steps", number, plan.training.settings.runner.length, steps)
            launch.train(training, inputs, fold.path, cached)
        score_best(fold, training.device, cached)
    log_score(fold, number, begun)
