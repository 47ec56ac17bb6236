"""The stored hidden states that a configuration trains on."""

from __future__ import annotations

import argparse
from typing import Any

from s3prl_emotion.bridge.alone import AloneUpstream
from s3prl_emotion.bridge.cache import CacheOptions, open_cache
from s3prl_emotion.bridge.experts import expert_of
from s3prl_emotion.bridge.per_fold import of_fold
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.experiment.identity import checkpoint_sha256
from s3prl_emotion.features.upstream import CachedUpstream


def stored_states(
    args: argparse.Namespace,
    config: dict[str, Any],
    manifest: Manifest,
    options: CacheOptions,
    fold: int | None = None,
) -> CachedUpstream:
    """Store what is missing, in the form that the head needs: all frames, or one mean for each layer.

    Args:
        args: S3PRL's arguments
        config: a checked configuration
        manifest: the corpus
        options: where and how to store
        fold: which model to take of an upstream that has one per fold
    """
    args = argparse.Namespace(**{**vars(args), "upstream_ckpt": of_fold(args.upstream_ckpt, fold)})
    cut_s = expert_of(args.downstream).cut_s(config["downstream_expert"])
    checkpoints = (checkpoint_sha256(args.upstream_ckpt), checkpoint_sha256(args.upstream_model_config))
    return open_cache(args, manifest, options, checkpoints, _means_only(args, config), cut_s)


def states_alone(args: argparse.Namespace, config: dict[str, Any], dtype: str) -> AloneUpstream:
    """The same states computed when they are wanted; ``dtype`` is that of the store that the run had."""
    means_only = _means_only(args, config)
    return AloneUpstream(args, "float32" if means_only else dtype, means_only)


def _means_only(args: argparse.Namespace, config: dict[str, Any]) -> bool:
    """Whether one mean for each layer is all that the head needs."""
    is_mean = expert_of(args.downstream).sees_only_means(config["downstream_expert"])
    return is_mean and not args.upstream_feature_normalize and not config.get("specaug")
