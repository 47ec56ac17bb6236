"""Make our parts visible to S3PRL: downstreams under ``s3prl.downstream``, upstreams on ``s3prl.hub``."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import re
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s3prl_emotion import plugins
from s3prl_emotion.errors import NameClashError, PluginError, UpstreamError
from s3prl_emotion.s3prl_runner import upstream_registry
from s3prl_emotion.upstreams import names

STOCK_DOWNSTREAMS = frozenset({"emotion"})
"""Configurations that belong to an expert of S3PRL's own: they are launched by us, and registered by nobody."""


def register() -> None:
    """See :func:`s3prl_emotion.register`."""
    if not any(isinstance(finder, _DownstreamFinder) for finder in sys.meta_path):
        sys.meta_path.append(_DownstreamFinder())
    vars(upstream_registry.hub())["__getattr__"] = _found_later


def downstream_configs() -> dict[str, Path]:
    """The configuration file of every ``-d`` name: those that ship, then those of plugins.

    Raises:
        PluginError: if a plugin's name is taken, or cannot be one
    """
    package = importlib.import_module("s3prl_emotion.downstream_configs")
    folder = Path(str(package.__path__[0]))
    found = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    for plugin in plugins.files("downstream_configs", ".yaml"):
        name = plugin.path.stem
        taken = found.get(name) or _folder_in_s3prl(name)
        if taken is not None:
            raise NameClashError(f"downstream {name!r} is there twice: {taken} and {plugin.path}. Rename the file")
        if not re.fullmatch(r"\w[\w-]*", name):
            raise PluginError(f"{plugin.path}: its name is the -d name: expected letters, digits, _ and - only")
        found[name] = plugin.path
    return found


def _folder_in_s3prl(name: str) -> Path | None:
    """A downstream of S3PRL's own, which would be trained instead of ours."""
    spec = importlib.util.find_spec("s3prl")
    folders = [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
    return next((path for path in (folder / "downstream" / name for folder in folders) if path.is_dir()), None)


def _found_later(name: str) -> Any:
    """``s3prl.hub.<name>`` of what lies in a drop-in folder, or is a path or Hub id: ``S3PRLUpstream(name)`` finds it.

    Raises:
        AttributeError: saying that there is none, with names that resemble it
        UpstreamError: if it is there and cannot be used, saying why
    """
    if name.startswith("_"):
        raise AttributeError(f"module 's3prl.hub' has no attribute {name!r}")
    from s3prl_emotion.s3prl_runner.building import register_on_hub  # loads torch
    from s3prl_emotion.upstreams.reference import dropin_upstreams
    from s3prl_emotion.upstreams.resolution import resolve

    try:
        names.check_name(name)
    except UpstreamError as error:
        raise AttributeError(str(error)) from error
    found = register_on_hub(resolve(name, None, None)).name
    if found not in upstream_registry.registered_upstreams():
        raise AttributeError(str(names.unknown(name, {*upstream_registry.upstream_names(), *dropin_upstreams()})))
    return getattr(upstream_registry.hub(), found)


class _DownstreamFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Serves ``s3prl.downstream.<name>`` and ``.expert`` for our configurations, last of all finders.

    Coming last, it can never hide a downstream that s3prl ships itself.
    """

    _parent = "s3prl.downstream."

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(self._parent):
            return None
        name, _, rest = fullname.removeprefix(self._parent).partition(".")
        if rest not in ("", "expert") or name in STOCK_DOWNSTREAMS or name not in downstream_configs():
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=not rest)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        module.__doc__ = "Provided by s3prl_emotion.register()."
        if module.__name__.endswith(".expert"):
            expert = importlib.import_module("s3prl_emotion.downstream.expert")
            module.DownstreamExpert = expert.DownstreamExpert  # type: ignore[attr-defined]
