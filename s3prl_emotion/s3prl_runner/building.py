"""From a reference to a module: an upstream put on ``s3prl.hub``, and built there as S3PRL's Runner builds it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.module_weights import load_weights
from s3prl_emotion.s3prl_runner.guard import check_given
from s3prl_emotion.s3prl_runner.upstream_registry import hub, register_upstream, upstream_names
from s3prl_emotion.upstreams import code
from s3prl_emotion.upstreams.explanation import explained, not_built
from s3prl_emotion.upstreams.names import check_reads
from s3prl_emotion.upstreams.reference import UpstreamRef
from s3prl_emotion.upstreams.trust import is_trusting, name_here, trusted_checkpoints


def register_on_hub(ref: UpstreamRef, refresh: bool = False) -> UpstreamRef:
    """Make an upstream one that S3PRL finds under its name, and check the files that S3PRL's own entries read.

    Args:
        ref: from :func:`~s3prl_emotion.upstreams.resolution.resolve` or
            :func:`~s3prl_emotion.upstreams.verification.verify`
        refresh: download what a URL names again

    Returns:
        the same

    Raises:
        UpstreamError: if S3PRL would ignore ``-k`` or ``-g``, or as
            :func:`~s3prl_emotion.s3prl_runner.guard.check_given`
    """
    name, checkpoint, model_config = ref.options
    if ref.adapter is not None and checkpoint is not None:
        path = Path(ref.adapter)
        adapter = code.function_in(path) if code.is_code(path) else ref.adapter
        register_upstream(name, adapter, checkpoint, model_config)
    elif upstream_names().get(name) is False:
        check_reads(name, checkpoint, model_config)
        check_given(name, checkpoint, model_config, refresh)
        if ref.typed is not None:
            name_here(*ref.options)
    return ref


def ref_of(args: argparse.Namespace) -> UpstreamRef:
    """What S3PRL's arguments name; it is on the hub already."""
    return UpstreamRef.recorded(args.upstream, args.upstream_ckpt, args.upstream_model_config)


def build(ref: UpstreamRef, device: str, refresh: bool = False) -> Any:
    """The upstream on a device, in evaluation mode.

    Args:
        ref: it is on the hub, see :func:`register_on_hub`
        device: where to
        refresh: download again

    Raises:
        UpstreamError: whatever goes wrong, see :func:`~s3prl_emotion.upstreams.explanation.explained`
    """
    found = hub()
    name, checkpoint, model_config = ref.options
    with trusted_checkpoints(ref.trusted or is_trusting()), explained(name, not_built(checkpoint)):
        upstream = getattr(found, name)(ckpt=checkpoint, model_config=model_config, refresh=refresh)
        check_interface(upstream, name)
        return upstream.to(device).eval()


def build_frozen(ref: UpstreamRef, device: str, weights: Mapping[str, Tensor] | None = None) -> Any:
    """The upstream, frozen, with the weights of fine-tuning if there are any.

    Raises:
        UpstreamError: if it cannot be built, or the weights are not its own
    """
    upstream = build(ref, device)
    if weights is not None:
        try:
            load_weights(upstream, weights)
        except RuntimeError as error:
            raise UpstreamError(
                f"-u {ref.name}: the fine-tuned weights do not fit it: {' '.join(str(error).split())[:300]}"
            ) from error
    for parameter in upstream.parameters():
        parameter.requires_grad_(False)
    return upstream


def check_interface(upstream: Any, name: str) -> None:
    """Check that what an entry of the hub returned can be used as an upstream.

    Raises:
        UpstreamError: naming what it lacks
    """
    if not isinstance(upstream, nn.Module):
        raise UpstreamError(f"-u {name} gives a {type(upstream).__name__}, expected a torch.nn.Module")
    if not callable(getattr(upstream, "get_downsample_rates", None)):
        raise UpstreamError(
            f"-u {name}: {type(upstream).__name__} has no get_downsample_rates(key), which says how many samples there "
            "are to a frame"
        )
