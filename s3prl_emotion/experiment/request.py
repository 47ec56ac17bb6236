"""A request, and the run plan that follows from it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from s3prl_emotion.audio.augmenting import Augmentation
from s3prl_emotion.classical import Choice
from s3prl_emotion.config import read_yaml
from s3prl_emotion.corpora import corpora
from s3prl_emotion.downstream.config import fold_number
from s3prl_emotion.downstream.settings import DownstreamConfig, FoldInputs, check_warmup, fine_tuned, said_last
from s3prl_emotion.errors import ConfigError, suggest
from s3prl_emotion.experiment.deviations import remarks_of
from s3prl_emotion.experiment.initialisation import add_pretrained_head, record_of
from s3prl_emotion.experiment.splits import settle_text
from s3prl_emotion.protocols import protocols
from s3prl_emotion.runs.plan import AudioDerivation, CorpusChoice, RunPlan, TrainingSpec
from s3prl_emotion.s3prl_runner import arguments
from s3prl_emotion.s3prl_runner.arguments import training_of
from s3prl_emotion.s3prl_runner.building import register_on_hub
from s3prl_emotion.s3prl_runner.cache import CacheOptions
from s3prl_emotion.s3prl_runner.downstream_kinds import downstream_kind
from s3prl_emotion.s3prl_runner.registration import STOCK_DOWNSTREAMS, downstream_configs
from s3prl_emotion.s3prl_runner.validation import check_settings
from s3prl_emotion.text.choice import TextChoice
from s3prl_emotion.upstreams.resolution import resolve

AUGMENTATION = "downstream_expert.datarc.augmentation"
DEFAULT_ROOT = Path("result/downstream")
DEFAULT_SEED = 1337
DEMO_SETTINGS: dict[str, dict[str, Any]] = {
    "runner": {"total_steps": 150, "eval_step": 25, "save_step": 50, "log_step": 25},
    "optimizer": {"lr": 1.0e-3},
    "scheduler": {"num_warmup_steps": 15},
}
"""What ``--demo`` changes in a configuration, so that five folds end in minutes."""


@dataclass(frozen=True)
class Request:
    """What to run.

    Args:
        s3prl: S3PRL's arguments by their names there (``upstream``, ``downstream``, ``seed``, ...)
        corpus: a corpus' name
        data: its folder (for ``table``: the table)
        corpus_options: further options of the corpus' reader
        protocol: a protocol's name; None takes the corpus' default
        folds: the folds to run; None runs all
        root: run folders are made below it, unless ``expname`` or ``expdir`` of S3PRL say otherwise
        tag: ends the run folder's name
        demo: make the demo corpus and train briefly
        skip_bad: leave out files that cannot be used, instead of stopping
        trim_zeros: leave out exact digital zeros at both ends of each utterance
        drop_leaks: leave out of train and dev what is in a later part as audio or as an augmented sibling
        pretraining: manifests of what the upstream was pretrained on, for the audit
        making: what audio is made of the corpus': cleaned recordings, augmented copies
        cache: store hidden states; None does so where the upstream is frozen, S3PRL's own expert excepted
        cache_options: where and how to store them
        classical: of a classical model (``-d classical_...``): how states become vectors
        text: what is said, for heads that read it: ``corpus``, or a file of transcriptions; None is ``corpus``
        allow_empty_text: take an utterance without text as one in which nothing is said
        pretrained: the folder of a pretrained head to start from
        train_share: train on this share of each fold's training part, stratified by speaker and class, drawn by the
            seed; None takes what the configuration says
    """

    s3prl: Mapping[str, Any]
    corpus: str = "iemocap"
    data: Path | None = None
    corpus_options: Mapping[str, Any] = field(default_factory=dict)
    protocol: str | None = None
    folds: tuple[int, ...] | None = None
    root: Path = DEFAULT_ROOT
    tag: str = ""
    demo: bool = False
    skip_bad: bool = False
    trim_zeros: bool = False
    drop_leaks: bool = False
    pretraining: tuple[Path, ...] = ()
    making: AudioDerivation = field(default_factory=AudioDerivation)
    cache: bool | None = None
    cache_options: CacheOptions = field(default_factory=CacheOptions)
    classical: Choice = field(default_factory=Choice)
    text: str | None = None
    allow_empty_text: bool = False
    pretrained: Path | None = None
    train_share: float | None = None


def resolve_request(request: Request) -> RunPlan:
    """What a request comes to, with file, ``--demo`` and ``-o`` applied, and everything checked but the upstream.

    Raises:
        ConfigError: naming the option, or file and key
    """
    args = arguments.arguments(**request.s3prl)
    known = downstream_configs()
    if args.downstream not in known:
        raise ConfigError(
            f"-d {args.downstream!r} is not an emotion downstream. {suggest(str(args.downstream), known)}"
        )
    args.device = arguments.resolve_device(args.device)
    arguments.check_arguments(args, "the command line")
    settings, inputs, shipped = _settings(request, args)
    args.override = None  # applied; a checkpoint must not carry it on
    settings = add_pretrained_head(settings, args.downstream, request.pretrained)
    ref = resolve(args.upstream, args.upstream_ckpt, args.upstream_model_config, args.upstream_refresh)
    args.upstream, args.upstream_ckpt, args.upstream_model_config = register_on_hub(ref, args.upstream_refresh).options
    text, training = settle_text(request.text, request.allow_empty_text, training_of(args, settings))
    corpus = corpus_choice(request)
    protocol = protocol_name(request, downstream_kind(training.downstream).protocol)
    if effects := downstream_kind(training.downstream).augmentation(settings.expert):
        Augmentation.of(effects, AUGMENTATION)  # so that what is wrong is said before anything is read
    start = {} if request.pretrained is None else record_of(request.pretrained)
    return RunPlan(
        training=training,
        corpus=corpus,
        protocol=protocol,
        folder=folder_name(request, args, protocol, text, training.settings),
        remarks=remarks_of(training, corpus, protocol, shipped, request.demo, request.tag, text, start),
        folds=folds_named(request, args.downstream_variant or inputs.test_fold),
        score_again=args.mode == "evaluate",
        cache=request.cache_options if _stores(request, training) else None,
        text=text,
        pretrained=request.pretrained,
    )


def _settings(
    request: Request, args: argparse.Namespace
) -> tuple[DownstreamConfig[Any], FoldInputs, DownstreamConfig[Any]]:
    """The configuration with ``--demo`` and ``-o`` applied, which may change ``args`` too, and the one that ships."""
    ships = downstream_configs()[args.downstream]
    path = Path(args.config) if args.config else ships
    config = read_yaml(path)
    _refuse_inputs(config, str(path))
    file, _ = check_settings(config, args.downstream, str(path))
    shipped = file if path == ships else check_settings(read_yaml(ships), args.downstream, str(ships))[0]
    given = config
    config = json.loads(json.dumps(config))
    if request.demo:
        for section, values in DEMO_SETTINGS.items():
            if section in config:
                config[section] = {**config[section], **values}
    config["runner"] = said_last(config.get("runner"), given.get("runner"))
    before = dict(config["runner"])  # -o may say another length than --demo
    if request.train_share is not None:
        _set_share(config, request.train_share, args.downstream)
    arguments.override(config, args, args.override)
    config["runner"] = said_last(config.get("runner"), before)
    flags = (("--demo", request.demo), ("--train-share", request.train_share is not None), ("-o", args.override))
    changed = " with ".join(text for text, given in flags if given)
    where = f"{changed} on {path}" if changed else str(path)  # the file itself has passed
    _refuse_inputs(config, where)
    device = args.device if args.mode == "train" else None
    settings, inputs = check_settings(config, args.downstream, where, device)
    settings = fine_tuned(settings, shipped, args.upstream_trainable, where)
    if args.mode == "train":
        check_warmup(settings, where)
    return settings, inputs, fine_tuned(shipped, shipped, args.upstream_trainable, str(ships))


def _set_share(config: dict[str, Any], share: float, downstream: str) -> None:
    """Put ``--train-share`` into a configuration.

    Raises:
        ConfigError: if the downstream cannot train on a part
    """
    if downstream in STOCK_DOWNSTREAMS:
        raise ConfigError(
            f"--train-share: -d {downstream} is S3PRL's own expert, which trains on everything; use -d emotion_mean, "
            "the same head"
        )
    config["downstream_expert"].setdefault("datarc", {})["train_share"] = share


def _refuse_inputs(config: dict[str, Any], where: str) -> None:
    """Refuse what the launcher gives an expert in each fold; the test fold alone may be named."""
    expert = config.get("downstream_expert")
    datarc = expert.get("datarc") if isinstance(expert, dict) else None
    for item in fields(FoldInputs):
        if item.name != "test_fold" and isinstance(datarc, dict) and datarc.get(item.name) is not None:
            raise ConfigError(
                f"{where}: downstream_expert.datarc.{item.name} is set by the launcher: use --corpus and --data instead"
            )


def _stores(request: Request, training: TrainingSpec) -> bool:
    """Whether hidden states are stored.

    Raises:
        ConfigError: if the cache is asked for with a trainable upstream, or with audio that changes
    """
    if training.upstream.trainable:
        if request.cache:
            raise ConfigError(
                "--cache with -f: a trained upstream's hidden states change with every step; leave one out"
            )
        return False
    if downstream_kind(training.downstream).augmentation(training.settings.expert):
        if request.cache:
            raise ConfigError(
                f"--cache with {AUGMENTATION}: the audio changes in every epoch, so no hidden states of it can be "
                "stored; leave one out. `--balance` makes copies that are files, whose states are"
            )
        return False
    return downstream_kind(training.downstream).stores_states if request.cache is None else request.cache


def corpus_name(request: Request) -> str:
    """The corpus' name in a run folder: with the data's own name where many corpora share a reader, and its options."""
    entry = corpora.get(request.corpus, "--corpus")
    own = f"_{request.data.stem}" if entry.named_by_data and request.data is not None else ""
    options = [f"{key}={value}" for key, value in sorted(request.corpus_options.items()) if "/" not in str(value)]
    return "-".join([request.corpus + own, *options])


def corpus_choice(request: Request) -> CorpusChoice:
    """What a request trains and tests on."""
    return CorpusChoice(
        request.corpus,
        request.data,
        request.corpus_options,
        request.skip_bad,
        request.trim_zeros,
        request.drop_leaks,
        request.pretraining,
        request.making,
    )


def protocol_name(request: Request, default: str | None = None) -> str:
    """The protocol that is asked for, else ``default``, else the corpus' own."""
    default = default or corpora.get(request.corpus, "--corpus").default_protocol
    return protocols.get(request.protocol or default, "--protocol").name


