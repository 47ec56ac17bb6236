"""Writing and reading an exported folder, see :mod:`s3prl_emotion.inference.export_files`."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from s3prl_emotion.audio import SAMPLE_RATE_HZ
from s3prl_emotion.audio.preparation import Preparation
from s3prl_emotion.config import from_mapping, shown
from s3prl_emotion.corpora import corpora
from s3prl_emotion.downstream.config import ModelConfig
from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation.summary import versions
from s3prl_emotion.files import check_safetensors, clean_up, stale, sync, temporary_beside, write_atomically
from s3prl_emotion.inference.export_files import (
    CARD_FILE,
    CONFIG_FILE,
    FILES,
    FORMAT,
    HEAD_FILE,
    TEXT_FILE,
    UPSTREAM_FILE,
    VERSION,
    CorpusFacts,
    ExportConfig,
    ExportedText,
    ExportedUpstream,
    Features,
    model_card,
)
from s3prl_emotion.inference.parts import FoldParts, Parts
from s3prl_emotion.mapping import to_mapping
from s3prl_emotion.runs.record import read_json
from s3prl_emotion.s3prl_runner.registration import register
from s3prl_emotion.s3prl_runner.upstream_registry import is_upstream


def is_export(folder: Path) -> bool:
    """Whether ``folder`` looks like an export of ours."""
    return (folder / CONFIG_FILE).is_file() and (folder / HEAD_FILE).is_file()


def write_export(parts: Parts, features: Features, folder: str | Path) -> Path:
    """Write trained heads as a folder, all of it or nothing.

    Args:
        parts: what to export
        features: what the upstream gives
        folder: a new or empty folder, or an earlier export, which is replaced

    Returns:
        the folder

    Raises:
        RunError: if the folder holds anything else, or the model is a classical one
    """
    if parts.model is None:
        raise RunError(
            f"{parts.downstream}: a classical model is exported by copying its run folder, from which "
            "`s3prl-emotion predict --run FOLDER` reads it; an export holds a neural head"
        )
    folder = Path(folder).expanduser().absolute()
    _check_place(folder)
    config = _config(parts, parts.model, features)
    _recover(folder)
    temporary, earlier = temporary_beside(folder), temporary_beside(folder, "old")
    temporary.mkdir(parents=True)
    try:
        _save(_head_tensors(parts), temporary / HEAD_FILE)
        if parts.use.fine_tuned:
            _save(_upstream_tensors(parts), temporary / UPSTREAM_FILE)
        content = to_mapping(config)
        if config.preparation is None:
            del content["preparation"]  # which earlier versions do not know
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        if any(fold.text is not None for fold in parts.folds):
            _save(_text_tensors(parts), temporary / TEXT_FILE)
        write_atomically(temporary / CONFIG_FILE, text + "\n")
        write_atomically(temporary / CARD_FILE, model_card(config))
        sync(temporary)
        if folder.is_dir():
            folder.replace(earlier)
        temporary.replace(folder)
    except OSError as error:
        if earlier.is_dir() and not folder.exists():
            earlier.replace(folder)
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(folder)) from error  # what the user named, not the hidden one
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(earlier, ignore_errors=True)
    return folder


def read_export(folder: Path, fold: int | None = None) -> Parts:
    """Read an exported folder. Nothing in it is executed.

    Args:
        folder: with ``config.json`` and ``head.safetensors``
        fold: read this fold only; None reads all

    Raises:
        RunError: if a file is missing, torn, of another format or a later version, or without that fold
    """
    config = read_config(folder)
    if fold is not None and fold not in config.folds:
        raise RunError(f"--fold {fold}: {folder} holds fold {', '.join(map(str, config.folds))}")
    folds = []
    for number in config.folds if fold is None else (fold,):
        tensors = _load(folder / HEAD_FILE, number)
        tensors.pop("layer_weights", None)
        logits = tensors.pop("layer_logits", None)
        head = {name.removeprefix("head."): value for name, value in tensors.items()}
        upstream = _load(folder / UPSTREAM_FILE, number) if config.upstream.fine_tuned else None
        trained = config.modelrc.text is not None and config.modelrc.text.trainable
        text = _load(folder / TEXT_FILE, number) if trained else None
        folds.append(FoldParts(number, head, logits, upstream, text=text))
    return Parts(
        upstream=config.upstream.ref(),
        use=config.upstream.use(),
        downstream=config.downstream,
        model=config.modelrc,
        labels=config.labels,
        folds=tuple(folds),
        corpus=config.corpus.name,
        preparation=Preparation(config.max_duration_s, config.trim_zeros, config.preparation),
        results=config.results,
        text=None if config.text is None else config.text.source(),
    )


def read_config(folder: Path) -> ExportConfig:
    """Read and check ``config.json``.

    Raises:
        RunError: if it is none of ours, of a later version, or on something that is no upstream
        ConfigError: naming the key that is wrong
    """
    content = read_json(folder / CONFIG_FILE, "an export")
    if content.get("format") != FORMAT:
        raise RunError(f"{folder / CONFIG_FILE}: not an export of s3prl-emotion ('format' is not {FORMAT!r})")
    if content.get("version") != VERSION:
        raise RunError(
            f"{folder / CONFIG_FILE}: has version {content.get('version')!r}, this s3prl-emotion reads {VERSION}; "
            "install the one that exported it, see 'versions' there"
        )
    config = from_mapping(ExportConfig, content, str(folder / CONFIG_FILE))
    if not config.labels or len(set(config.labels)) < len(config.labels):
        raise RunError(f"{folder / CONFIG_FILE}: labels: expected different names, found {shown(config.labels)}")
    if config.features.sample_rate_hz != SAMPLE_RATE_HZ:
        raise RunError(
            f"{folder / CONFIG_FILE}: features.sample_rate_hz: expected {SAMPLE_RATE_HZ}, which audio is converted to, "
            f"found {config.features.sample_rate_hz}"
        )
    register()
    if not is_upstream(config.upstream.name):
        raise RunError(f"{folder / CONFIG_FILE}: upstream.name: {shown(config.upstream.name)} is no upstream")
    return config


def _recover(folder: Path) -> None:
    """Undo what an export that was killed left beside the folder: the earlier export comes back to its place."""
    for path in stale(folder.parent, f".{folder.name[:100]}.*.old"):
        if not folder.exists():
            path.replace(folder)
    for ending in ("old", "tmp"):
        clean_up(folder.parent, f".{folder.name[:100]}.*.{ending}")


def _check_place(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise RunError(f"--out {folder}: a file is in the way; name a folder")
    if not folder.is_dir():
        return
    found = sorted(path.name for path in folder.iterdir())
    if found and not (is_export(folder) and set(found) <= set(FILES)):
        other = [name for name in found if name not in FILES] or found
        raise RunError(
            f"--out {folder}: holds {', '.join(other[:3])}{', ...' if len(other) > 3 else ''}, and is not just an "
            "earlier export; name a new folder"
        )


def _config(parts: Parts, model: ModelConfig, features: Features) -> ExportConfig:
    known = corpora.get(parts.corpus) if parts.corpus in corpora.names() else None
    text = None if parts.text is None else ExportedText.of(parts.text)
    if text is not None and model.text is not None:  # a folder of this machine tells others nothing
        model = dataclasses.replace(model, text=dataclasses.replace(model.text, encoder=text.encoder))
    return ExportConfig(
        format=FORMAT,
        version=VERSION,
        upstream=ExportedUpstream.of(parts.upstream, parts.use),
        features=features,
        downstream=parts.downstream,
        modelrc=model,
        labels=parts.labels,
        folds=tuple(fold.number for fold in parts.folds),
        corpus=CorpusFacts(parts.corpus, known.licence if known else None, known.citation if known else None),
        max_duration_s=parts.preparation.max_duration_s,
        trim_zeros=parts.preparation.trim_zeros,
        preparation=parts.preparation.cleaning,
        results=parts.results,
        versions=versions(),
        text=text,
    )


def _head_tensors(parts: Parts) -> dict[str, Tensor]:
    tensors = {}
    for fold in parts.folds:
        tensors.update({f"fold{fold.number}.head.{name}": value for name, value in fold.head.items()})
        if fold.layer_weights is not None:
            tensors[f"fold{fold.number}.layer_weights"] = fold.layer_weights.softmax(dim=-1)
            tensors[f"fold{fold.number}.layer_logits"] = fold.layer_weights
    return tensors


def _upstream_tensors(parts: Parts) -> dict[str, Tensor]:
    tensors = {}
    for fold in parts.folds:
        for name, value in (fold.upstream or {}).items():
            if not isinstance(value, Tensor):
                raise RunError(
                    f"fold {fold.number}: {name} of the fine-tuned upstream {parts.upstream.name} is no tensor "
                    f"({type(value).__name__}), and safetensors holds nothing else: it cannot be exported"
                )
            tensors[f"fold{fold.number}.{name}"] = value
    return tensors


def _text_tensors(parts: Parts) -> dict[str, Tensor]:
    return {f"fold{fold.number}.{name}": value for fold in parts.folds for name, value in (fold.text or {}).items()}


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    # Copies: the format refuses tensors that share memory, as tied weights do.
    try:
        save_file({name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}, path)
    except SafetensorError as error:
        if (found := re.search(r"\(os error (\d+)\)", str(error))) is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error


def _load(path: Path, fold: int) -> dict[str, Tensor]:
    prefix = f"fold{fold}."
    try:
        check_safetensors(path)
        with safe_open(path, framework="pt", device="cpu") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
            tensors = {name.removeprefix(prefix): file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise RunError(f"{path}: missing or torn ({error}); export or download it again") from error
    if not tensors:
        raise RunError(f"{path}: holds nothing of fold {fold}, which {CONFIG_FILE} lists; export or download it again")
    return tensors
