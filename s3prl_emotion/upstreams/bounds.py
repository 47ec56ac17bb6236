"""Bounds on what a checkpoint may ask for, checked before memory is taken: a small file cannot fill it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.files import check_number_of_tensors

_RATIO = 16  # torch.save does not compress; floating-point numbers that somebody compressed shrink by less
_SMALL = 64_000_000  # bytes, which any machine has
_COUNTS = ("layers", "depth", "order")
_SIZES = (
    "dim",
    "hidden",
    "heads",
    "groups",
    "kernel",
    "conv_pos",
    "vars",
    "width",
    "stride",
    "bins",
    "ceps",
    "n_fft",
    "win_length",
)
_MANY = 200  # more layers than any model here has
_WIDE = 100_000


def check_archive(path: Path) -> None:
    """Refuse a zip archive that unpacks to far more than it is.

    Raises:
        UpstreamError: naming both sizes; what is no zip archive passes
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            unpacked = sum(item.file_size for item in entries)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError):
        return  # torch says what is wrong with it
    _check_number(len(entries), str(path))
    size = path.stat().st_size
    if unpacked > _RATIO * size + _SMALL:
        raise UpstreamError(
            f"{path}: refused, its {size} bytes would unpack to {unpacked}, which no checkpoint does. Save it again "
            "with torch.save or as safetensors"
        )


def check_tensors(content: Any, where: str) -> None:
    """Refuse tensors that are larger than what is stored of them, and those that are not plain arrays.

    Raises:
        UpstreamError: naming the tensor
    """
    for count, (name, tensor) in enumerate(_tensors(content), start=1):
        _check_number(count, where)
        if tensor.layout != torch.strided or tensor.is_quantized:
            kind = "quantised" if tensor.is_quantized else "sparse"
            raise UpstreamError(
                f"{where}: {name} is a {kind} tensor, expected plain ones. Save model.float().state_dict()"
            )
        if tensor.device.type == "meta":
            continue
        claimed, stored = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
        if claimed > stored + _SMALL:
            raise UpstreamError(
                f"{where}: refused, {name} claims {tuple(tensor.shape)} values, and {stored} bytes of it are stored"
            )


def _check_number(count: int, where: str) -> None:
    try:
        check_number_of_tensors(count)
    except ValueError as error:
        raise UpstreamError(f"{where}: refused, {error}") from error


def check_settings_sizes(settings: Mapping[Any, Any], weights: Mapping[Any, Any], where: str) -> None:
    """Refuse numbers of layers, widths and the like that a model of these weights cannot have.

    Args:
        settings: by name
        weights: tensors by name
        where: for the message

    Raises:
        UpstreamError: naming the setting
    """
    shapes = [tensor.shape for _, tensor in _tensors(weights)]
    most_layers = max(_MANY, len(shapes))
    widest = max([_WIDE, *(size for shape in shapes for size in shape)])
    for name, value in settings.items():
        if not isinstance(name, str) or type(value) not in (int, float):
            continue
        bound = most_layers if any(part in name for part in _COUNTS) else widest
        if any(part in name for part in (*_COUNTS, *_SIZES)) and not -1 <= value <= bound:
            raise UpstreamError(
                f"{where}: {name} is {value!r}, which no model of these weights ({len(shapes)} tensors) can have: "
                f"expected at most {bound}"
            )


def _tensors(content: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors in nested mappings and sequences, with the names that lead there."""
    waiting: list[tuple[str, Any]] = [("", content)]
    seen: set[int] = set()
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, torch.Tensor):
            yield name or "it", value
        elif id(value) in seen:
            continue
        elif isinstance(value, Mapping):
            waiting += [(f"{name}.{key}" if name else str(key), item) for key, item in value.items()]
        elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            waiting += [(name, item) for item in value]
        else:
            continue
        seen.add(id(value))
