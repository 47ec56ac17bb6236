"""Choosing an upstream and its features, with what S3PRL would ignore or fall back from as errors."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_emotion.audio import SAMPLE_RATE_HZ
from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.features.forms import Form
from s3prl_emotion.s3prl_runner.upstream_registry import registered_upstreams, upstream_names, upstreams
from s3prl_emotion.upstreams.explanation import explained
from s3prl_emotion.upstreams.names import check_name, check_reads, unknown
from s3prl_emotion.upstreams.reference import dropin_upstreams
from s3prl_emotion.upstreams.requirements import check_requirements, is_per_utterance

TOLERANCE_FRAMES = 5  # S3PRL's: features and waveform may differ by fewer frames


def check_upstream(name: str, checkpoint: str | None, model_config: str | None) -> None:
    """Check that ``-u`` exists, that it reads ``-k`` and ``-g`` where they are given, and that its library is there.

    Raises:
        UpstreamError: S3PRL's named upstreams ignore both silently; the message names the variants that do not
    """
    if name in registered_upstreams():
        return  # found, and checked, by upstreams.resolution
    check_name(name)
    names = upstream_names()
    if name not in names:
        raise unknown(name, {*names, *dropin_upstreams()})
    if not names[name]:
        check_reads(name, checkpoint, model_config)
    elif model_config is not None and "model_config" not in _parameters(name):
        raise UpstreamError(f"-u {name} ignores -g: everything it needs comes with -k")
    if name.endswith(("_local", "_custom")) or names[name]:
        optional = _parameters(name).get("ckpt")
        has_own = names[name] and optional is not None and optional.default is not inspect.Parameter.empty
        if checkpoint is None and not has_own and name != "baseline_local":
            raise UpstreamError(f"-u {name} needs a checkpoint: give its path with -k")
        is_path = name.endswith("_local") or names[name]  # a Hub id of ours is a folder by now
        if checkpoint is not None and is_path and not Path(checkpoint).exists():
            raise UpstreamError(f"-k {checkpoint}: no such file or folder")
    if names[name]:
        check_requirements(upstreams()[name], checkpoint)


def check_has_frames(name: str, use: str) -> None:
    """Refuse an upstream of one vector for each utterance where frames are needed.

    Args:
        name: ``-u``
        use: what needs frames, for the message

    Raises:
        UpstreamError: saying what takes it
    """
    if is_per_utterance(upstreams().get(name)):
        raise UpstreamError(
            f"-u {name} gives one vector for each utterance, and {use} needs frames. Classical models take it as it "
            f"is: s3prl-emotion classical -u {name}, or -d classical_<name>, with --statistics mean"
        )


def _parameters(name: str) -> Mapping[str, inspect.Parameter]:
    from s3prl import hub

    return inspect.signature(getattr(hub, name)).parameters


def rate_of(upstream: Any, selection: str, name: str) -> int:
    """Samples per frame, as the upstream states it.

    Raises:
        UpstreamError: if that is no whole number of 1 or more
    """
    with explained(name, "does not tell its rate"):
        given = upstream.get_downsample_rates(selection)
    if isinstance(given, bool) or not isinstance(given, (int, float)) or given < 1 or given != given // 1:
        raise UpstreamError(
            f"-u {name}: get_downsample_rates({selection!r}) gives {given!r}, expected the number of samples to a "
            "frame: a whole number of 1 or more, such as 320"
        )
    return int(given)


def probe_waveform(device: str) -> Tensor:
    """One second of noise, the same at every call, to ask an upstream what it gives."""
    return torch.randn(SAMPLE_RATE_HZ, generator=torch.Generator().manual_seed(0)).to(device)


def probe_states(upstream: nn.Module, args: argparse.Namespace, rate: int) -> Tensor:
    """The states of a second of noise, ``(layers, frames, width)``.

    Args:
        upstream: in evaluation mode
        args: S3PRL's arguments: upstream, ``-s``, ``-l``, device
        rate: samples per frame

    Raises:
        UpstreamError: if the upstream fails, does not give what is asked for, or gives values that are not finite
    """
    with explained(args.upstream, "fails on a second of noise"):
        found = states(
            upstream,
            probe_waveform(args.device),
            selection=args.upstream_feature_selection,
            layer=args.upstream_layer_selection,
            rate=rate,
        )
    finite = torch.isfinite(found).all(dim=2).all(dim=1)
    if not bool(finite.all()):
        of = "" if args.upstream_ckpt in (None, args.upstream) else f" ({args.upstream_ckpt})"
        raise UpstreamError(
            f"-u {args.upstream}{of}: its states of a second of noise are not finite, first in layer "
            f"{int((~finite).nonzero()[0])}: is its checkpoint damaged, or its precision too low?"
        )
    return found


@torch.no_grad()
def states(
    upstream: nn.Module,
    waveform: Tensor,
    *,
    selection: str,
    layer: int | None,
    rate: int,
    form: Form = "frames",
) -> Tensor:
    """One waveform through the upstream, alone: what S3PRL's featurizer would select, cut as it would cut it.

    Returns:
        ``(layers, frames, width)``; of ``form`` "mean" with one frame, the mean over time, of "mean_std" with a second
        one, the standard deviation (division by the number of frames, so 0 for one frame)

    Raises:
        UpstreamError: if the upstream does not give what is asked for
    """
    features = upstream([waveform])
    if not isinstance(features, Mapping):
        raise UpstreamError(
            f"the upstream gives a {type(features).__name__}, expected a dictionary: "
            '{"hidden_states": [...], "last_hidden_state": ...}'
        )
    if selection not in features:
        raise UpstreamError(f"-s {selection}: the upstream gives {', '.join(map(str, features)) or 'nothing'}")
    chosen = features[selection]
    layers = list(chosen.values()) if isinstance(chosen, dict) else chosen
    layers = list(layers) if isinstance(layers, (list, tuple)) else [layers]
    _check_layers(layers, selection)
    if layer is not None:
        if not -len(layers) <= layer < len(layers):
            raise UpstreamError(f"-l {layer}: with -s {selection} the upstream has layers 0 to {len(layers) - 1}")
        layers = [layers[layer]]
    if len({item.shape for item in layers}) > 1:
        shapes = ", ".join(str(tuple(item.shape)) for item in layers[:4])
        raise UpstreamError(f"its layers differ in shape ({shapes}, ...): choose one with -l, or use --no-cache")
    expected = round(len(waveform) / rate)
    given = layers[0].shape[1]
    if not given or abs(given - expected) >= TOLERANCE_FRAMES:
        raise UpstreamError(
            f"the upstream gives {given} frames for {len(waveform)} samples, its rate promises {expected} (fewer than "
            f"{TOLERANCE_FRAMES} more or less are let through)"
        )
    stacked = torch.stack([item[0, : max(1, expected)] for item in layers])
    return over_time(stacked, form)


def over_time(block: Tensor, form: Form) -> Tensor:
    """Frames ``(layers, frames, width)`` as an entry of a store has them: themselves, or their statistics."""
    if form == "frames":
        return block
    mean = block.mean(dim=1, keepdim=True)
    return mean if form == "mean" else torch.cat((mean, block.std(dim=1, correction=0, keepdim=True)), dim=1)


def _check_layers(layers: list[Any], selection: str) -> None:
    """Every layer must be a floating-point tensor ``(1, frames, width)``."""
    if not layers:
        raise UpstreamError(f"the upstream gives no layer: its {selection} is empty")
    for number, item in enumerate(layers):
        if not isinstance(item, Tensor):
            found = f"a {type(item).__module__}.{type(item).__name__}".replace("builtins.", "")
        elif item.ndim != 3 or item.shape[0] != 1 or not item.shape[2]:
            found = f"shape {tuple(item.shape)}"
        elif not item.is_floating_point():
            found = str(item.dtype)
        else:
            continue
        raise UpstreamError(
            f"layer {number} of the upstream's {selection} is of {found}, expected a floating-point torch.Tensor of "
            "shape (batch, frames, width), which is (1, frames, width) for one waveform"
            if isinstance(item, Tensor)
            else f"layer {number} of the upstream's {selection} is {found}, expected a torch.Tensor of shape (batch, "
            "frames, width)"
        )


def check_selection(args: argparse.Namespace, layers: int) -> None:
    """Refuse ``-l`` and ``--upstream_feature_normalize`` where they would do nothing.

    Args:
        args: S3PRL's arguments
        layers: number of layers that the weighted sum gets

    Raises:
        UpstreamError: naming the option and why it has no effect
    """
    if layers > 1:
        return
    if args.upstream_feature_normalize:
        raise UpstreamError(
            "--upstream_feature_normalize acts on the weighted sum of several layers; here there is one layer only"
        )
    if args.upstream_layer_selection not in (None, 0, -1) and args.upstream_feature_selection != "hidden_states":
        raise UpstreamError(
            f"-l {args.upstream_layer_selection} has no effect: -s {args.upstream_feature_selection} is one layer"
        )
