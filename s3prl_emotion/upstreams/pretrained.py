"""Reading a checkpoint in transformers format: settings are checked before they are believed, nothing is executed."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import errors as hub_errors
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import MODEL_MAPPING, AutoConfig
from transformers.utils import logging as transformers_logging

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.upstreams.bounds import check_settings_sizes
from s3prl_emotion.upstreams.formats import check_folder, hint

logger = logging.getLogger(__name__)

BROKEN = (
    *(OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, SafetensorError),
    *(ArithmeticError, AssertionError, ImportError, MemoryError),
    getattr(hub_errors, "StrictDataclassError", ValueError),
)
_LONGEST_TABLE = 100_000
"""Positions in the longest table that a model makes; published ones have 5000 at most."""
_LISTS = ("conv_dim", "conv_stride", "conv_kernel")


def read_settings(folder: Path) -> Any:
    """The configuration of a model of any kind that transformers knows, on which nothing but ``config.json`` has a say.

    Raises:
        UpstreamError: if it is missing, broken, of an unknown kind, or asks for code
    """
    check_folder(folder)
    given = _checked_values(folder / "config.json")
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        config.dtype = torch.float32  # weights are taken as they are in the file, not in what it names
        config.return_dict = True
    except BROKEN as error:
        if "auto_map" in (folder / "config.json").read_text(encoding="utf-8", errors="replace"):
            raise UpstreamError(
                f"{folder}: refused, because the model is code beside its config.json (auto_map), which is not "
                "executed; kinds that transformers itself knows are read"
            ) from error
        other = "" if given.get("model_type") else hint(folder)  # it is of another library
        raise UpstreamError(f"{folder}/config.json: {first_line(error).rstrip('.')}{other}") from error
    if given.get("auto_map"):
        logger.warning(
            "%s: config.json names code beside it (auto_map), which is not executed: read as transformers' own %r",
            *(folder, config.model_type),
        )
    return config


def _checked_values(path: Path) -> dict[str, Any]:
    """What transformers would take as it stands, and fail on later, or never come back from."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(given, dict):
            raise UpstreamError(f"{path}: expected names and values, found {json.dumps(given)[:40]}")
        json.dumps(given, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise UpstreamError(f"{path}: holds half a character (a lone surrogate), which cannot be written") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UpstreamError(f"{path}: {first_line(error)}") from error
    for name in _LISTS:
        value = given.get(name)
        if value is None:
            continue
        if not isinstance(value, list) or not value or any(type(item) is not int or item < 1 for item in value):
            raise UpstreamError(f"{path}: {name} is {json.dumps(value)[:60]}, expected whole numbers of 1 or more")
    for name, value in given.items():
        is_table = name.startswith("max_") and name.endswith(("positions", "embeddings"))
        if is_table and type(value) in (int, float) and not 1 <= value <= _LONGEST_TABLE:
            raise UpstreamError(f"{path}: {name} is {value}, expected 1 to {_LONGEST_TABLE}")
    for name, value in _nested(given):
        if name in ("attn_implementation", "_attn_implementation") and "/" in str(value):
            raise UpstreamError(
                f"{path}: refused, because {name} is {json.dumps(value)[:60]}: code from the Hub, which is not executed"
            )
        if name in ("quantization_config", "compression_config") and value is not None:
            raise UpstreamError(f"{path}: {name} is given; quantised weights are not read. Save them as float32")
    other = given.get("transformers_weights")
    if other not in (None, "model.safetensors"):
        raise UpstreamError(
            f"{path}: transformers_weights is {json.dumps(other)[:60]}, and weights are read from model.safetensors "
            "or pytorch_model.bin alone. Give that file this name, and delete the setting"
        )
    return given


def _nested(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values, those of settings in settings too."""
    for name, value in settings.items():
        yield name, value
        if isinstance(value, dict):
            yield from _nested(value)


def skeleton(folder: Path, config: Any, weights: Mapping[str, Tensor], kind: Any = None) -> nn.Module:
    """The model of a configuration, without memory; weights say how large it can be.

    Args:
        folder: of ``config.json``, for the message
        config: from :func:`read_settings`
        weights: names and tensors, whose values are not looked at
        kind: the class; None takes the bare model of that configuration

    Raises:
        UpstreamError: if none can be built from the settings, or one far larger than the weights
    """
    path = folder / "config.json"
    check_settings_sizes(config.to_dict(), weights, str(path))
    try:
        with torch.device("meta"):
            model: nn.Module = (kind or MODEL_MAPPING[type(config)])(config)
    except BROKEN as error:
        raise UpstreamError(
            f"{path}: no model can be built from it: {type(error).__name__}: {first_line(error)}"
        ) from error
    needed, present = (sum(item.numel() for item in items) for items in (model.parameters(), weights.values()))
    if needed > 4 * present + 10_000_000:  # Whisper's decoder may be left out
        raise UpstreamError(f"{path}: asks for a model of {needed} parameters, and the weights have {present}")
    return model


def filled(kind: Any, config: Any, state: Mapping[str, Tensor], where: str) -> tuple[Any, dict[str, Any]]:
    """A model of a class of transformers with weights that were read, and transformers' report of what did not fit.

    Args:
        kind: the class
        config: its configuration
        state: names and tensors; names of older and of fine-tuned models are mapped
        where: of the weights, for the message

    Raises:
        UpstreamError: if they cannot be loaded at all
    """
    try:
        with quiet():
            model, report = kind.from_pretrained(
                None, config=config, state_dict=dict(state), output_loading_info=True, ignore_mismatched_sizes=True
            )
    except BROKEN as error:
        raise UpstreamError(f"{where}: the weights cannot be loaded: {first_line(error)}") from error
    return model, report


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' own report of what does not fit, and its progress bar."""
    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def first_line(error: BaseException) -> str:
    """Of a message that goes on after a colon, two lines."""
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return " ".join(line.strip() for line in lines[: 2 if lines[0].endswith(":") else 1])
