"""Loading a speech encoder in transformers format, with everything about it checked."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MODEL_MAPPING, AutoFeatureExtractor

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.upstreams._weights import read_weights, weight_files
from s3prl_emotion.upstreams.files import misfit
from s3prl_emotion.upstreams.pretrained import BROKEN, filled, first_line, read_settings, skeleton

logger = logging.getLogger(__name__)

SAMPLE_RATE = 16000

HEADS = (
    *("lm_head", "classifier", "projector", "layer_weights", "quantizer", "project_q", "project_hid", "final_proj"),
    *("masked_spec_embed", "label_embeddings_concat", "label_embs_concat", "speaker_proj", "tdnn", "objective"),
    *("feature_extractor_xvec", "ctc_proj", "dropout_features", "layer_norm_for_extract", "decoder", "proj_out"),
)
"""Beginnings of the names of what sits on an encoder, or beside it, for pretraining and fine-tuning."""

_EXTRACTORS = {
    "whisper": ("WhisperFeatureExtractor", ("sampling_rate", "feature_size")),
    "wav2vec2-bert": ("SeamlessM4TFeatureExtractor", ("sampling_rate", "num_mel_bins", "stride")),
}
_WAVEFORM_EXTRACTOR = ("Wav2Vec2FeatureExtractor", ("sampling_rate", "do_normalize"))
_RENAMED = {
    ".weight_g": ".parametrizations.weight.original0",
    ".weight_v": ".parametrizations.weight.original1",
    ".gamma": ".weight",
    ".beta": ".bias",
}
"""Endings of names in older files, and those that transformers reads them as."""


@dataclass(frozen=True)
class Encoder:
    """A loaded model with what belongs to it."""

    model: nn.Module  # float32
    config: Any
    extractor: Any


def read_config(folder: Path) -> Any:
    """The configuration of a model that can be an upstream.

    Raises:
        UpstreamError: if it is missing, broken, of an unknown kind, or no speech encoder
    """
    config = read_settings(folder)
    is_speech = config.model_type in _EXTRACTORS or getattr(config, "conv_stride", None) is not None
    if not is_speech or not hasattr(config, "num_hidden_layers") or type(config) not in MODEL_MAPPING:
        raise UpstreamError(
            f"{folder}: {config.model_type!r} is no speech encoder with hidden states that is known here. Known: "
            "encoders of waveforms (hubert, wav2vec2, wavlm, data2vec-audio, unispeech-sat, ...), whisper, "
            "wav2vec2-bert"
        )
    for name, value in (("layerdrop", 0.0), ("encoder_layerdrop", 0.0), ("dtype", torch.float32)):
        if hasattr(config, name):
            setattr(config, name, value)
    return config


def read_extractor(folder: Path, config: Any) -> Any:
    """The feature extractor, whose settings must come with the checkpoint.

    Raises:
        UpstreamError: naming the settings that are missing, or do not fit
    """
    kind, settings = _EXTRACTORS.get(config.model_type, _WAVEFORM_EXTRACTOR)
    example = ", ".join(f"{name}=..." for name in settings)
    save = f"Save the model's feature extractor there: {kind}({example}).save_pretrained({str(folder)!r})"
    found = [folder / name for name in ("preprocessor_config.json", "processor_config.json")]
    found = [path for path in found if path.is_file()]
    if not found:
        raise UpstreamError(
            f"{folder}: preprocessor_config.json is missing, which says how waveforms are normalised, and at which "
            f"sampling rate. {save}"
        )
    given: Any = None
    try:
        given = json.loads(found[0].read_text(encoding="utf-8"))
        given = given.get("feature_extractor", given) if isinstance(given, dict) else given
        if not isinstance(given, dict):
            raise UpstreamError(f"{found[0]}: expected names and values, found {json.dumps(given)[:40]}. {save}")
        absent = [name for name in settings if name not in given]
        if absent:
            raise UpstreamError(f"{found[0]}: {' and '.join(absent)} missing. {save}")
        _check_types(given, found[0])
        extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False)
    except BROKEN as error:
        if isinstance(given, dict) and "auto_map" in given:
            raise UpstreamError(
                f"{found[0]}: refused, because the feature extractor is code beside it (auto_map), which is not "
                f"executed. {save}"
            ) from error
        raise UpstreamError(f"{found[0]}: {first_line(error)}. {save}") from error
    if any(not hasattr(extractor, name) for name in settings):
        raise UpstreamError(f"{found[0]}: {type(extractor).__name__} does not fit {config.model_type}. {save}")
    if extractor.sampling_rate != SAMPLE_RATE:
        raise UpstreamError(
            f"{found[0]}: the feature extractor asks for {extractor.sampling_rate} Hz, expected {SAMPLE_RATE}: "
            "S3PRL gives waveforms at 16 kHz"
        )
    return extractor


def _check_types(given: dict[str, Any], path: Path) -> None:
    """A text such as "false" would count as true."""
    normalize = given.get("do_normalize", False)
    if type(normalize) is not bool:
        raise UpstreamError(f"{path}: do_normalize is {json.dumps(normalize)}, must be true or false")
    if type(given["sampling_rate"]) not in (int, float):
        raise UpstreamError(
            f"{path}: sampling_rate is {json.dumps(given['sampling_rate'])}, must be a number: {SAMPLE_RATE}"
        )


def load_encoder(folder: Path, weights: Path | None = None) -> Encoder:
    """Load a model in float32, without layer-drop, and without executing anything that a file holds.

    Args:
        folder: configuration and feature extractor, and the weights if none are named
        weights: a file with other weights of that architecture

    Raises:
        UpstreamError: if something is missing or broken, or the weights do not fit the configuration
    """
    config = read_config(folder)
    extractor = read_extractor(folder, config)
    files = weight_files(folder) if weights is None else [weights]
    where = str(folder if weights is None else weights)
    # Names and pickles are checked here; transformers maps names of older and of fine-tuned models.
    state = read_weights(files, where)
    skeleton(folder, config, state)
    kind = MODEL_MAPPING[type(config)]
    model, report = filled(kind, config, state, where)
    _check_fit(where, config.model_type, kind.base_model_prefix, report)
    return Encoder(model.float(), config, extractor)


def layers_of(model: nn.Module, inputs: Tensor, **given: Any) -> tuple[Tensor, ...]:
    """The input of the first block, and the output of each; the last one as the encoder gives it on.

    After pre-norm blocks that is normalised, as in S3PRL's models. transformers has it so in ``hidden_states`` up to
    4.x, and before normalisation since 5.x.
    """
    ends: list[Tensor] = []
    handle = model.encoder.register_forward_hook(lambda *call: ends.append(call[2][0]))  # type: ignore[operator, union-attr]
    try:
        layers = tuple(model(inputs, output_hidden_states=True, **given).hidden_states)
    finally:
        handle.remove()
    # SEW's encoder gives a higher frame rate on than its blocks have.
    return (*layers[:-1], ends[0]) if ends[0].shape == layers[-1].shape else layers


def _check_fit(where: str, kind: str, prefix: str, report: dict[str, Any]) -> None:
    """Complain about missing, surplus and misshapen weights; name heads that are left out."""

    def plain(name: str) -> str:
        return name.removeprefix(f"{prefix}.")

    # A masking embedding is used by spec-augment only; of Whisper, only the encoder is.
    unused = ("masked_spec_embed", *(("decoder",) if kind == "whisper" else ()))
    missing = [plain(name) for name in report["missing_keys"] if not plain(name).startswith(unused)]
    surplus = [plain(name) for name in report["unexpected_keys"]]
    heads = [name for name in surplus if name.startswith(HEADS)]
    shapes = [
        f"{plain(name)} (file {tuple(given)}, model {tuple(expected)})"
        for name, given, expected in report["mismatched_keys"]
        if not plain(name).startswith(unused)
    ]
    misfit(f"{where} ({kind})", missing, [name for name in surplus if name not in heads], shapes)
    if heads:
        logger.info("%s: left out, no part of the encoder: %s", where, ", ".join(sorted(heads)[:10]))


def check_names(where: str, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """What :func:`load_encoder` would find in names and shapes, from file headers and a model without memory.

    Args:
        where: for the message
        model: on the ``meta`` device
        weights: names and tensors, whose values are not looked at

    Raises:
        UpstreamError: naming what is missing, surplus or of another shape
    """
    prefix = str(model.base_model_prefix)

    def plain(name: str) -> str:
        for old, new in _RENAMED.items():
            name = f"{name.removesuffix(old)}{new}" if name.endswith(old) else name
        return name.removeprefix(f"{prefix}.")

    given = {plain(name): value for name, value in weights.items()}
    own = {plain(name): value for name, value in model.state_dict().items()}
    needed = {plain(name) for name, _ in model.named_parameters()}
    report = {
        "missing_keys": sorted(needed - set(given)),
        "unexpected_keys": sorted(set(given) - set(own)),
        "mismatched_keys": [
            (name, value.shape, own[name].shape)
            for name, value in given.items()
            if name in own and value.shape != own[name].shape
        ],
    }
    _check_fit(where, str(model.config.model_type), prefix, report)  # type: ignore[union-attr]
