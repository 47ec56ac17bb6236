"""Runs of classical models: request, fit and score."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s3prl_emotion.classical import Choice, classifier_of, classifiers
from s3prl_emotion.classical.model import MODEL_FILE, FittedOn, Model, tuned, vectors, write_model
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.downstream.expert import METRICS
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.evaluation.metrics import columns
from s3prl_emotion.experiment.aggregation import aggregate_folds
from s3prl_emotion.experiment.provenance import identity, pin_upstream, place_of, plugin_versions
from s3prl_emotion.experiment.request import Request, corpus_choice, folder_name, folds_named, protocol_name
from s3prl_emotion.experiment.splits import SplitCache, load_splits, log_score
from s3prl_emotion.features.upstream import ticket
from s3prl_emotion.files import checkpoint_sha256
from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.integrity import manifest_sha256
from s3prl_emotion.protocols.split import Folds
from s3prl_emotion.runs.folder import PACKAGES, PLUGINS, FoldFolder, RunFolder
from s3prl_emotion.runs.plan import CorpusChoice, UpstreamChoice
from s3prl_emotion.runs.prediction import Prediction, write_predictions
from s3prl_emotion.runs.results import Results
from s3prl_emotion.s3prl_runner import arguments
from s3prl_emotion.s3prl_runner.arguments import upstream_of
from s3prl_emotion.s3prl_runner.building import build, ref_of, register_on_hub
from s3prl_emotion.s3prl_runner.cache import CacheOptions, open_cache
from s3prl_emotion.s3prl_runner.selection import check_has_frames, check_upstream, probe_states, rate_of
from s3prl_emotion.upstreams.per_fold import is_per_fold, of_fold, upstream_sha256
from s3prl_emotion.upstreams.resolution import resolve

IGNORED = {
    "override": "-o",
    "config": "-c",
    "upstream_trainable": "-f",
    "upstream_layer_selection": "-l (use classical --layers N)",
    "upstream_feature_normalize": "--upstream_feature_normalize",
}
"""S3PRL's arguments that say nothing to a classical model, each with its flag."""
NEURAL = {
    "text": "--text",
    "allow_empty_text": "--allow-empty-text",
    "pretrained": "--pretrained",
    "train_share": "--train-share",
}
"""What of a request is for neural heads alone, each with its flag."""


@dataclass(frozen=True)
class ClassicalPlan:
    """Everything that decides the numbers of a run with a classical model, and where it goes."""

    args: argparse.Namespace  # S3PRL's, of the upstream
    upstream: UpstreamChoice
    classifier: str
    choice: Choice
    corpus: CorpusChoice
    protocol: str
    folder: Path
    folds: tuple[int, ...] | None
    cache: CacheOptions

    def config(self) -> dict[str, Any]:
        """As ``run.json`` has it."""
        grid = classifiers.get(self.classifier).grid if self.choice.tune else None
        told = {"classifier": self.classifier, **dataclasses.asdict(self.choice), "grid": grid}
        return {"runner": {}, "downstream_expert": told}

    def identity(self) -> dict[str, Any]:
        """The content of ``run.json``."""
        read = (self.corpus.name, *(str(value) for value in self.corpus.options.values()))
        deviations = [
            text
            for text, applies in (
                (f"features -s {self.upstream.selection}", self.upstream.selection != "hidden_states"),
                ("--trim-zeros", self.corpus.trim_zeros),
                ("--skip-bad", self.corpus.skip_bad),
                ("--drop-leaks", self.corpus.drop_leaks),
            )
            if applies
        ]
        brought = plugin_versions(self.upstream.name, self.args.downstream, self.config(), read, self.protocol)
        settings = {
            "demo": False,
            "file": {},
            "deviations": deviations,
            "classical": f"{classifiers.get(self.classifier).title}; {self.choice.words()}",
            PACKAGES: list(classifiers.get(self.classifier).versions()),
            **({PLUGINS: brought} if brought else {}),
        }
        return identity(
            self.upstream,
            self.args.downstream,
            self.config(),
            self.args.seed,
            self.corpus,
            self.protocol,
            "float32",
            settings,
        )


def is_classical(request: Request) -> bool:
    """Whether ``-d`` names a classical model.

    Raises:
        ConfigError: if it names one that there is not
    """
    return classifier_of(str(request.s3prl.get("downstream"))) is not None


def settle_classical(request: Request) -> ClassicalPlan:
    """What a request comes to, checked but for the upstream.

    Raises:
        ConfigError: naming the option
    """
    args = arguments.arguments(**request.s3prl)
    name = classifier_of(args.downstream)
    if name is None:
        raise ConfigError(f"-d {args.downstream}: no classical model")
    classifiers.get(name).check_installed(name)
    given = [flag for key, flag in IGNORED.items() if getattr(args, key) != arguments.ARGUMENTS[key]]
    if request.cache is False:
        given.append("--no-cache")
    given += [flag for key, flag in NEURAL.items() if getattr(request, key) not in (None, False)]
    if given:
        raise ConfigError(f"{', '.join(given)}: -d {args.downstream} would ignore it; leave it out")
    if args.mode != "train":
        raise ConfigError(
            f"-m {args.mode}: a classical model is fitted and scored in one go; to do so again take its fold folder "
            "away, and for other audio use `s3prl-emotion predict --run FOLDER`"
        )
    args.device = arguments.resolve_device(args.device)
    arguments.check_arguments(args, "the command line")
    ref = resolve(args.upstream, args.upstream_ckpt, args.upstream_model_config, args.upstream_refresh)
    args.upstream, args.upstream_ckpt, args.upstream_model_config = register_on_hub(ref, args.upstream_refresh).options
    tags = [text for text in (request.classical.tag(), request.tag) if text]
    protocol = protocol_name(request)
    return ClassicalPlan(
        args=args,
        upstream=upstream_of(args),
        classifier=name,
        choice=request.classical,
        corpus=corpus_choice(request),
        protocol=protocol,
        folder=folder_name(dataclasses.replace(request, tag="-".join(tags)), args, protocol),
        folds=folds_named(request, args.downstream_variant),
        cache=request.cache_options,
    )


def check_classical(request: Request) -> ClassicalPlan:
    """Settle a request and check its upstream.

    Raises:
        EmotionError: naming the option
    """
    plan = settle_classical(request)
    check_upstream(plan.upstream.name, plan.upstream.checkpoint, plan.upstream.model_config)
    if plan.choice.statistics != "mean":
        check_has_frames(plan.upstream.name, f"--statistics {plan.choice.statistics}")
    return plan


# A run of a classical model: the same corpora, folds, audit, records and results as those of a neural head.
#
# The Runner takes no part: vectors of time statistics are fitted in one go, fold by fold.

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
