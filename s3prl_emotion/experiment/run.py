"""A whole experiment: corpus, folds, one S3PRL run per fold, one answer.

Everything that is computed lands in the run folder at once, so the same request, made again, goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from s3prl_emotion.bridge import launch
from s3prl_emotion.bridge.experts import expert_of
from s3prl_emotion.bridge.per_fold import is_per_fold, of_fold
from s3prl_emotion.bridge.selection import check_upstream
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.downstream.config import fold_number
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.experiment.checkpoint import score_best
from s3prl_emotion.experiment.collection import collect
from s3prl_emotion.experiment.identity import identity_of
from s3prl_emotion.experiment.original import keep_upstream
from s3prl_emotion.experiment.preparation import check_leaks, prepare
from s3prl_emotion.experiment.request import DEFAULT_SEED, Request, corpus_name, protocol_name, settle, uses_cache
from s3prl_emotion.experiment.states import stored_states
from s3prl_emotion.features.upstream import CachedUpstream
from s3prl_emotion.protocols.split import Folds
from s3prl_emotion.runs.folder import RunFolder

logger = logging.getLogger(__name__)

Prepared = dict[str, tuple[Manifest, Folds]]
"""A corpus and its division, by the protocol's name."""


def run(request: Request, prepared: Prepared | None = None) -> tuple[Path, dict[str, Any]]:
    """Train and test the requested folds and summarise all folds that are finished.

    Args:
        request: what to run
        prepared: the corpus and its division, by protocol, where several runs share them; filled in where it has none

    Returns:
        the run folder and the content of its ``results.json``

    Raises:
        EmotionError: with a message for the user; folds finished before stay finished
    """
    args, config, settings = settle(request)
    check_upstream(args.upstream, args.upstream_ckpt, args.upstream_model_config)
    if args.mode == "evaluate" and args.evaluate_split != "test":
        raise ConfigError(f"-m evaluate -t {args.evaluate_split} needs -e CKPT; without it, test is scored again")
    folder = RunFolder(run_folder_of(request, args))
    identity = identity_of(request, args, config, settings)

    def prepared_folds(known: bool) -> tuple[Manifest, Folds, tuple[int, ...]]:
        manifest, folds = _prepare(request, args, folder, {} if prepared is None else prepared, known)
        wanted = _wanted_folds(request, args, config, folds)
        for number in wanted:  # a fold that an upstream has no model for is named before anything is trained
            of_fold(args.upstream_ckpt, number)
        return manifest, folds, wanted

    with folder.claimed(identity, prepared_folds) as (manifest, folds, wanted):
        todo = [number for number in wanted if args.mode == "evaluate" or not folder.fold(number).is_finished]
        stores = bool(todo) and uses_cache(request, args)
        each = is_per_fold(args.upstream_ckpt)
        cached = stored_states(args, config, manifest, request.cache_options) if stores and not each else None
        for count, number in enumerate(wanted, start=1):
            if number not in todo:
                logger.info("fold %d is finished already", number)
                continue
            logger.info("fold %d (%d of %d): %s", number, count, len(wanted), folder.fold(number).path)
            if stores and each:
                cached = stored_states(args, config, manifest, request.cache_options, number)
            _run_fold(args, config, manifest, folds, folder, number, cached)
        return folder.path, collect(folder)


def _prepare(
    request: Request, args: argparse.Namespace, folder: RunFolder, prepared: Prepared, known: bool
) -> tuple[Manifest, Folds]:
    """The corpus as a checked manifest and its folds, from the run folder if an earlier start left them there."""
    protocol = protocol_name(request, args)
    checkpoint = None if args.upstream_ckpt is None else Path(args.upstream_ckpt)
    if known:
        _, manifest, folds = folder.whole()
        check_leaks(manifest, folds, folder, request.pretraining, checkpoint)
        return manifest, folds
    if protocol in prepared:
        manifest, folds = prepared[protocol]
        check_leaks(manifest, folds, folder, request.pretraining, checkpoint)
        folder.write_division(manifest, folds)
        return manifest, folds
    prepared[protocol] = prepare(
        request.corpus,
        request.data,
        request.corpus_options,
        protocol,
        folder,
        request.skip_bad,
        request.trim_zeros,
        request.drop_leaks,
        request.pretraining,
        checkpoint,
    )
    return prepared[protocol]


def _wanted_folds(request: Request, args: argparse.Namespace, config: dict[str, Any], folds: Folds) -> tuple[int, ...]:
    known = tuple(fold.number for fold in folds.folds)
    variant = args.downstream_variant or config["downstream_expert"].get("datarc", {}).get("test_fold")
    try:
        named = None if variant is None else (fold_number(variant),)
    except ValueError as error:
        raise ConfigError(f"-v {variant}: {error}") from error
    if named and request.folds and named != request.folds:
        raise ConfigError(f"--fold {','.join(map(str, request.folds))} and -v {variant} name different test folds")
    wanted = request.folds or named or known
    for number in wanted:
        if number not in known:
            raise ConfigError(f"--fold {number}: {request.corpus} has folds {', '.join(map(str, known))}")
    return wanted


def run_folder_of(request: Request, args: argparse.Namespace) -> Path:
    """``-p`` is the run folder, ``-n`` names it under the root; else it follows from what is run."""
    if args.expdir and args.expname:
        raise ConfigError(f"-p {args.expdir} and -n {args.expname} both name the run folder: give one")
    if args.expdir:
        return Path(args.expdir)
    if args.expname:
        return request.root / args.expname
    given = request.s3prl.get("upstream_ckpt")  # what was typed: a dropped upstream's own path is no part of its name
    upstream = args.upstream if given is None else f"{args.upstream}-{Path(given).stem}"
    protocol = protocol_name(request, args)
    tag = f"-{request.tag}" if request.tag else ""
    seed = "" if args.seed == DEFAULT_SEED else f"-seed{args.seed}"
    return (
        request.root / upstream.replace("/", "__") / args.downstream / f"{corpus_name(request)}-{protocol}{tag}{seed}"
    )


def _run_fold(
    args: argparse.Namespace,
    config: dict[str, Any],
    manifest: Manifest,
    folds: Folds,
    folder: RunFolder,
    number: int,
    cached: CachedUpstream | None,
) -> None:
    """Train one fold to its end and test its dev-best checkpoint, unless that is done."""
    fold = folder.fold(number)
    with fold.only_here():
        if fold.is_finished and args.mode != "evaluate":
            return  # another process has finished it meanwhile
        config = json.loads(json.dumps(config))
        expert_of(args.downstream).prepare(config["downstream_expert"], manifest, folds, fold, number)
        config["downstream_expert"]["datarc"]["cached"] = None if cached is None else cached.store.key.dtype
        fold_args = argparse.Namespace(**{**vars(args), "expdir": str(fold.path), "expname": None})
        keep_upstream(fold, of_fold(args.upstream_ckpt, number), args.upstream_ckpt)
        if args.mode == "train":
            launch.train(fold_args, config, cached)
        score_best(fold, args.device, cached)
