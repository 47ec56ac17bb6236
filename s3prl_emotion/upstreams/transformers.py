"""Loading a speech encoder in transformers format, with everything about it checked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import MODEL_MAPPING, AutoFeatureExtractor

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.upstreams.files import check_numbers, misfit, say_left_out
from s3prl_emotion.upstreams.pretrained import BROKEN, filled, first_line, read_settings, skeleton
from s3prl_emotion.upstreams.weights import own_part, read_weights, weight_files

SAMPLE_RATE = 16000

WAVEFORM_KINDS = (
    *("hubert", "wav2vec2", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat", "wav2vec2-conformer"),
    *("sew", "sew-d"),
)
"""Types of transformers whose bare model maps a waveform to states, each tested against transformers."""
_EXTRACTORS = {
    "whisper": ("WhisperFeatureExtractor", ("sampling_rate", "feature_size")),
    "wav2vec2-bert": ("SeamlessM4TFeatureExtractor", ("sampling_rate", "num_mel_bins", "stride")),
}
_WAVEFORM_EXTRACTOR = ("Wav2Vec2FeatureExtractor", ("sampling_rate", "do_normalize"))
_OPTIONAL = ("masked_spec_embed",)
"""Beginnings of names of what spec-augment alone uses."""
_BOOKKEEPING = ("feature_extractor_type", "processor_class", "_processor_class", "transformers_version")


@dataclass(frozen=True)
class TransformersEncoder:
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
    if config.model_type not in (*WAVEFORM_KINDS, *_EXTRACTORS):
        raise UpstreamError(
            f"{folder}: {config.model_type!r} is no speech encoder with hidden states that is known here. Known: "
            f"encoders of waveforms ({', '.join(WAVEFORM_KINDS)}), {', '.join(_EXTRACTORS)}"
        )
    for name in ("layerdrop", "encoder_layerdrop"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    return config


def read_extractor(folder: Path, config: Any) -> Any:
    """The feature extractor, whose settings must come with the checkpoint.

    Raises:
        UpstreamError: naming the settings that are missing, or do not fit
    """
    kind, settings = _EXTRACTORS.get(config.model_type, _WAVEFORM_EXTRACTOR)
    example = ", ".join(f"{name}=..." for name in settings)
    save = f"Save the model's feature extractor there: {kind}({example}).save_pretrained({str(folder)!r})"
    files = _extractor_files(folder)
    if not files:
        raise UpstreamError(
            f"{folder}: preprocessor_config.json is missing, which says how waveforms are normalised, and at which "
            f"sampling rate. {save}"
        )
    path, given = files[0], {}
    try:
        given, *others = [_extractor_settings(file) for file in files]
        absent = [name for name in settings if name not in given]
        if absent:
            raise UpstreamError(f"{path}: {' and '.join(absent)} missing. {save}")
        _check_types(given, path)
        extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False)
        for file, other in zip(files[1:], others, strict=True):
            _check_agreement(extractor, path, type(extractor).from_dict(dict(other)), file, other)
    except BROKEN as error:
        if "auto_map" in given:
            raise UpstreamError(
                f"{path}: refused, because the feature extractor is code beside it (auto_map), which is not "
                f"executed. {save}"
            ) from error
        raise UpstreamError(f"{path}: {first_line(error)}. {save}") from error
    if any(not hasattr(extractor, name) for name in settings):
        raise UpstreamError(f"{path}: {type(extractor).__name__} does not fit {config.model_type}. {save}")
    if extractor.sampling_rate != SAMPLE_RATE:
        raise UpstreamError(
            f"{path}: the feature extractor asks for {extractor.sampling_rate} Hz, expected {SAMPLE_RATE}: "
            "S3PRL gives waveforms at 16 kHz"
        )
    return extractor


def _extractor_files(folder: Path) -> list[Path]:
    """The files with settings of the feature extractor, first the one that transformers reads."""
    nested, own = folder / "processor_config.json", folder / "preprocessor_config.json"
    has_settings = nested.is_file() and bool(_nested(_read_json(nested)))
    return [path for path in ((nested, own) if has_settings else (own,)) if path.is_file()]


def _extractor_settings(path: Path) -> dict[str, Any]:
    content = _read_json(path)
    given = _nested(content) if path.name == "processor_config.json" else content
    if not isinstance(given, dict):
        raise UpstreamError(f"{path}: expected names and values, found {json.dumps(given)[:40]}")
    return given


def _nested(content: Any) -> Any:
    """The settings of the feature extractor among those of a processor, where transformers looks for them."""
    return content.get("feature_extractor", content.get("audio_processor")) if isinstance(content, dict) else None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UpstreamError(f"{path}: {first_line(error)}. Copy or download it again") from error


def _check_agreement(extractor: Any, path: Path, other: Any, file: Path, given: Mapping[str, Any]) -> None:
    """Refuse a second file with other settings: which of them the model was trained with is not known."""
    names = [name for name in type(extractor)().to_dict() if name not in _BOOKKEEPING]
    one, two = extractor.to_dict(), other.to_dict()
    differing = [
        f"{name} is {json.dumps(one.get(name), default=str)} in {path.name} and "
        f"{json.dumps(two.get(name), default=str)} in {file.name}"
        for name in names
        if one.get(name) != two.get(name)
    ]
    kind = given.get("feature_extractor_type")
    if kind not in (None, type(extractor).__name__):
        differing.append(f"{path.name} is for a {type(extractor).__name__}, {file.name} for a {kind}")
    if differing:
        raise UpstreamError(
            f"{path.parent}: {path.name}, which transformers reads, and {file.name} disagree: {'; '.join(differing)}. "
            "Delete the one that the model was not trained with"
        )


def _check_types(given: dict[str, Any], path: Path) -> None:
    """A text such as "false" would count as true."""
    normalize = given.get("do_normalize", False)
    if type(normalize) is not bool:
        raise UpstreamError(f"{path}: do_normalize is {json.dumps(normalize)}, must be true or false")
    if type(given["sampling_rate"]) not in (int, float):
        raise UpstreamError(
            f"{path}: sampling_rate is {json.dumps(given['sampling_rate'])}, must be a number: {SAMPLE_RATE}"
        )


def load_encoder(folder: Path, weights: Path | None = None) -> TransformersEncoder:
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
    kind = model_class(config)
    state = read_weights(files, where)
    state = own_part(state, skeleton(folder, config, state, kind), where, _OPTIONAL)
    check_numbers(state, where)
    say_left_out(folder, [path.name for path in folder.glob("adapter.*.safetensors")])  # of languages, as MMS has them
    model, report = filled(kind, config, state, where)
    _check_fit(where, config.model_type, kind.base_model_prefix, report)
    return TransformersEncoder(model.float(), config, extractor)


def model_class(config: Any) -> Any:
    """The class whose weights an upstream needs: of Whisper, the encoder."""
    if config.model_type != "whisper":
        return MODEL_MAPPING[type(config)]
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    return WhisperEncoder


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
    """Complain about missing, surplus and misshapen weights."""

    def plain(names: Iterable[str]) -> list[str]:
        found = (str(name).removeprefix(f"{prefix}.") for name in names)
        return [name for name in found if not name.startswith(_OPTIONAL)]

    shapes = [
        f"{name} (file {tuple(given)}, model {tuple(expected)})" for name, given, expected in report["mismatched_keys"]
    ]
    misfit(f"{where} ({kind})", plain(report["missing_keys"]), plain(report["unexpected_keys"]), plain(shapes))


def check_names(where: str, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """What :func:`load_encoder` would find in names and shapes, from file headers and a model without memory.

    Args:
        where: for the message
        model: on the ``meta`` device
        weights: names and tensors, whose values are not looked at

    Raises:
        UpstreamError: naming what is missing, surplus or of another shape
    """
    given = own_part(weights, model, where, _OPTIONAL)
    own = model.state_dict()
    report = {
        "missing_keys": sorted({name for name, _ in model.named_parameters()} - set(given)),
        "unexpected_keys": sorted(set(given) - set(own)),
        "mismatched_keys": [
            (name, value.shape, own[name].shape)
            for name, value in given.items()
            if name in own and value.shape != own[name].shape
        ],
    }
    _check_fit(where, str(model.config.model_type), str(model.base_model_prefix), report)  # type: ignore[union-attr]
