"""Make our parts visible to S3PRL: downstreams under ``s3prl.downstream``, upstreams on ``s3prl.hub``."""

from __future__ import annotations

import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import pkgutil
import re
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from s3prl_emotion import plugins
from s3prl_emotion.bridge import shims
from s3prl_emotion.errors import NameClashError, PluginError, UpstreamError
from s3prl_emotion.upstreams import names

STOCK_DOWNSTREAMS = frozenset({"emotion"})
"""Configurations that belong to an expert of S3PRL's own: they are launched by us, and registered by nobody."""

_named: set[str] = set()


def register() -> None:
    """See :func:`s3prl_emotion.register`."""
    shims.apply()
    if not any(isinstance(finder, _DownstreamFinder) for finder in sys.meta_path):
        sys.meta_path.append(_DownstreamFinder())
    hub = importlib.import_module("s3prl.hub")
    for name, function in upstreams().items():
        existing = vars(hub).get(name)
        if existing is not None and existing is not function:
            raise NameClashError(f"upstream {name!r} of {inspect.getfile(function)} exists in {hub.__file__} already")
        setattr(hub, name, function)
    vars(hub)["__getattr__"] = _found_later


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


def upstreams() -> dict[str, Callable[..., Any]]:
    """Our upstreams: every public function of every file in ``upstream_patches/``, and of every such plugin.

    Raises:
        PluginError: if a plugin cannot be imported, or two functions have one name
    """
    package = importlib.import_module("s3prl_emotion.upstream_patches")
    shipped = [info.name for info in pkgutil.iter_modules(package.__path__) if not info.name.startswith("_")]
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in shipped]
    found: dict[str, Callable[..., Any]] = {}
    for module in (*modules, *(plugin.load() for plugin in plugins.files("upstream_patches"))):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("_") or function.__module__ != module.__name__:
                continue
            if name in found:
                both = f"{inspect.getfile(found[name])} and {inspect.getfile(function)}"
                raise NameClashError(f"upstream {name!r} is defined twice: {both}")
            found[name] = function
    return found


def _folder_in_s3prl(name: str) -> Path | None:
    """A downstream of S3PRL's own, which would be trained instead of ours."""
    spec = importlib.util.find_spec("s3prl")
    folders = [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
    return next((path for path in (folder / "downstream" / name for folder in folders) if path.is_dir()), None)


def upstream_names() -> dict[str, bool]:
    """Every ``-u`` name of S3PRL's and ours, sorted, and whether it is one of ours."""
    register()
    ours = upstreams()
    hub = importlib.import_module("s3prl.hub")
    theirs = {name for name in hub.options() if not inspect.isclass(getattr(hub, name))}  # it imports classes, too
    return {name: name in ours for name in sorted({*theirs, *ours} - _named)}


def is_taken(name: str) -> bool:
    """Whether ``s3prl.hub`` has the name by itself: an upstream, or one of its functions, classes and modules."""
    hub = importlib.import_module("s3prl.hub")
    return (name in vars(hub) or hasattr(types.ModuleType, name)) and name not in _named


def is_upstream(name: str) -> bool:
    """Whether a name that is looked up on ``s3prl.hub`` would be an upstream; unknown ones may become one."""
    return not is_taken(name) or name in upstream_names()


def name_upstream(name: str, adapter: str | Callable[..., Any], checkpoint: str, model_config: str | None) -> None:
    """Put one of our adapters on ``s3prl.hub`` under a further name: what S3PRL's Runner looks up, and results show.

    Args:
        name: of what was found
        adapter: ours, which reads it, by name; or a function
        checkpoint: what was found; used where the entry is called without ``ckpt``
        model_config: used where the entry is called without ``model_config``

    Raises:
        ValueError: if the hub has the name, as an upstream of S3PRL's or ours, or as anything else
    """
    register()
    if is_taken(name):
        raise ValueError(f"{name!r} exists in s3prl.hub already")
    function = upstreams()[adapter] if isinstance(adapter, str) else adapter

    @functools.wraps(function)
    def build(ckpt: str | None = None, **given: Any) -> Any:
        if ckpt is None:
            given = {**given, "model_config": given.get("model_config") or model_config}
        return function(checkpoint if ckpt is None else ckpt, **given)

    setattr(importlib.import_module("s3prl.hub"), name, build)
    _named.add(name)


def _found_later(name: str) -> Any:
    """``s3prl.hub.<name>`` of what lies in a drop-in folder, or is a path or Hub id: ``S3PRLUpstream(name)`` finds it.

    Raises:
        AttributeError: saying that there is none, with names that resemble it
        UpstreamError: if it is there and cannot be used, saying why
    """
    if name.startswith("_"):
        raise AttributeError(f"module 's3prl.hub' has no attribute {name!r}")
    from s3prl_emotion.bridge.building import enter
    from s3prl_emotion.upstreams.dropped import dropped
    from s3prl_emotion.upstreams.resolution import resolve

    try:
        names.check_name(name)
    except UpstreamError as error:
        raise AttributeError(str(error)) from error
    found = enter(resolve(name, None, None)).name
    if found not in _named:
        raise AttributeError(str(names.unknown(name, {*upstream_names(), *dropped()})))
    return getattr(importlib.import_module("s3prl.hub"), found)


def named_upstreams() -> frozenset[str]:
    """The names that :func:`name_upstream` has added."""
    return frozenset(_named)


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
