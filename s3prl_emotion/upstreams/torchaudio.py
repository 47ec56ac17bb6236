"""torchaudio's wav2vec 2.0 and HuBERT: architecture from tensor shapes, the rest from a settings file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from s3prl_emotion.errors import UpstreamError, suggest
from s3prl_emotion.safe_yaml import load_yaml
from s3prl_emotion.upstreams.files import check_fit, check_numbers, first_keys, load, say_left_out, unwrapped
from s3prl_emotion.upstreams.waveform import encoded

_FIRST = "encoder.transformer.layers.0.attention.k_proj.weight"
_PARTS = ("feature_extractor.", "encoder.")
"""Of the encoder; models for fine-tuning and for HuBERT pretraining have others beside it."""
_STRIDES = {(10, 3, 3, 3, 3, 2, 2): (5, 2, 2, 2, 2, 2, 2)}  # of every published model with these kernels
_HEADS = {(768, 12): 12, (1024, 24): 16, (1280, 48): 16, (1920, 48): 16}
"""Attention heads by width and layers, in ``torchaudio.models`` (``wav2vec2_base`` to ``wav2vec2_xlsr_2b``)."""
_DROPOUTS = {
    "encoder_projection_dropout": 0.1,
    "encoder_attention_dropout": 0.1,
    "encoder_ff_interm_dropout": 0.1,
    "encoder_dropout": 0.1,
}
"""Defaults of ``torchaudio.models.wav2vec2_base``; they act in fine-tuning only."""
_SWITCHES = ("normalize_waveform", "encoder_layer_norm_first", "extractor_conv_bias")
_NOT_IN_SHAPES = ("normalize_waveform", "encoder_num_heads", "encoder_layer_norm_first", "extractor_strides")


@dataclass(frozen=True)
class Architecture:
    """Arguments of ``torchaudio.models.wav2vec2_model``, and whether waveforms are normalised."""

    arguments: Mapping[str, Any]
    normalize_waveform: bool

    @property
    def downsample_rate(self) -> int:
        """Samples per frame."""
        return math.prod(stride for _, _, stride in self.arguments["extractor_conv_layer_config"])


def encoder_weights(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The encoder's weights under the names that ``wav2vec2_model`` has for them.

    Raises:
        UpstreamError: if the file holds another kind of model
    """
    content = unwrapped(content, str(path))
    other = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if other:
        raise UpstreamError(
            f"{path}: expected names and tensors only, {', '.join(other[:5])} is none: save a state dict"
        )
    prefixes = [name.removesuffix(_FIRST) for name in map(str, content) if f".{name}".endswith(f".{_FIRST}")]
    if not prefixes:
        raise UpstreamError(f"{path}: no state dict of torchaudio's wav2vec 2.0 or HuBERT: keys {first_keys(content)}")
    if len(prefixes) > 1:
        raise UpstreamError(
            f"{path}: holds {len(prefixes)} encoders, under {' and '.join(map(repr, prefixes[:5]))}. Save the one that "
            "you mean: torch.save(model.PART.state_dict(), PATH)"
        )
    starts = tuple(f"{prefixes[0]}{part}" for part in _PARTS)
    weights = {
        str(name).removeprefix(prefixes[0]): value for name, value in content.items() if str(name).startswith(starts)
    }
    say_left_out(path, [str(name) for name in content if not str(name).startswith(starts)])
    if any("gru_rel_pos" in name or "rel_attn_embed" in name for name in weights):
        raise UpstreamError(f"{path}: torchaudio's WavLM is not read; take WavLM in transformers' or S3PRL's format")
    conv = "encoder.transformer.pos_conv_embed.conv."
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):  # torchaudio before 2.1
        if f"{conv}{old}" in weights:
            weights[f"{conv}parametrizations.weight.{new}"] = weights.pop(f"{conv}{old}")
    return weights


