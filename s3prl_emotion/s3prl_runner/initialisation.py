"""A training that starts from a pretrained head: its weights go into S3PRL's featurizer and our expert."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_emotion.downstream.pretrained import (
    HeadUpstream,
    check_features,
    check_model,
    check_weights,
    freeze,
    read_about,
    start_from,
)
from s3prl_emotion.downstream.settings import read_expert
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.features.upstream import CachedUpstream
from s3prl_emotion.s3prl_runner.building import build, ref_of
from s3prl_emotion.s3prl_runner.cache import fingerprint
from s3prl_emotion.s3prl_runner.unbatched import UnbatchedUpstream


def load_pretrained_head(
    args: argparse.Namespace,
    expert: Mapping[str, Any],
    upstream: Any,
    featurizer: Any,
    downstream: Any,
    resumed: bool,
) -> None:
    """Put pretrained weights into a head that is to be trained, and freeze what is not to be.

    Args:
        args: S3PRL's arguments
        expert: ``downstream_expert`` of the configuration
        upstream: as the Runner built it
        featurizer: likewise
        downstream: our expert
        resumed: whether its weights come from a checkpoint: then nothing is read

    Raises:
        RunError: naming both sides, if head, upstream or shapes do not fit
    """
    config, inputs = read_expert(expert, "downstream_expert")
    start = config.modelrc.pretrained
    if start is None:
        return
    if args.mode == "train" and not resumed:
        if inputs.pretrained is None:
            raise ConfigError(
                f"-d {args.downstream} starts from a pretrained head: name its folder with --pretrained FOLDER"
            )
        folder = Path(inputs.pretrained)
        about = read_about(folder)
        check_model(about, config.modelrc, f"-d {args.downstream}", folder)
        found = HeadUpstream(
            args.upstream,
            _weights(upstream),
            args.upstream_feature_selection,
            args.upstream_layer_selection,
            args.upstream_feature_normalize,
        )
        weights = getattr(featurizer, "weights", None)
        layers = 1 if weights is None else len(weights)
        check_features(about, found, layers, int(featurizer.output_dim), folder)
        start_from(folder, downstream.head, featurizer)
    if start.frozen:
        freeze(downstream.head, featurizer)


def check_pretrained_head(args: argparse.Namespace, folder: Path) -> None:
    """Refuse an upstream that a head was not pretrained on, before hidden states are computed.

    Args:
        args: S3PRL's arguments
        folder: of the head

    Raises:
        RunError: naming both
    """
    check_weights(read_about(folder), args.upstream, fingerprint(build(ref_of(args), args.device)), folder)


def _weights(upstream: Any) -> str:
    """What its weights are known by, as the store of hidden states has it."""
    if isinstance(upstream, CachedUpstream):
        return upstream.store.key.weights
    return "" if isinstance(upstream, UnbatchedUpstream) else fingerprint(upstream)
