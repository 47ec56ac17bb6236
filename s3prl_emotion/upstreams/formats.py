"""Which adapter reads a checkpoint: told by what is in it, not by what it is called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.upstreams._bounds import check_settings_sizes
from s3prl_emotion.upstreams.dropped import FILE_SUFFIXES
from s3prl_emotion.upstreams.expressions import check_expressions
from s3prl_emotion.upstreams.files import first_keys, load

SAMPLE_RATE = 16000

KNOWN = (
    "a folder in transformers format (config.json, weights, preprocessor_config.json); a file converted by S3PRL "
    "(task_cfg, model_cfg, model_weight; or cfg, model); a state dict of torchaudio's wav2vec 2.0 or HuBERT"
)

_CONVERTED = {"task_cfg", "model_cfg", "model_weight"}
_TORCHAUDIO = "encoder.transformer.layers.0."
_RATES = ("sample_rate", "sampling_rate")
_TRANSFORMERS = ("encoder.layers.0.attention.", "encoder.layers.0.self_attn.")


def adapter_of(path: Path) -> str:
    """The ``-u`` name of the adapter that reads a checkpoint.

    Raises:
        UpstreamError: if none does; the message says what was found and what could be done
    """
    if path.is_dir():
        check_folder(path)
        return "hf_auto_custom"
    if not path.is_file():
        raise UpstreamError(f"{path}: no such file or folder")
    content = load(path, peek=True)
    family = converted_family(content)
    if family in ("wav2vec", "vq_wav2vec"):
        raise UpstreamError(f"{path}: a {family}, which has no transformer blocks: use -u {family}_custom -k {path}")
    if family is not None:
        check_settings(content, family, str(path))
        return "s3prl_converted"
    if any(_TORCHAUDIO in str(name) for name in content):
        return "torchaudio_custom"
    raise UpstreamError(f"{path}: {_unknown(content)}")


def check_folder(folder: Path) -> None:
    """Check that a folder looks like transformers' format.

    Raises:
        UpstreamError: saying what lies there instead of ``config.json``
    """
    if (folder / "config.json").is_file():
        return
    inside = sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))
    weights = [name for name in inside if name.endswith(FILE_SUFFIXES)]
    found = f"it holds {', '.join(inside[:8])}" if inside else "it is empty"
    hint = f". To use a single file, name it: {folder / weights[0]}" if weights else ""
    raise UpstreamError(f"{folder}: expected a folder in transformers format, config.json is missing; {found}{hint}")


def converted_family(content: Mapping[str, Any]) -> str | None:
    """S3PRL's family of a file that S3PRL converted from fairseq, or of Microsoft's WavLM and UniSpeech-SAT.

    Source: the ``convert.py`` and ``expert.py`` of each family in s3prl 0.4.18.
    """
    if set(content) >= _CONVERTED:
        if not isinstance(content["model_weight"], Mapping):
            return None
        weights = [str(name) for name in content["model_weight"]]
        if "dictionaries_symbols" in content:
            is_multires = any("middle_encoder" in name or name.startswith("encoders.") for name in weights)
            return "multires_hubert" if is_multires else "hubert"
        if not any(name.startswith("encoder.layers.0.") for name in weights):
            return "vq_wav2vec" if any(name.startswith("vector_quantizer") for name in weights) else "wav2vec"
        name = content["model_cfg"].get("_name") if isinstance(content["model_cfg"], Mapping) else None
        return "data2vec" if "_ema" in weights or name == "data2vec_audio" else "wav2vec2"
    if {"cfg", "model"} <= set(content) and isinstance(content["cfg"], Mapping) and "task_state" not in content:
        return "wavlm" if "encoder_layers" in content["cfg"] and isinstance(content["model"], Mapping) else None
    return None


def check_settings(content: Mapping[str, Any], family: str, where: str) -> None:
    """Check the settings of a file that S3PRL's own model is built from.

    Raises:
        UpstreamError: naming the part that is empty, or the setting that is wrong; or see :func:`check_expressions`
    """
    parts = ("cfg",) if "cfg" in content and "model_cfg" not in content else ("task_cfg", "model_cfg")
    for part in parts:
        if type(content[part]) is not dict or not content[part]:
            found = "empty" if not content[part] else f"a {type(content[part]).__name__}"
            raise UpstreamError(
                f"{where} ({family}): {part} is {found}, expected the settings of the model by their names. Convert "
                "the checkpoint again"
            )
    check_rate(content, where)
    for part in parts:
        normalize = content[part].get("normalize", False)
        if type(normalize) is not bool:
            raise UpstreamError(f"{where}: {part}.normalize is {normalize!r}, must be true or false")
    check_expressions(content, where)
    for part in parts:
        check_settings_sizes(content[part], content, f"{where}: {part}")


def check_rate(content: Mapping[Any, Any], where: str) -> None:
    """Refuse a checkpoint whose settings are for another sampling rate than 16 kHz.

    Raises:
        UpstreamError: naming the setting
    """
    for part in ("task_cfg", "model_cfg", "cfg"):
        settings = content.get(part)
        if not isinstance(settings, Mapping):
            continue
        for name in _RATES:
            value = settings.get(name)
            if value is not None and value != SAMPLE_RATE:
                raise UpstreamError(
                    f"{where}: {part}.{name} is {value!r}, expected {SAMPLE_RATE}: S3PRL gives waveforms at 16 kHz"
                )


def _unknown(content: Mapping[str, Any]) -> str:
    keys = f"keys {first_keys(content)}"
    if "pytorch-lightning_version" in content or {"state_dict", "epoch"} <= set(content):
        inner = content.get("state_dict")
        names = f"; in state_dict: {first_keys(inner)}" if isinstance(inner, Mapping) else ""
        return (
            f"a checkpoint of a Lightning training ({keys}{names}). Save the encoder alone, in one of the known "
            f"formats: {KNOWN}"
        )
    if "task_state" in content or "optimizer_history" in content:
        return (
            f"a checkpoint of fairseq ({keys}). Convert it where fairseq is installed: "
            "python -m s3prl.upstream.hubert.convert (or wav2vec2, data2vec)"
        )
    if any(part in name for name in map(str, content) for part in _TRANSFORMERS):
        return (
            f"a state dict of a transformers model ({keys}) without its configuration. Put it into a folder with "
            "config.json and preprocessor_config.json, or give both: -u FOLDER -k FILE"
        )
    return f"no known format ({keys}). Known: {KNOWN}"