def shapes(weights: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The arguments of ``wav2vec2_model`` that tensor shapes tell; of convolutions, channels and kernels.

    Raises:
        UpstreamError: if a tensor that tells one is missing
    """
    extractor, transformer = "feature_extractor.conv_layers.", "encoder.transformer."
    try:
        convolutions = count(weights, extractor)
        channels = [tuple(weights[f"{extractor}{index}.conv.weight"].shape) for index in range(convolutions)]
        position = weights[f"{transformer}pos_conv_embed.conv.parametrizations.weight.original1"].shape
        return {
            "extractor_mode": "layer_norm" if f"{extractor}1.layer_norm.weight" in weights else "group_norm",
            "extractor_conv_layers": [(out, kernel) for out, _, kernel in channels],
            "extractor_conv_bias": f"{extractor}0.conv.bias" in weights,
            "encoder_embed_dim": int(position[0]),
            "encoder_pos_conv_kernel": int(position[2]),
            "encoder_pos_conv_groups": int(position[0] // position[1]),
            "encoder_num_layers": count(weights, f"{transformer}layers."),
            "encoder_ff_interm_features": int(
                weights[f"{transformer}layers.0.feed_forward.intermediate_dense.weight"].shape[0]
            ),
        }
    except (KeyError, ValueError, IndexError) as error:
        raise UpstreamError(f"{path}: incomplete, or no model of torchaudio's: {error} is missing") from error


def count(names: Mapping[str, Any], prefix: str) -> int:
    """How many numbered modules there are below ``prefix``."""
    return len({name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)})


def architecture(weights: Mapping[str, Tensor], path: Path, settings: Path | None) -> Architecture:
    """The architecture of a file.

    Args:
        weights: from :func:`encoder_weights`
        path: the file
        settings: YAML or JSON with arguments of ``wav2vec2_model`` and ``normalize_waveform``

    Raises:
        UpstreamError: naming what must be given and is not, or contradicts the tensors
    """
    found = shapes(weights, path)
    given = {} if settings is None else _read(settings)
    layers = found.pop("extractor_conv_layers")
    kernels = tuple(kernel for _, kernel in layers)
    size = (found["encoder_embed_dim"], found["encoder_num_layers"])
    published = {
        "encoder_num_heads": _HEADS.get(size),
        # In every published model pre-norm blocks and a layer-norm extractor come together.
        "encoder_layer_norm_first": found["extractor_mode"] == "layer_norm" if size in _HEADS else None,
        "extractor_strides": _STRIDES.get(kernels),
    }
    if "extractor_conv_layer_config" in given:
        given.setdefault("extractor_strides", [stride for _, _, stride in given.pop("extractor_conv_layer_config")])
    needed = {name: given.pop(name, published.get(name)) for name in _NOT_IN_SHAPES}
    absent = [name for name, value in needed.items() if value is None]
    if absent:
        raise UpstreamError(_asked_for(path, absent, settings))
    if len(needed["extractor_strides"]) != len(layers):
        raise UpstreamError(f"{settings}: extractor_strides has not {len(layers)} entries, one per convolution")
    differing = [
        f"{name} is {found[name]!r} in the file" for name in given if found.get(name, given[name]) != given[name]
    ]
    if differing:
        raise UpstreamError(f"{settings}: contradicts {path}: {', '.join(differing)}")
    if found["encoder_embed_dim"] % needed["encoder_num_heads"]:
        raise UpstreamError(
            f"{settings}: encoder_num_heads {needed['encoder_num_heads']} does not divide the width "
            f"{found['encoder_embed_dim']}"
        )
    strides = needed.pop("extractor_strides")
    normalize = needed.pop("normalize_waveform")
    dropouts = {name: given.get(name, value) for name, value in _DROPOUTS.items()}
    convolutions = [(out, kernel, stride) for (out, kernel), stride in zip(layers, strides, strict=True)]
    fixed = {"extractor_conv_layer_config": convolutions, "encoder_layer_drop": 0.0, "aux_num_out": None}
    return Architecture({**found, **needed, **dropouts, **fixed}, normalize)


def _read(settings: Path) -> dict[str, Any]:
    try:
        content = load_yaml(settings.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UpstreamError(f"{settings}: cannot be read: {error}") from error
    known = {
        *_NOT_IN_SHAPES,
        *_DROPOUTS,
        *("extractor_mode", "extractor_conv_layer_config", "extractor_conv_bias", "encoder_embed_dim"),
        *("encoder_pos_conv_kernel", "encoder_pos_conv_groups", "encoder_num_layers", "encoder_ff_interm_features"),
        *("encoder_layer_drop", "aux_num_out"),
    }
    if not isinstance(content, dict):
        raise UpstreamError(f"{settings}: expected keys and values, such as normalize_waveform: false")
    for key in content:
        if key not in known:
            raise UpstreamError(f"{settings}: unknown key {key!r}. {suggest(str(key), known)}")
    for key, value in content.items():
        if key in _SWITCHES and type(value) is not bool:  # a text such as "false" would count as true
            raise UpstreamError(f"{settings}: {key} is {value!r}, must be true or false")
    heads = content.get("encoder_num_heads", 1)
    if type(heads) is not int or heads < 1:
        raise UpstreamError(f"{settings}: encoder_num_heads is {heads!r}, must be a number of 1 or more")
    return content


def _asked_for(path: Path, absent: list[str], settings: Path | None) -> str:
    examples = {
        "normalize_waveform": "normalize_waveform: false  (torchaudio's bundles: false for base, true for HuBERT large "
        "and models with a layer-norm extractor)",
        "encoder_num_heads": "encoder_num_heads: 12",
        "encoder_layer_norm_first": "encoder_layer_norm_first: false",
        "extractor_strides": "extractor_strides: [5, 2, 2, 2, 2, 2, 2]",
    }
    where = f"add it to {settings}" if settings else f"write it to {path.name}.yaml beside it, or give a file with -g"
    lines = "\n".join(f"  {examples[name]}" for name in absent)
    return f"{path}: a state dict does not tell {', '.join(absent)}: {where}, for example\n{lines}"


def checked_model(found: Architecture, weights: dict[str, Tensor], path: Path) -> Any:
    """torchaudio's model, not yet filled; in ``weights``, the convolution over positions gets its name there.

    Raises:
        UpstreamError: if the weights do not fit it
    """
    from torchaudio.models import wav2vec2_model

    model = wav2vec2_model(**found.arguments)
    conv = "encoder.transformer.pos_conv_embed.conv."
    if f"{conv}weight_g" in model.state_dict():  # torchaudio before 2.1
        for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
            weights[f"{conv}{old}"] = weights.pop(f"{conv}parametrizations.weight.{new}")
    check_fit(model, weights, f"{path} (torchaudio)")
    return model


class TorchaudioUpstream(nn.Module):
    """torchaudio's model with S3PRL's upstream interface.

    Args:
        path: a state dict of ``Wav2Vec2Model`` or ``HuBERTPretrainModel``
        settings: see :func:`architecture`

    Raises:
        UpstreamError: if something is missing, or weights do not fit
    """

    def __init__(self, path: Path, settings: Path | None) -> None:
        super().__init__()
        weights = encoder_weights(load(path), path)
        self.architecture = architecture(weights, path, settings)
        self.model = checked_model(self.architecture, weights, path)
        check_numbers(weights, path)
        self.model.load_state_dict({name: weights[name] for name in self.model.state_dict()})
        self.model.float()
        self.padding_changes_features = self.architecture.arguments["extractor_mode"] == "group_norm"

    def get_downsample_rates(self, key: str | None = None) -> int:
        """Samples per frame."""
        return self.architecture.downsample_rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """Waveforms at 16 kHz, each ``(samples,)``, to hidden states ``(batch, frames, features)``, L + 1 of them."""
        if self.architecture.normalize_waveform:
            wavs = [nn.functional.layer_norm(wav, wav.shape) for wav in wavs]
        return encoded(wavs, self._encode, alone=self.padding_changes_features and not self.training)

    def _encode(self, wavs: list[Tensor]) -> tuple[Tensor, ...]:
        """The input of the first block, then each block's output; after pre-norm blocks, the last one is normalised."""
        transformer = self.model.encoder.transformer
        first: list[Tensor] = []
        handle = transformer.layers[0].register_forward_pre_hook(lambda _, inputs: first.append(inputs[0]))
        same = self.padding_changes_features or len({len(wav) for wav in wavs}) == 1
        lengths = None if same else torch.tensor([len(wav) for wav in wavs], device=wavs[0].device)
        try:
            blocks, _ = self.model.extract_features(pad_sequence(wavs, batch_first=True), lengths)
        finally:
            handle.remove()
        if self.architecture.arguments["encoder_layer_norm_first"]:
            blocks = [*blocks[:-1], transformer.layer_norm(blocks[-1])]
        return (*first, *blocks)
