"""Which files of a folder in transformers format hold the weights, and what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from s3prl_emotion.config import shown
from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.files import check_number_of_tensors, parse_json
from s3prl_emotion.upstreams.files import first_keys, load

_LONGEST_NAME = 255  # of a file


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights, as transformers chooses them: safetensors before torch's format.

    One file, or the parts that its index lists; what else lies there is no part of the model.

    Raises:
        UpstreamError: if there are none, the index cannot be read, or a part is missing
    """
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            return _parts(index)
    raise UpstreamError(
        f"{folder}: no weights: neither model.safetensors nor pytorch_model.bin is there, nor the index of their parts "
        "(model.safetensors.index.json)"
    )


def _parts(index: Path) -> list[Path]:
    try:
        weight_map = parse_json(index.read_text(encoding="utf-8"))["weight_map"]
        check_number_of_tensors(len(weight_map))
        names = sorted(set(weight_map.values()))
        strange = [name for name in names if name != Path(name).name or len(name) > _LONGEST_NAME or "\0" in name]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UpstreamError(f"{index}: expected weight_map with the parts of the weights: {error}") from error
    if strange or not names:
        raise UpstreamError(
            f"{index}: weight_map must name files beside it, found {shown(strange[:3]) if strange else 'none'}"
        )
    absent = [name for name in names if not (index.parent / name).is_file()]
    if absent:
        raise UpstreamError(
            f"{index.parent}: {len(absent)} of {len(names)} parts of the weights that {index.name} lists are missing: "
            f"{', '.join(absent[:5])}. Copy or download them"
        )
    return [index.parent / name for name in names]


def read_weights(files: Sequence[Path], where: str, peek: bool = False) -> dict[str, Tensor]:
    """Names and tensors of several files; see :func:`load` for ``peek``.

    Raises:
        UpstreamError: if a file is broken, or holds anything else
    """
    state = {name: value for file in files for name, value in load(file, peek).items()}
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()):
        raise UpstreamError(f"{where}: expected names and tensors only, found keys {first_keys(state)}")
    return state
