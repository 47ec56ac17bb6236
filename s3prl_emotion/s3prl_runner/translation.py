"""Between our typed plan and what S3PRL's Runner takes: a Namespace and a mapping. Nothing else makes them."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from s3prl_emotion.downstream.settings import DownstreamConfig, FoldInputs, plain_settings
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.runs.plan import TrainingSpec, UpstreamChoice
from s3prl_emotion.s3prl_runner.arguments import arguments
from s3prl_emotion.s3prl_runner.downstream_kinds import downstream_kind
from s3prl_emotion.upstreams.per_fold import of_fold

_OF_UPSTREAM = {
    "upstream": "name",
    "upstream_ckpt": "checkpoint",
    "upstream_model_config": "model_config",
    "upstream_refresh": "refresh",
    "upstream_trainable": "trainable",
    "upstream_feature_selection": "selection",
    "upstream_layer_selection": "layer",
    "upstream_feature_normalize": "normalize",
    "upstream_model_name": "model_name",
    "upstream_revision": "revision",
}


def namespace(training: TrainingSpec, fold: int | None = None, **launch: Any) -> argparse.Namespace:
    """S3PRL's arguments of a training.

    Args:
        training: what is trained
        fold: whose model an upstream is that has one per fold; None names all of them
        launch: ``mode``, ``expdir`` and whatever else a single start has of its own
    """
    upstream = {key: getattr(training.upstream, name) for key, name in _OF_UPSTREAM.items()}
    if fold is not None:
        upstream["upstream_ckpt"] = of_fold(training.upstream.checkpoint, fold)
    typed = {"downstream": training.downstream, "seed": training.seed, "device": training.device}
    return arguments(**{**training.further, **upstream, **typed, **launch})


def upstream_of(args: argparse.Namespace) -> UpstreamChoice:
    """The upstream that S3PRL's arguments describe."""
    return UpstreamChoice(**{name: getattr(args, key) for key, name in _OF_UPSTREAM.items()})


def training_of(args: argparse.Namespace, settings: DownstreamConfig[Any]) -> TrainingSpec:
    """What S3PRL's arguments and a checked configuration describe."""
    given = vars(args)
    upstream = upstream_of(args)
    typed = ("downstream", "seed", "device")
    further = {key: value for key, value in given.items() if key not in _OF_UPSTREAM and key not in typed}
    return TrainingSpec(upstream, settings=settings, further=further, **{key: given[key] for key in typed})


def counted(training: TrainingSpec, utterances: int) -> TrainingSpec:
    """A training with its epochs counted in optimiser steps over a fold's training part; without epochs as it is.

    Raises:
        ConfigError: if dev would never be scored
    """
    settings = training.settings
    datarc = mapping(training.downstream, settings)["downstream_expert"]["datarc"]
    try:
        runner = settings.runner.counted(utterances, int(datarc["train_batch_size"]))
    except ValueError as error:
        raise ConfigError(f"-d {training.downstream}, {utterances} utterances to train on: {error}") from error
    return dataclasses.replace(training, settings=dataclasses.replace(settings, runner=runner))


def mapping(downstream: str, settings: DownstreamConfig[Any], inputs: FoldInputs | None = None) -> dict[str, Any]:
    """The configuration in S3PRL's layout; without ``inputs``, of no fold."""
    return plain_settings(settings, downstream_kind(downstream).plain(settings.expert, inputs))
