"""A run of a classical model: the same corpora, folds, audit, records and results as those of a neural head.

The Runner takes no part: vectors of time statistics are fitted in one go, fold by fold.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s3prl_emotion.classical._file import MODEL_FILE, FittedOn, write_model
from s3prl_emotion.classical._model import Model, tuned, vectors
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.downstream.expert import METRICS
from s3prl_emotion.evaluation.metrics import columns
from s3prl_emotion.experiment.aggregation import aggregate_folds
from s3prl_emotion.experiment.classical_plan import ClassicalPlan, check_classical
from s3prl_emotion.experiment.division import SplitCache, load_splits, log_score
from s3prl_emotion.experiment.identity import place_of
from s3prl_emotion.experiment.kept import pin_upstream
from s3prl_emotion.experiment.request import Request
from s3prl_emotion.features.upstream import ticket
from s3prl_emotion.files import checkpoint_sha256
from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.integrity import manifest_sha256
from s3prl_emotion.protocols.split import Folds
from s3prl_emotion.runs.folder import FoldFolder, RunFolder
from s3prl_emotion.runs.prediction import Prediction, write_predictions
from s3prl_emotion.runs.results import Results
from s3prl_emotion.s3prl_runner.building import build, ref_of
from s3prl_emotion.s3prl_runner.cache import open_cache
from s3prl_emotion.s3prl_runner.selection import probe_states, rate_of
from s3prl_emotion.upstreams.per_fold import is_per_fold, of_fold, upstream_sha256

logger = logging.getLogger(__name__)

Statistics = dict[Any, np.ndarray]
"""The statistics of a corpus that were read last, ``(utterances, layers, rows, width)``, by what they are of."""


def count_layers(request: Request) -> int:
    """How many layers the upstream of a request has.

    Raises:
        EmotionError: if it cannot be had
    """
    plan = check_classical(request)
    first = 1 if is_per_fold(plan.upstream.checkpoint) else None
    args = argparse.Namespace(**{**vars(plan.args), "upstream_ckpt": of_fold(plan.upstream.checkpoint, first)})
    upstream = build(ref_of(args), args.device, args.upstream_refresh)
    rate = rate_of(upstream, args.upstream_feature_selection, args.upstream)
    return int(probe_states(upstream, args, rate).shape[0])


def run_classical(
    request: Request, prepared: SplitCache | None = None, statistics: Statistics | None = None
) -> tuple[Path, Results]:
    """Fit and test the requested folds and summarise all folds that are finished.

    Args:
        request: what to run
        prepared: see :func:`s3prl_emotion.experiment.run.run`
        statistics: likewise, where several runs share them; filled in

    Raises:
        EmotionError: with a message for the user; folds finished before stay finished
    """
    plan = check_classical(request)
    folder = RunFolder(plan.folder)
    shared: Statistics = {} if statistics is None else statistics

    def prepared_folds(known: bool) -> tuple[Manifest, Folds, tuple[int, ...]]:
        given = SplitCache() if prepared is None else prepared
        checkpoint = plan.upstream.checkpoint
        learned = [] if checkpoint is None else [Path(checkpoint)]
        manifest, folds, wanted = load_splits(plan.corpus, plan.protocol, plan.folds, learned, folder, given, known)
        for number in wanted:  # a fold that an upstream has no model for is named before anything is fitted
            of_fold(checkpoint, number)
        return manifest, folds, wanted

    with folder.claimed(plan.identity(), prepared_folds) as (manifest, folds, wanted):
        each = is_per_fold(plan.upstream.checkpoint)
        for number in wanted:
            fold = folder.fold(number)
            if fold.is_finished:
                logger.info("fold %d is finished already", number)
                continue
            with fold.only_here(wait=True):  # it takes seconds, unlike a training
                if fold.is_finished:
                    continue  # another process has finished it meanwhile
                begun = time.monotonic()
                pin_upstream(fold, of_fold(plan.upstream.checkpoint, number), plan.upstream.checkpoint)
                _run_fold(plan, manifest, folds, fold, number, _read(plan, manifest, number if each else None, shared))
                log_score(fold, number, begun)
        return folder.path, aggregate_folds(folder)


def _read(plan: ClassicalPlan, manifest: Manifest, fold: int | None, shared: Statistics) -> np.ndarray:
    """The statistics of all utterances, in the manifest's order; those that are not stored yet are computed.

    Args:
        plan: of what
        manifest: the corpus
        fold: whose model to take of an upstream that has one per fold
        shared: those read last
    """
    key = (plan.upstream, plan.args.device, plan.choice.statistics, plan.cache, fold, manifest_sha256(manifest))
    if key not in shared:
        shared.clear()  # of a large upstream's layers one corpus fits into memory, several may not
        checkpoint = of_fold(plan.upstream.checkpoint, fold) if fold is not None else plan.upstream.checkpoint
        args = argparse.Namespace(**{**vars(plan.args), "upstream_ckpt": checkpoint})
        hashes = upstream_sha256(checkpoint), upstream_sha256(plan.upstream.model_config)
        cached = open_cache(args, manifest, plan.cache, hashes, plan.choice.statistics)
        blocks = [cached.block(ticket(index)).cpu() for index in range(len(manifest.utterances))]
        shared[key] = torch.stack(blocks).numpy()
    return shared[key]


def _run_fold(
    plan: ClassicalPlan, manifest: Manifest, folds: Folds, fold: FoldFolder, number: int, statistics: np.ndarray
) -> None:
    """Fit one fold, score it once, and write its record."""
    x = vectors(statistics, plan.choice)
    places = {item.id: index for index, item in enumerate(manifest.utterances)}
    y = np.array([manifest.labels.index(item.label) for item in manifest.utterances])
    parts = folds[number]
    train, dev, test = ([places[name] for name in part] for part in (parts.train, parts.dev, parts.test))
    name, seed, labels, where = plan.classifier, plan.args.seed, manifest.labels, f"fold {number}"
    score = columns()[METRICS[protocols.get(plan.protocol).selection]]
    if plan.choice.tune:
        model = tuned(name, seed, (x[train], y[train]), (x[dev], y[dev]), labels, score, where)
        logger.info("fold %d: chosen on dev: %s", number, model.options)
    else:
        model = Model(name, {}, seed, x[train], y[train], len(labels), where)
    guesses = [labels[index] for index in model.probabilities(x[dev]).argmax(axis=1)] if dev else []
    dev_score = score([labels[index] for index in y[dev]], guesses, labels) if dev else 0.0
    rows = [
        Prediction(
            number,
            item.id,
            item.speaker,
            item.label,
            labels[int(row.argmax())],
            tuple(float(value) for value in row),
            item.rates(labels) if item.soft else None,
        )
        for item, row in zip((manifest.utterances[index] for index in test), model.probabilities(x[test]), strict=True)
    ]
    path = fold.path / MODEL_FILE
    upstream = plan.upstream
    files = place_of(upstream.checkpoint), place_of(upstream.model_config)
    fitted_on = FittedOn(upstream.name, *files, upstream.selection, plan.choice, manifest.corpus, labels, number)
    write_model(path, model, x[train], y[train], fitted_on)
    write_predictions(fold.predictions, rows, labels)
    about: dict[str, Any] = {
        "step": None,
        "dev_score": dev_score,
        "checkpoint": MODEL_FILE,
        "checkpoint_sha256": checkpoint_sha256(str(path)),
        "predictions_sha256": checkpoint_sha256(str(fold.predictions)),
        "differs": [],
        "options": model.options,
    }
    fold.finish(number, about)
