"""Format of a checkpoint by its content, not by its name."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.upstreams.bounds import check_settings_sizes
from s3prl_emotion.upstreams.expressions import check_expressions
from s3prl_emotion.upstreams.files import first_keys, load, unwrapped
from s3prl_emotion.upstreams.reference import FILE_SUFFIXES

SAMPLE_RATE = 16000

KNOWN = (
    "a folder in transformers format (config.json, weights, preprocessor_config.json); a file converted by S3PRL "
    "(task_cfg, model_cfg, model_weight; or cfg, model); a state dict of torchaudio's wav2vec 2.0 or HuBERT"
)

_CONVERTED = {"task_cfg", "model_cfg", "model_weight"}
_TORCHAUDIO = "encoder.transformer.layers.0."
_RATES = ("sample_rate", "sampling_rate")
_TRANSFORMERS = ("layers.0.attention.", "layers.0.self_attn.")
_ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
"""What peft writes; transformers would load it over the model."""


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
    inner = unwrapped(content, str(path))
    if any(_TORCHAUDIO in str(name) for name in inner):
        return "torchaudio_custom"
    raise UpstreamError(f"{path}: {_unknown(content, inner)}")


def check_folder(folder: Path) -> None:
    """Check that a folder looks like transformers' format.

    Raises:
        UpstreamError: saying what lies there instead of ``config.json``
    """
    _check_adapters(folder)
    if (folder / "config.json").is_file():
        return
    inside = sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))
    found = f"it holds {', '.join(inside[:8])}" if inside else "it is empty"
    raise UpstreamError(
        f"{folder}: expected a folder in transformers format, config.json is missing; {found}{hint(folder)}"
    )


def _check_adapters(folder: Path) -> None:
    found = [name for name in _ADAPTERS if (folder / name).is_file()]
    if not found:
        return
    base = "BASE"
    with contextlib.suppress(OSError, ValueError, RecursionError, AttributeError):
        given = json.loads((folder / _ADAPTERS[0]).read_text(encoding="utf-8")).get("base_model_name_or_path")
        base = json.dumps(given)[:100] if isinstance(given, str) and given else base
    raise UpstreamError(
        f"{folder}: refused, because {' and '.join(found)} {'is' if len(found) == 1 else 'are'} an adapter (peft) that "
        "changes a base model, and adapters are not loaded. Merge it into its base where peft is installed, and name "
        f"OUT: PeftModel.from_pretrained(MODEL.from_pretrained({base}), {str(folder)!r}).merge_and_unload()"
        ".save_pretrained(OUT), with MODEL the class that was adapted; copy the other JSON files there. If it is "
        "merged already, move these files away"
    )


def hint(folder: Path) -> str:
    """What to name instead of a folder that is not in transformers format, for messages; empty if nothing is known."""
    inside = sorted(item.name for item in folder.iterdir())
    if "snapshots" in inside and folder.name.startswith("models--"):
        commits = sorted(item.name for item in (folder / "snapshots").iterdir() if item.is_dir())
        with contextlib.suppress(OSError, UnicodeDecodeError):
            main = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
            commits = [main] if main in commits else commits
        which = " or ".join(str(folder / "snapshots" / commit) for commit in commits[:5])
        return (
            f". It is the Hub's cache of one model: name the snapshot in it, {which or 'of which there is none here'}"
        )
    weights = [name for name in inside if name.endswith(FILE_SUFFIXES)]
    if "hyperparams.yaml" in inside:
        files = " or ".join(str(folder / name) for name in weights[:5]) or "FILE"
        return (
            f". It is a folder of SpeechBrain: give the folder of the model that its encoder was trained from, and its "
            f"weights beside it: -u FOLDER -k {files}"
        )
    parts = sorted(item.parent.name for item in folder.glob("*/config.json"))
    if parts:
        return f". To use a model in it, name its folder: {' or '.join(str(folder / part) for part in parts[:5])}"
    return f". To use a single file, name it: {folder / weights[0]}" if weights else ""


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


def _unknown(content: Mapping[str, Any], inner: Mapping[str, Any]) -> str:
    keys = f"keys {first_keys(content)}"
    names = "" if set(inner) == set(content) else f"; in it: {first_keys(inner)}"
    if any(part in name for name in map(str, inner) for part in _TRANSFORMERS):
        return (
            f"a state dict of a transformers model ({keys}{names}) without its configuration. Put config.json and "
            "preprocessor_config.json of that model into a folder, and give both: -u FOLDER -k FILE"
        )
    if "pytorch-lightning_version" in content or {"state_dict", "epoch"} <= set(content):
        return (
            f"a checkpoint of a Lightning training ({keys}{names}). Save the encoder alone, in one of the known "
            f"formats: {KNOWN}"
        )
    if "task_state" in content or "optimizer_history" in content:
        return (
            f"a checkpoint of fairseq ({keys}). Convert it where fairseq is installed: "
            "python -m s3prl.upstream.hubert.convert (or wav2vec2, data2vec)"
        )
    return f"no known format ({keys}{names}). Known: {KNOWN}"
