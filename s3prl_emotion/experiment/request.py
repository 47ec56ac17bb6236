"""What to run: a request, and the arguments and configuration that follow from it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3prl_emotion.bridge import arguments, dropped
from s3prl_emotion.bridge.cache import CacheOptions
from s3prl_emotion.bridge.experts import expert_of
from s3prl_emotion.bridge.gate import check_settings
from s3prl_emotion.bridge.registration import downstream_configs
from s3prl_emotion.config import read_yaml
from s3prl_emotion.corpora import corpora
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
    args.device = arguments.resolve_device(args.device)
    arguments.check_arguments(args, "the command line")
    path = Path(args.config) if args.config else known[args.downstream]
    config = read_yaml(path)
    _refuse_filled(config, str(path))
    file = check_settings(config, args.downstream, str(path))
    shipped = file if path == known[args.downstream] else check_config_of(args.downstream)
    config = json.loads(json.dumps(config))
    if request.demo:
        for section, values in DEMO_SETTINGS.items():
            config[section] = {**config[section], **values}
    arguments.override(config, args, args.override)
    changed = " with ".join(text for text, given in (("--demo", request.demo), ("-o", args.override)) if given)
    where = f"{changed} on {path}" if changed else str(path)  # the file itself has passed
    _refuse_filled(config, where)
    checked = check_settings(config, args.downstream, where, args.device if args.mode == "train" else None)
    args.override = None  # applied; a checkpoint must not carry it on
    args.upstream, args.upstream_ckpt, args.upstream_model_config = dropped.resolve(
        args.upstream, args.upstream_ckpt, args.upstream_model_config, args.upstream_refresh
    )
    return args, checked, _notable(request, args, checked, shipped)


FILLED = ("root", "meta_data", "manifest", "folds", "cached")
"""Keys of ``datarc`` that the launcher fills in."""

UNCHANGING = frozenset(
    {
        *("runner.log_step", "runner.save_step", "runner.max_keep", "runner.eval_dataloaders"),
        *(f"downstream_expert.datarc.{key}" for key in (*FILLED, "test_fold", "num_workers", "pre_load")),
    }
)
"""Settings that decide no number of a run."""

SAID: dict[str, Callable[[Any], str]] = {
    "runner.total_steps": "{} steps".format,
    "downstream_expert.datarc.max_duration_s": "audio cut to {} s".format,
    "downstream_expert.datarc.labels": lambda value: (
        "trained on annotators' votes" if value == "soft" else f"trained on {value} labels"
    ),
}
"""Settings that are named in words of their own."""


def _refuse_filled(config: dict[str, Any], where: str) -> None:
    expert = config.get("downstream_expert")
    datarc = expert.get("datarc") if isinstance(expert, dict) else None
    for key in FILLED:
        if isinstance(datarc, dict) and datarc.get(key) is not None:
            raise ConfigError(
                f"{where}: downstream_expert.datarc.{key} is set by the launcher: use --corpus and --data instead"
            )


def check_config_of(downstream: str) -> dict[str, Any]:
    """The checked configuration that ships for a ``-d`` name."""
    path = downstream_configs()[downstream]
    return check_settings(read_yaml(path), downstream, str(path))


def _notable(
    request: Request, args: argparse.Namespace, config: dict[str, Any], shipped: dict[str, Any]
) -> dict[str, Any]:
    """Settings worth printing, and what makes the run unlike one that follows the configuration that ships."""

    def pick(source: dict[str, Any]) -> dict[str, Any]:
        return {"total_steps": source["runner"]["total_steps"], "lr": source["optimizer"].get("lr")}

    cut = config["downstream_expert"].get("datarc", {}).get("max_duration_s")
    deviations = [
        text
        for text, applies in (
            ("upstream fine-tuned (-f)", args.upstream_trainable),
            (f"features -s {args.upstream_feature_selection}", args.upstream_feature_selection != "hidden_states"),
            (f"layer -l {args.upstream_layer_selection}", args.upstream_layer_selection is not None),
            ("layers normalised", args.upstream_feature_normalize),
            (f"audio cut to {cut} s", cut is not None),
            ("--trim-zeros", request.trim_zeros),
            ("--skip-bad", request.skip_bad),
            ("--drop-leaks", request.drop_leaks),
        )
        if applies
    ]
    # a rate of a sweep is chosen by the dev sets, as SUPERB allows, and named as chosen; "demo settings" is said once
    said = {"optimizer.lr"} if request.tag.startswith("lr") else set()
    if request.demo:
        said |= {"optimizer.lr", "runner.eval_step"}
    for key, before, now in _differing(shipped, config):
        text = SAID[key](now) if key in SAID and now is not None else f"{key} {_say(before)} -> {_say(now)}"
        if key not in UNCHANGING | said and text not in deviations:
            deviations.append(text)
    return {"demo": request.demo, **pick(config), "file": pick(shipped), "deviations": deviations}


def _differing(before: Any, now: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted keys whose values differ, with both values; None stands for a key that is not there."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys((*before, *now)):
            yield from _differing(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif before != now:
        yield key, before, now


def _say(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value


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
        return expert_of(args.downstream).stores_states
    return request.cache


def corpus_name(request: Request) -> str:
    """The corpus' name in a run folder: with the data's own name where many corpora share a reader, and its options."""
    entry = corpora.get(request.corpus, "--corpus")
    own = f"_{request.data.stem}" if entry.named_by_data and request.data is not None else ""
    options = [f"{key}={value}" for key, value in sorted(request.corpus_options.items()) if "/" not in str(value)]
    return "-".join([request.corpus + own, *options])


def protocol_name(request: Request, args: argparse.Namespace) -> str:
    default = expert_of(args.downstream).protocol or corpora.get(request.corpus, "--corpus").default_protocol
    return request.protocol or default
