"""Metadata of a checkpoint: size and rate, without loading its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.upstreams.files import load, settings_file
from s3prl_emotion.upstreams.formats import adapter_of, converted_family

SAMPLE_RATE = 16000


@dataclass(frozen=True)
class CheckpointFacts:
    """Size and rate of an upstream; None where that is not known."""

    states: int | None = None  # L + 1: the input of the first block, and each block's output
    width: int | None = None
    rate_hz: float | None = None  # frames per second
    parameters: int | None = None


def facts(path: Path) -> CheckpointFacts:
    """Size and rate of what an adapter would load: from configuration, file headers and tensor shapes.

    Raises:
        UpstreamError: if it could not be loaded, as far as that can be seen
    """
    adapter = adapter_of(path)
    if adapter == "hf_auto_custom":
        return _transformers(path)
    content = load(path, peek=True)
    return _converted(content, path) if adapter == "s3prl_converted" else _torchaudio(content, path)


def _transformers(folder: Path) -> CheckpointFacts:
    from s3prl_emotion.upstreams.pretrained import skeleton
    from s3prl_emotion.upstreams.transformers import check_names, model_class, read_config, read_extractor
    from s3prl_emotion.upstreams.weights import read_weights, weight_files

    config = read_config(folder)
    extractor = read_extractor(folder, config)
    weights = read_weights(weight_files(folder), str(folder), peek=True)
    model: Any = skeleton(folder, config, weights, model_class(config))
    check_names(str(folder), model, weights)
    if config.model_type == "whisper":
        rate = 2 * extractor.hop_length
    elif config.model_type == "wav2vec2-bert":
        rate = 160 * extractor.stride
    else:
        from s3prl_emotion.upstreams.waveform import samples_per_frame

        rate = samples_per_frame(config)
    return CheckpointFacts(config.num_hidden_layers + 1, config.hidden_size, SAMPLE_RATE / rate, _parameters(model))


def _torchaudio(content: Mapping[str, Any], path: Path) -> CheckpointFacts:
    from s3prl_emotion.upstreams.torchaudio import architecture, checked_model, encoder_weights

    weights = encoder_weights(content, path)
    found = architecture(weights, path, settings_file(path))
    size = found.arguments["encoder_num_layers"] + 1, found.arguments["encoder_embed_dim"]
    with torch.device("meta"):
        checked_model(found, weights, path)
    total = sum(value.numel() for value in weights.values())
    return CheckpointFacts(*size, SAMPLE_RATE / found.downsample_rate, total)


def _converted(content: Mapping[str, Any], path: Path) -> CheckpointFacts:
    from s3prl_emotion.upstreams.torchaudio import count

    family = converted_family(content)
    weights = content.get("model_weight", content.get("model", {}))
    names = {
        name: value for name, value in weights.items() if isinstance(value, torch.Tensor) and isinstance(name, str)
    }
    norm = names.get("encoder.layer_norm.weight")
    if norm is None:
        raise UpstreamError(f"{path}: a checkpoint of {family}, whose size is not known without loading it")
    total = sum(value.numel() for value in names.values())
    return CheckpointFacts(count(names, "encoder.layers.") + 1, int(norm.shape[0]), SAMPLE_RATE / 320, total)


def _parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
