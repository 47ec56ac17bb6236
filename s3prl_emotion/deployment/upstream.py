"""The upstream that a head was trained on: found again, checked to be the same, and built."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from s3prl_emotion.bridge import arguments
from s3prl_emotion.bridge.dropped import restore
from s3prl_emotion.bridge.per_fold import of_fold
from s3prl_emotion.bridge.selection import build_upstream, check_upstream
from s3prl_emotion.deployment.parts import UpstreamUse
from s3prl_emotion.errors import RunError, UpstreamError
from s3prl_emotion.experiment.original import place_of


def find(
    use: UpstreamUse, name: str | None = None, checkpoint: str | Path | None = None, config: str | Path | None = None
) -> UpstreamUse:
    """The same use of the same upstream, with its files where they are now.

    See :func:`~s3prl_emotion.experiment.original.place_of` for where they are without ``checkpoint`` and ``config``.

    Args:
        use: what the head was trained on
        name: ``-u``, if given
        checkpoint: ``-k``, if given: a path or Hub id
        config: ``-g``, if given

    Raises:
        RunError: if another upstream is named, a file is missing, or its SHA-256 is not the recorded one
        UpstreamError: if it cannot be had from the Hub
    """
    if name is not None and use.name not in (name, name.replace("/", "__"), Path(name).name, Path(name).stem):
        raise RunError(f"-u {name}: the head was trained on {use.name} and fits no other upstream; leave -u out")
    found = dataclasses.replace(
        use,
        checkpoint=place_of("-k", checkpoint, use.checkpoint, use.checkpoint_sha256, use.checkpoint_revision, use.name),
        model_config=place_of(
            "-g", config, use.model_config, use.model_config_sha256, use.model_config_revision, use.name
        ),
    )
    return dataclasses.replace(found, checkpoint_revision=None, model_config_revision=None)


def build(use: UpstreamUse, device: str, weights: Mapping[str, Tensor] | None = None, fold: int | None = None) -> Any:
    """The upstream, frozen, in evaluation mode, with the weights of fine-tuning if there are any.

    Args:
        use: what the head was trained on
        device: where to compute
        weights: of fine-tuning
        fold: whose model to take, where the upstream has one per fold

    Raises:
        UpstreamError: if it cannot be built, or the weights are not its own
    """
    name, checkpoint, config = restore(use.name, use.checkpoint, use.model_config)
    check_upstream(name, checkpoint, config)
    checkpoint = of_fold(checkpoint, fold)
    args = arguments.arguments(upstream=name, upstream_ckpt=checkpoint, upstream_model_config=config, device=device)
    upstream = build_upstream(args)
    if weights is not None:
        try:
            upstream.load_state_dict(weights)
        except RuntimeError as error:
            raise UpstreamError(
                f"-u {use.name}: the fine-tuned weights do not fit it: {' '.join(str(error).split())[:300]}"
            ) from error
    for parameter in upstream.parameters():
        parameter.requires_grad_(False)
    return upstream
