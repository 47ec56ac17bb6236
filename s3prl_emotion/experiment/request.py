"""What to run: a request, and the arguments and configuration that follow from it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3prl_emotion.bridge import arguments, dropped, launch, stock
from s3prl_emotion.bridge.cache import CacheOptions
from s3prl_emotion.bridge.registration import STOCK_DOWNSTREAMS, downstream_configs
from s3prl_emotion.config import read_yaml
from s3prl_emotion.corpora import corpora
from s3prl_emotion.downstream.config import check_config
from s3prl_emotion.errors import ConfigError, nearest

DEFAULT_ROOT = Path("result/downstream")
DEFAULT_SEED = 1337
DEMO_SETTINGS: dict[str, dict[str, Any]] = {
    "runner": {"total_steps": 150, "eval_step": 25, "save_step": 50, "log_step": 25},
    "optimizer": {"lr": 1.0e-3},
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
        cache: store hidden states; None does so where the upstream is frozen, S3PRL's own expert excepted
        cache_options: where and how to store them
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
    cache: bool | None = None
    cache_options: CacheOptions = field(default_factory=CacheOptions)


def settle(request: Request) -> tuple[argparse.Namespace, dict[str, Any], dict[str, Any]]:
    """Arguments and configuration with file, ``--demo`` and ``-o`` applied; and what is worth printing of it."""
    args = arguments.arguments(**request.s3prl)
    known = downstream_configs()
    if args.downstream not in known:
        raise ConfigError(
            f"-d {args.downstream!r} is not an emotion downstream. {nearest(str(args.downstream), known)}"
        )
    path = Path(args.config) if args.config else known[args.downstream]
    config = read_yaml(path)
    file = json.loads(json.dumps(config))
    if request.demo:
        for section, values in DEMO_SETTINGS.items():
            config[section] = {**config.get(section, {}), **values}
    arguments.override(config, args, args.override)
    for key in ("root", "meta_data"):
        if key in config.get("downstream_expert", {}).get("datarc", {}):
            raise ConfigError(
                f"{path}: downstream_expert.datarc.{key} is set by the launcher: use --corpus and --data instead"
            )
    ours = args.downstream not in STOCK_DOWNSTREAMS
    file = check_config(file, str(path), ours=ours)
    checked = check_config(config, str(path), ours=ours)
    args.device = arguments.resolve_device(args.device)
    launch.check_extras(checked, args.device, str(path))
    args.override = None  # applied; a checkpoint must not carry it on
    args.upstream, args.upstream_ckpt, args.upstream_model_config = dropped.resolve(
        args.upstream, args.upstream_ckpt, args.upstream_model_config, args.upstream_refresh
    )
    return args, checked, _notable(request, args, checked, file)


def _notable(
    request: Request, args: argparse.Namespace, config: dict[str, Any], file: dict[str, Any]
) -> dict[str, Any]:
    """Settings worth printing, and what makes the run unlike one that follows its configuration file."""

    def pick(source: dict[str, Any]) -> dict[str, Any]:
        return {"total_steps": source["runner"]["total_steps"], "lr": source["optimizer"].get("lr")}

    datarc = config["downstream_expert"].get("datarc", {})
    cut, targets = datarc.get("max_duration_s"), datarc.get("labels")
    deviations = [
        text
        for text, applies in (
            ("upstream fine-tuned (-f)", args.upstream_trainable),
            (f"features -s {args.upstream_feature_selection}", args.upstream_feature_selection != "hidden_states"),
            (f"layer -l {args.upstream_layer_selection}", args.upstream_layer_selection is not None),
            ("layers normalised", args.upstream_feature_normalize),
            (f"{config['runner']['total_steps']} steps", pick(config)["total_steps"] != pick(file)["total_steps"]),
            (f"audio cut to {cut} s", cut is not None),
            ("--trim-zeros", request.trim_zeros),
            ("--skip-bad", request.skip_bad),
            ("--drop-leaks", request.drop_leaks),
            ("trained on annotators' votes", targets == "soft"),
        )
        if applies
    ]
    return {"demo": request.demo, **pick(config), "file": pick(file), "deviations": deviations}


def uses_cache(request: Request, args: argparse.Namespace) -> bool:
    """Whether hidden states are stored.

    Raises:
        ConfigError: if the cache is asked for with a trainable upstream
    """
    if args.upstream_trainable:
        if request.cache:
            raise ConfigError(
                "--cache with -f: a trained upstream's hidden states change with every step; leave one out"
            )
        return False
    if request.cache is None:
        return args.downstream not in STOCK_DOWNSTREAMS  # S3PRL's own number comes from S3PRL's own padded batches
    return request.cache


def corpus_name(request: Request) -> str:
    """The corpus' name in a run folder: with the data's own name where many corpora share a reader, and its options."""
    entry = corpora.get(request.corpus, "--corpus")
    own = f"_{request.data.stem}" if entry.named_by_data and request.data is not None else ""
    options = [f"{key}={value}" for key, value in sorted(request.corpus_options.items()) if "/" not in str(value)]
    return "-".join([request.corpus + own, *options])


def protocol_name(request: Request, args: argparse.Namespace) -> str:
    is_stock = args.downstream in STOCK_DOWNSTREAMS
    default = stock.PROTOCOL if is_stock else corpora.get(request.corpus, "--corpus").default_protocol
    return request.protocol or default