def folds_named(request: Request, variant: str | None) -> tuple[int, ...] | None:
    """The folds that ``--fold`` or ``-v`` name; None where neither does."""
    try:
        named = None if variant is None else (fold_number(variant),)
    except ValueError as error:
        raise ConfigError(f"-v {variant}: {error}") from error
    if named and request.folds and named != request.folds:
        raise ConfigError(f"--fold {','.join(map(str, request.folds))} and -v {variant} name different test folds")
    return request.folds or named


def _start_name(settings: DownstreamConfig[Any]) -> str:
    return f"-from-{settings.expert.modelrc.pretrained.sha256[:8]}"


def folder_name(
    request: Request,
    args: argparse.Namespace,
    protocol: str,
    text: TextChoice | None = None,
    settings: DownstreamConfig[Any] | None = None,
) -> Path:
    """``-p`` is the run folder, ``-n`` names it under the root; else it follows from what is run."""
    if args.expdir and args.expname:
        raise ConfigError(f"-p {args.expdir} and -n {args.expname} both name the run folder: give one")
    if args.expdir:
        return Path(args.expdir)
    if args.expname:
        return request.root / str(args.expname)
    given = request.s3prl.get("upstream_ckpt")  # what was typed: a dropped upstream's own path is no part of its name
    upstream = args.upstream if given is None else f"{args.upstream}-{Path(given).stem}"
    tag = "" if request.train_share is None else f"-share{request.train_share:g}"
    tag += f"-{request.tag}" if request.tag else ""
    tag += f"-{text.file.stem}" if text is not None and text.file is not None else ""
    seed = "" if args.seed == DEFAULT_SEED else f"-seed{args.seed}"
    start = "" if settings is None or request.pretrained is None else _start_name(settings)
    corpus = f"{corpus_name(request)}-{protocol}{start}{tag}{seed}"
    return request.root / str(upstream).replace("/", "__") / str(args.downstream) / corpus
