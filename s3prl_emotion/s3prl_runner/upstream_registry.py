"""The entries of ``s3prl.hub``: S3PRL's own, our adapters, and what was found and given a name there."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import types
from collections.abc import Callable
from typing import Any

from s3prl_emotion import plugins
from s3prl_emotion.errors import NameClashError
from s3prl_emotion.s3prl_runner import shims

_named: set[str] = set()


def hub() -> Any:
    """``s3prl.hub`` with our upstreams on it.

    Raises:
        PluginError: as :func:`upstreams`, and if the hub has the name of one of ours
    """
    shims.apply()
    found = importlib.import_module("s3prl.hub")
    for name, function in upstreams().items():
        existing = vars(found).get(name)
        if existing is not None and existing is not function:
            raise NameClashError(f"upstream {name!r} of {inspect.getfile(function)} exists in {found.__file__} already")
        setattr(found, name, function)
    _guard(found)
    return found


def _guard(found: Any) -> None:
    """Put what S3PRL's own entries are given under :mod:`s3prl_emotion.s3prl_runner.guard`, once."""
    from s3prl_emotion.s3prl_runner import guard  # which needs the names here

    for name, function in list(vars(found).items()):
        if name not in _named and not hasattr(function, "__wrapped__") and guard.is_guarded(name, function):
            setattr(found, name, guard.guarded(name, function))


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


def upstream_names() -> dict[str, bool]:
    """Every ``-u`` name of S3PRL's and ours, sorted, and whether it is one of ours."""
    found, ours = hub(), upstreams()
    theirs = {name for name in found.options() if _is_entry(getattr(found, name))}
    return {name: name in ours for name in sorted({*theirs, *ours} - _named)}


def _is_entry(value: Any) -> bool:
    """Whether a callable on the hub is an upstream: S3PRL's modules there import classes and converters, too."""
    module = str(getattr(value, "__module__", ""))
    return not inspect.isclass(value) and not (module.startswith("s3prl.") and not module.endswith(".hubconf"))


def is_taken(name: str) -> bool:
    """Whether ``s3prl.hub`` has the name by itself: an upstream, or one of its functions, classes and modules."""
    return (
        name in vars(importlib.import_module("s3prl.hub")) or hasattr(types.ModuleType, name)
    ) and name not in _named


def is_upstream(name: str) -> bool:
    """Whether a name that is looked up on ``s3prl.hub`` would be an upstream; unknown ones may become one."""
    return not is_taken(name) or name in upstream_names()


def register_upstream(name: str, adapter: str | Callable[..., Any], checkpoint: str, model_config: str | None) -> None:
    """Put one of our adapters on ``s3prl.hub`` under a further name: what S3PRL's Runner looks up, and results show.

    Args:
        name: of what was found
        adapter: ours, which reads it, by name; or a function
        checkpoint: what was found; used where the entry is called without ``ckpt``
        model_config: used where the entry is called without ``model_config``

    Raises:
        ValueError: if the hub has the name, as an upstream of S3PRL's or ours, or as anything else
    """
    found = hub()
    if is_taken(name):
        raise ValueError(f"{name!r} exists in s3prl.hub already")
    function = upstreams()[adapter] if isinstance(adapter, str) else adapter

    @functools.wraps(function)
    def build(ckpt: str | None = None, **given: Any) -> Any:
        if ckpt is None:
            given = {**given, "model_config": given.get("model_config") or model_config}
        return function(checkpoint if ckpt is None else ckpt, **given)

    setattr(found, name, build)
    _named.add(name)


def registered_upstreams() -> frozenset[str]:
    """The names that :func:`register_upstream` has added."""
    return frozenset(_named)
