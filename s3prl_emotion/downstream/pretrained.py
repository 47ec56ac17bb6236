"""A head that was pretrained: layer weights, projection and pooling, in a folder of two files.

``head.json`` says what they fit and on which upstream they were learned, ``head.safetensors`` holds ``layer_weights``
(before the softmax), ``projector.*`` and ``pooling.*``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from s3prl_emotion.config import Reading, from_mapping, shown
from s3prl_emotion.downstream.config import ModelConfig
from s3prl_emotion.downstream.head import Trunk
from s3prl_emotion.errors import RunError
from s3prl_emotion.files import check_safetensors, parse_json, write_atomically
from s3prl_emotion.mapping import to_mapping

NO_WEIGHTS = hashlib.blake2b(digest_size=16).hexdigest()
"""The fingerprint of an upstream without weights: its name says what it is."""
FORMAT = "s3prl-emotion pretrained head"
VERSION = 1
ABOUT = "head.json"
WEIGHTS = "head.safetensors"
LAYERS = "layer_weights"


@dataclass(frozen=True)
class HeadUpstream:
    """The upstream that a head was pretrained on, and what it takes of it."""

    name: str  # -u
    weights: str  # fingerprint of all parameters and buffers
    selection: str = "hidden_states"  # -s
    layer: int | None = None  # -l
    normalize: bool = False  # --upstream_feature_normalize


@dataclass(frozen=True)
class PretrainedHead:
    """``head.json``."""

    format: str
    version: int
    layers: int  # in the weighted sum
    width: int  # features of a frame
    projector_dim: int | None
    pooling: dict[str, Any]  # name and options
    upstream: HeadUpstream

    def __post_init__(self) -> None:
        if not isinstance(self.pooling.get("name"), str):
            raise ValueError(f"pooling needs a 'name', a text, got {shown(self.pooling)}")


def write_head(folder: Path, about: PretrainedHead, weights: Mapping[str, Tensor]) -> None:
    """Write both files into a folder."""
    save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, folder / WEIGHTS)
    write_atomically(folder / ABOUT, json.dumps(to_mapping(about), indent=1) + "\n")


def read_about(folder: Path) -> PretrainedHead:
    """Read ``head.json``.

    Raises:
        RunError: naming the file, if it is missing, damaged, or no such file
    """
    path = folder / ABOUT
    if not path.is_file():
        inside = folder / "head"
        near = (
            f"Did you mean {inside}?" if inside.is_dir() else "Name one that `s3prl-emotion pretrain contrastive` made"
        )
        raise RunError(f"--pretrained {folder}: no pretrained head: {ABOUT} is missing. {near}")
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise RunError(f"{path}: cannot be read: {error}. Export it again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
        raise RunError(f"{path}: not a {FORMAT} of version {VERSION}. Export it again")
    return from_mapping(PretrainedHead, content, f"{path}:", Reading(RunError, f"version {VERSION}"))


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read ``head.safetensors``; nothing in it is executed.

    Raises:
        RunError: naming the file, if it is missing, damaged, or holds what is no number
    """
    path = folder / WEIGHTS
    try:
        check_safetensors(path)
        weights = dict(load_file(path))
    except (OSError, SafetensorError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {str(error).splitlines()[0]}. Export it again") from error
    whole = [name for name, value in weights.items() if not value.is_floating_point() and value.numel() > 1]
    if whole:  # a counter is one number
        raise RunError(f"{path}: {whole[0]} holds {weights[whole[0]].dtype}, expected floating point. Export it again")
    bad = [name for name, value in weights.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise RunError(f"{path}: {bad[0]} is not finite. Export it again")
    return weights


def check_model(about: PretrainedHead, model: ModelConfig, where: str, folder: Path) -> None:
    """Refuse a configuration that is not that of the pretrained head.

    Raises:
        RunError: naming both sides
    """
    if model.text is not None and not model.text.speech:
        raise RunError(f"{where}: hears no speech (text.speech: false), so the head in {folder} has no place in it")
    sides = (
        ("pooling", about.pooling["name"], model.pooling["name"], about.pooling),
        ("projector_dim", about.projector_dim, model.projector_dim, about.projector_dim),
    )
    for key, theirs, ours, setting in sides:
        if theirs != ours:
            raise RunError(
                f"{where}: modelrc.{key} is {shown(ours)}, the head in {folder} was pretrained with {shown(theirs)}. "
                f"They must be the same: pretrain with model.{key} of this head, or take that of the pretrained one: "
                f'-o "config.downstream_expert.modelrc.{key}={setting}"'
            )


def check_weights(about: PretrainedHead, name: str, weights: str, folder: Path) -> None:
    """Refuse an upstream that the head was not pretrained on.

    Args:
        about: of the head
        name: of the run's upstream
        weights: their fingerprint
        folder: of the head, for messages

    Raises:
        RunError: naming both
    """
    theirs = about.upstream
    if weights != theirs.weights or (weights == NO_WEIGHTS and name != theirs.name):
        raise RunError(
            f"-u {name} {_weighing(weights)} is not the upstream that the head in {folder} was pretrained on: "
            f"{theirs.name} {_weighing(theirs.weights)}. Use that one, or pretrain on this one"
        )


def check_features(about: PretrainedHead, found: HeadUpstream, layers: int, width: int, folder: Path) -> None:
    """Refuse an upstream, or a selection of its features, that the head was not pretrained on.

    Args:
        about: of the head
        found: of the run
        layers: that the run sums
        width: of a frame there
        folder: of the head, for messages

    Raises:
        RunError: naming both sides
    """
    check_weights(about, found.name, found.weights, folder)
    told = f"the head in {folder} was pretrained"
    for flag, theirs, ours in (
        ("-s", about.upstream.selection, found.selection),
        ("-l", about.upstream.layer, found.layer),
        ("--upstream_feature_normalize", about.upstream.normalize, found.normalize),
    ):
        if theirs != ours:
            raise RunError(f"{flag} is {ours}, {told} with {theirs}: leave it as it was there")
    for what, theirs, ours in (("layers", about.layers, layers), ("features to a frame", about.width, width)):
        if theirs != ours:
            raise RunError(f"-u {found.name} gives {ours} {what}, {told} on {theirs}: it is another upstream")


def start_from(folder: Path, trunk: Trunk, featurizer: nn.Module) -> None:
    """Put pretrained weights into a new head and the featurizer below it.

    Raises:
        RunError: naming both sides, if a shape is another one
    """
    weights = read_weights(folder)
    layers = weights.pop(LAYERS, None)
    own: dict[str, Tensor] = {
        name: value for name, value in trunk.state_dict().items() if name.startswith(("projector.", "pooling."))
    }
    own_layers = getattr(featurizer, "weights", None)
    pairs = {name: (own.get(name), weights.get(name)) for name in (*own, *weights)}
    pairs[LAYERS] = (own_layers, layers)
    for name, (ours, theirs) in pairs.items():
        mine, given = (None if item is None else tuple(item.shape) for item in (ours, theirs))
        if mine != given:
            raise RunError(
                f"{folder / WEIGHTS}: {name} has {_shape(given)}, the head of this run {_shape(mine)}: they are not "
                "the same pooling with the same options on the same upstream"
            )
    for name, value in weights.items():
        own[name].copy_(value)  # of state_dict: detached, the parameter's own memory
    if own_layers is not None and layers is not None:
        own_layers.data.copy_(layers)


def freeze(trunk: Trunk, featurizer: nn.Module) -> None:
    """Leave layer weights, projection and pooling as they are; dropout stays."""
    for module in (trunk.projector, trunk.pooling, featurizer):
        module.requires_grad_(False)


def _weighing(weights: str) -> str:
    return "without weights" if weights == NO_WEIGHTS else f"with weights {weights}"


def _shape(shape: tuple[int, ...] | None) -> str:
    return "no such parameter" if shape is None else f"shape {shape}"
