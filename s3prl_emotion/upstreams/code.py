"""A Python file dropped in as an upstream: it is found, and executed only where the user says so."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from s3prl_emotion.errors import EmotionError, UpstreamError, message_of
from s3prl_emotion.upstreams.reference import CODE_SUFFIX
from s3prl_emotion.upstreams.trust import is_trusting

REFUSAL = "Python code, which is executed with your rights: read it first, then allow it with --trust-checkpoint"


def function_in(path: Path) -> Callable[..., Any]:
    """The function that is called as the file is, with the interface of ours in ``upstream_patches/``.

    Returns:
        the same, called without ``ckpt`` and ``model_config`` where these are the file itself

    Raises:
        UpstreamError: without ``--trust-checkpoint``; if the file cannot be executed, or defines no such function
    """
    if not is_trusting():
        raise UpstreamError(f"{path}: {REFUSAL}")
    function = vars(_executed(path)).get(path.stem)
    if not inspect.isfunction(function):
        raise UpstreamError(f"{path}: expected a function {path.stem}(ckpt=None, **kwargs) that returns the upstream")
    itself = str(path)

    @functools.wraps(function)
    def build(ckpt: str | None = None, model_config: str | None = None, **given: Any) -> Any:
        model_config = None if model_config == itself else model_config
        if ckpt in (None, itself):
            return function(model_config=model_config, **given)
        return function(ckpt, model_config=model_config, **given)

    return build


def is_code(path: Path) -> bool:
    """Whether it is a Python file."""
    return path.suffix == CODE_SUFFIX and path.is_file()


def needs_checkpoint(function: Callable[..., Any]) -> bool:
    """Whether its ``ckpt`` has no default."""
    ckpt = inspect.signature(inspect.unwrap(function)).parameters.get("ckpt")
    return ckpt is not None and ckpt.default is inspect.Parameter.empty


def _executed(path: Path) -> types.ModuleType:
    """Executed once as it is now; a changed file is another module."""
    digest = hashlib.sha256(os.fsencode(path) + path.read_bytes()).hexdigest()[:16]
    name = f"_s3prl_emotion_dropped_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UpstreamError(f"{path}: Python cannot import it")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        return module
    except EmotionError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001  (it is not our code)
        reason = message_of(error)
    except SystemExit as error:
        reason = f"it ends the program ({error.code})"
    del sys.modules[name]
    raise UpstreamError(f"{path}: it cannot be executed: {reason}. Repair it")
