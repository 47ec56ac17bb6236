"""Resolve ``-u``: a known name, a drop-in folder, a path, or a Hub id.

A name is looked for in this order. What is found is read by one of our adapters, told by its content.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.s3prl_runner.upstream_registry import is_taken, upstream_names
from s3prl_emotion.upstreams import code, names
from s3prl_emotion.upstreams.hub import is_hub_id, snapshot, snapshot_source
from s3prl_emotion.upstreams.reference import UpstreamOrigin, UpstreamRef, dropin_upstreams, name_of
from s3prl_emotion.upstreams.trust import is_trusting, reading_upstream

logger = logging.getLogger(__name__)

_FROM_HUB = ("hf_auto_custom", "cpt_hubert", "tapt_hubert")


def resolve(name: str | None, checkpoint: str | None, model_config: str | None, refresh: bool = False) -> UpstreamRef:
    """Find out what ``-u`` means.

    Args:
        name: ``-u``: a name, a path, or a Hub id
        checkpoint: ``-k``; beside a folder or Hub id: weights for its architecture
        model_config: ``-g``
        refresh: download a Hub id again

    Returns:
        what it is; an unknown name comes back as it is

    Raises:
        UpstreamError: if two dropped checkpoints have the name, or what is found cannot be read
    """
    if name is not None:
        names.check_name(name)
    known = upstream_names()
    lying = dropin_upstreams().get(name or "", [])
    if name is None or name in known:
        if lying:
            logger.warning("-u %s: %s is not used, the name is taken: give its path, or rename it", name, lying[0])
        return _known(name or "", checkpoint, model_config, refresh)
    if lying and is_taken(name):
        raise UpstreamError(
            f"-u {name}: {lying[0]} cannot have that name, which means something else on s3prl.hub: give its path, or "
            "rename it"
        )
    if len(lying) > 1:
        raise UpstreamError(
            f"-u {name}: two have that name: {' and '.join(map(str, lying))}. Give a path, or rename one"
        )
    if lying:
        return _at(lying[0], name, name, checkpoint, model_config)
    path = Path(name).expanduser()
    if path.exists():
        return _at(path, _free(path, known), name, checkpoint, model_config)
    if is_hub_id(name):
        return _at(snapshot(name, refresh), name.replace("/", "__"), name, checkpoint, model_config)
    if name.startswith((".", "~", os.sep)) or len(path.parts) > 1:
        raise UpstreamError(f"-u {name}: no such file or folder")
    return UpstreamRef(name, _source(checkpoint), _source(model_config), typed=name, trusted=is_trusting())


def adapter_for(checkpoint: str, model_config: str | None) -> str:
    """Which of our adapters reads a checkpoint, or the Python file that does.

    Raises:
        UpstreamError: if none does, or it must be trusted first
    """
    from s3prl_emotion.upstreams.formats import adapter_of

    for place in (checkpoint, model_config):
        if place is not None and code.is_code(Path(place)):
            code.function_in(Path(place))
            return place
    if model_config is not None and Path(model_config).is_dir():
        return adapter_of(Path(model_config))
    with reading_upstream():
        return adapter_of(Path(checkpoint))


def _known(name: str, checkpoint: str | None, model_config: str | None, refresh: bool) -> UpstreamRef:
    """A name of S3PRL's or ours, with what our adapters read fetched from the Hub."""
    weights, settings = _source(checkpoint), _source(model_config)
    if name in _FROM_HUB:
        weights, settings = _fetched(weights, refresh), _fetched(settings, refresh)
    if name == "torchaudio_custom" and checkpoint is not None and settings is None:
        settings = _beside(Path(checkpoint).absolute())
    return UpstreamRef(name, weights, settings, typed=name, trusted=is_trusting())


def _at(path: Path, name: str, typed: str, checkpoint: str | None, model_config: str | None) -> UpstreamRef:
    """The checkpoint at ``path`` as ``name``."""
    path = path.absolute()
    own = _found(typed, path)
    if code.is_code(path):
        return _at_code(path, own, name, typed, checkpoint, model_config)
    if path.is_dir():
        if model_config is not None:
            raise UpstreamError(f"-u {name} ignores -g: {path} has its own config.json")
        if checkpoint is None:
            weights, settings = own, None
        elif not Path(checkpoint).is_file():
            raise UpstreamError(f"-k {checkpoint}: no such file; beside a folder or Hub id it holds other weights")
        else:
            weights, settings = UpstreamOrigin(checkpoint, str(Path(checkpoint).absolute())), own
    else:
        if checkpoint is not None:
            raise UpstreamError(f"-u {name} ignores -k: {path} is a file with weights of its own")
        weights, settings = own, _source(model_config)
    adapter = adapter_for(weights.place, None if settings is None else settings.place)
    if adapter == "torchaudio_custom" and settings is None:
        settings = _beside(path)
    elif adapter == "s3prl_converted" and settings is not None:
        raise UpstreamError(f"-u {name} ignores -g: {path} has its own configuration")
    logger.info("-u %s: %s, read by %s", name, path, adapter)
    return UpstreamRef(name, weights, settings, typed, adapter, is_trusting())


def _at_code(
    path: Path, own: UpstreamOrigin, name: str, typed: str, checkpoint: str | None, model_config: str | None
) -> UpstreamRef:
    """A Python file; in records it is the checkpoint, or stands beside ``-k``, so that it is hashed."""
    if model_config is not None:
        raise UpstreamError(f"-u {name} ignores -g: {path} is code, which has its own settings")
    function = code.function_in(path)
    if checkpoint is None:
        if code.needs_checkpoint(function):
            raise UpstreamError(f"-u {name} needs a checkpoint: give its path with -k")
        weights, settings = own, None
    elif not Path(checkpoint).exists():
        raise UpstreamError(f"-k {checkpoint}: no such file or folder")
    else:
        weights, settings = UpstreamOrigin(checkpoint, str(Path(checkpoint).absolute())), own
    logger.info("-u %s: %s is executed", name, path)
    return UpstreamRef(name, weights, settings, typed, str(path), is_trusting())


def _source(given: str | None) -> UpstreamOrigin | None:
    return None if given is None else UpstreamOrigin(given)


def _found(given: str, path: Path) -> UpstreamOrigin:
    hub = snapshot_source(str(path))
    return UpstreamOrigin(given, str(path), revision=None if hub is None else hub[1])


def _fetched(source: UpstreamOrigin | None, refresh: bool) -> UpstreamOrigin | None:
    if source is None or not is_hub_id(source.given):
        return source
    return _found(source.given, snapshot(source.given, refresh))


def _beside(path: Path) -> UpstreamOrigin | None:
    """The settings file that lies beside a checkpoint."""
    from s3prl_emotion.upstreams.files import settings_file

    found = settings_file(path)
    return None if found is None else UpstreamOrigin(str(found))


def _free(path: Path, known: Mapping[str, bool]) -> str:
    """A name for results: the last part of the path, with its parent where that is a name of the hub's."""
    path = path.resolve()
    name = name_of(path)
    return f"{path.parent.name}__{name}" if name in known or is_taken(name) else name
