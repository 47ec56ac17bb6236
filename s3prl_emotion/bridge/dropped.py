"""Upstreams that nobody registered: dropped into a folder, named by path, or on the Hugging Face Hub.

A name is looked for among S3PRL's and ours, then among what lies in the folders of ``S3PRL_EMOTION_UPSTREAMS``, then as
a path, then as a Hub id. What is found is put on ``s3prl.hub`` under a name to show, as the adapter that reads it.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from s3prl_emotion.bridge import code, names, registration
from s3prl_emotion.bridge.trust import reading_upstream
from s3prl_emotion.errors import UpstreamError

logger = logging.getLogger(__name__)

FOLDERS = "S3PRL_EMOTION_UPSTREAMS"
DEFAULT_FOLDER = "upstreams"

_FROM_HUB = ("hf_auto_custom", "cpt_hubert", "tapt_hubert")


class Upstream(NamedTuple):
    """What S3PRL is given: a name on its hub, ``-k`` and ``-g``."""

    name: str
    checkpoint: str | None
    model_config: str | None


def folders() -> list[Path]:
    """The drop-in folders that exist."""
    given = os.environ.get(FOLDERS)
    paths = [Path(part).expanduser() for part in (given or DEFAULT_FOLDER).split(os.pathsep) if part]
    for path in paths:
        if given and not path.is_dir():
            logger.warning("%s names %s, which is no folder", FOLDERS, path)
    return [path for path in paths if path.is_dir()]


def dropped() -> dict[str, list[Path]]:
    """Names to the checkpoints of that name: a folder's name, or a file's without its ending.

    Python files are among them where nothing else has their name, helpers of theirs (``_*.py``) aside.
    """
    from s3prl_emotion.upstream_patches import FILE_SUFFIXES

    found: dict[str, list[Path]] = {}
    written: dict[str, list[Path]] = {}
    for folder in folders():
        for path in sorted(folder.iterdir()):
            if not path.name.startswith(".") and (path.is_dir() or path.suffix in FILE_SUFFIXES):
                found.setdefault(_name(path), []).append(path)
            elif path.suffix == code.SUFFIX and not path.name.startswith(("_", ".")):
                written.setdefault(_name(path), []).append(path)
    return {**written, **found}


def resolve(name: str | None, checkpoint: str | None, model_config: str | None, refresh: bool = False) -> Upstream:
    """Find out what ``-u`` means.

    Args:
        name: ``-u``: a name, a path, or a Hub id
        checkpoint: ``-k``; beside a folder or Hub id: weights for its architecture
        model_config: ``-g``
        refresh: download a Hub id again

    Returns:
        a name on ``s3prl.hub`` with its ``-k`` and ``-g``; an unknown name comes back as it is

    Raises:
        UpstreamError: if two dropped checkpoints have the name, or what is found cannot be read
    """
    from s3prl_emotion.upstream_patches._files import settings_file
    from s3prl_emotion.upstream_patches._hub import is_hub_id, snapshot

    if name is not None:
        names.check_name(name)
    known = registration.upstream_names()
    found = dropped().get(name or "", [])
    if name is None or name in known:
        if found:
            logger.warning("-u %s: %s is not used, the name is taken: give its path, or rename it", name, found[0])
        if known.get(name or "") is False:
            names.check_reads(name or "", checkpoint, model_config)
            _check_for_s3prl(checkpoint, model_config, refresh)
        if name in _FROM_HUB:
            checkpoint, model_config = (
                str(snapshot(path, refresh)) if path is not None and is_hub_id(path) else path
                for path in (checkpoint, model_config)
            )
        if name == "torchaudio_custom" and checkpoint is not None and model_config is None:
            beside = settings_file(Path(checkpoint))
            model_config = None if beside is None else str(beside.absolute())
        return Upstream(name or "", checkpoint, model_config)
    if len(found) > 1:
        raise UpstreamError(
            f"-u {name}: two have that name: {' and '.join(map(str, found))}. Give a path, or rename one"
        )
    if found:
        return _at(found[0], name, checkpoint, model_config)
    path = Path(name).expanduser()
    if path.exists():
        return _at(path, _free(path, known), checkpoint, model_config)
    if is_hub_id(name):
        return _at(snapshot(name, refresh), name.replace("/", "__"), checkpoint, model_config)
    if name.startswith((".", "~", os.sep)) or len(path.parts) > 1:
        raise UpstreamError(f"-u {name}: no such file or folder")
    return Upstream(name, checkpoint, model_config)


def restore(name: str, checkpoint: str | None, model_config: str | None) -> Upstream:
    """Make the upstream of an earlier run usable again, from where it lay then.

    Args:
        name: the name that it had on ``s3prl.hub``
        checkpoint: ``-k`` of then, a path
        model_config: ``-g`` of then

    Raises:
        UpstreamError: if it is gone
    """
    from s3prl_emotion.upstream_patches._hub import snapshot, snapshot_source

    paths = []
    for path in (checkpoint, model_config):
        source = None if path is None or Path(path).exists() else snapshot_source(path)
        paths.append(str(snapshot(source[0], revision=source[1])) if source else path)
    checkpoint, model_config = paths
    known = registration.upstream_names()
    if name in known:
        if not known[name]:
            names.check_reads(name, checkpoint, model_config)
            _check_for_s3prl(checkpoint, model_config)
        return Upstream(name, checkpoint, model_config)
    gone = [path for path in (checkpoint, model_config) if path is not None and not Path(path).exists()]
    if checkpoint is None:
        raise UpstreamError(
            f"{name}: this head was trained on an upstream whose adapter is not installed here: neither S3PRL nor "
            f"upstream_patches/ has one of that name. Install the adapter (the file that defines {name}) first"
        )
    if gone:
        raise UpstreamError(
            f"{name}: the upstream of this run is gone: {gone[0]}. Put it back there, or say with -k PATH where it "
            "is now"
        )
    try:
        adapter = _adapter(Path(checkpoint), model_config)
    except UpstreamError as error:
        raise UpstreamError(
            f"{error}. If {name} is an adapter of its own (a function in upstream_patches/), it is not installed here"
        ) from error
    registration.name_upstream(name, adapter, checkpoint, model_config)
    return Upstream(name, checkpoint, model_config)


def _at(path: Path, name: str, checkpoint: str | None, model_config: str | None) -> Upstream:
    """Put the checkpoint at ``path`` on the hub as ``name``."""
    from s3prl_emotion.upstream_patches._files import settings_file

    path = path.absolute()
    if path.suffix == code.SUFFIX and path.is_file():
        return _at_code(path, name, checkpoint, model_config)
    if path.is_dir():
        if model_config is not None:
            raise UpstreamError(f"-u {name} ignores -g: {path} has its own config.json")
        if checkpoint is not None:
            if not Path(checkpoint).is_file():
                raise UpstreamError(f"-k {checkpoint}: no such file; beside a folder or Hub id it holds other weights")
            checkpoint, model_config = str(Path(checkpoint).absolute()), str(path)
        else:
            checkpoint = str(path)
    else:
        if checkpoint is not None:
            raise UpstreamError(f"-u {name} ignores -k: {path} is a file with weights of its own")
        checkpoint = str(path)
    adapter = _adapter(Path(checkpoint), model_config)
    if adapter == "torchaudio_custom" and model_config is None:
        beside = settings_file(path)
        model_config = None if beside is None else str(beside)
    elif adapter == "s3prl_converted" and model_config is not None:
        raise UpstreamError(f"-u {name} ignores -g: {path} has its own configuration")
    registration.name_upstream(name, adapter, checkpoint, model_config)
    logger.info("-u %s: %s, read by %s", name, path, adapter)
    return Upstream(name, checkpoint, model_config)


def _at_code(path: Path, name: str, checkpoint: str | None, model_config: str | None) -> Upstream:
    """Put a Python file on the hub; in records it is the checkpoint, or stands beside ``-k``, so that it is hashed."""
    if model_config is not None:
        raise UpstreamError(f"-u {name} ignores -g: {path} is code, which has its own settings")
    function = code.function_in(path)
    if checkpoint is None:
        if code.needs_checkpoint(function):
            raise UpstreamError(f"-u {name} needs a checkpoint: give its path with -k")
        checkpoint = str(path)
    else:
        if not Path(checkpoint).exists():
            raise UpstreamError(f"-k {checkpoint}: no such file or folder")
        checkpoint, model_config = str(Path(checkpoint).absolute()), str(path)
    registration.name_upstream(name, function, checkpoint, model_config)
    logger.info("-u %s: %s is executed", name, path)
    return Upstream(name, checkpoint, model_config)


def _check_for_s3prl(checkpoint: str | None, model_config: str | None, refresh: bool = False) -> None:
    """Before S3PRL's own entries read a file, also one of the web: they evaluate what its configuration says."""
    from s3prl_emotion.bridge.explanation import explained
    from s3prl_emotion.upstream_patches._expressions import check_s3prl_file, check_s3prl_settings
    from s3prl_emotion.upstream_patches._formats import check_rate

    if checkpoint is not None and checkpoint.startswith("http"):
        with explained(f"{checkpoint}: download"):
            download = importlib.import_module("s3prl.util.download")
            checkpoint = str(download._urls_to_filepaths(checkpoint, refresh=refresh))
    with reading_upstream():
        if checkpoint is not None and Path(checkpoint).is_file():
            check_rate(check_s3prl_file(Path(checkpoint)), checkpoint)
        if model_config is not None and Path(model_config).is_file():
            check_s3prl_settings(Path(model_config))


def _adapter(checkpoint: Path, model_config: str | None) -> str | Callable[..., Any]:
    from s3prl_emotion.upstream_patches._formats import adapter_of

    for path in (checkpoint, *(() if model_config is None else (Path(model_config),))):
        if path.suffix == code.SUFFIX and path.is_file():
            return code.function_in(path)
    if model_config is not None and Path(model_config).is_dir():
        return adapter_of(Path(model_config))
    with reading_upstream():
        return adapter_of(checkpoint)


def _name(path: Path) -> str:
    return path.name if path.is_dir() else path.stem


def _free(path: Path, known: dict[str, bool]) -> str:
    """A name for results: the last part of the path, with its parent where that is a name of S3PRL's or ours."""
    path = path.resolve()
    name = _name(path)
    return f"{path.parent.name}__{name}" if name in known else name
