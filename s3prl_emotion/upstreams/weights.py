"""Weight files of a folder in transformers format, and which of their tensors are the model's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from s3prl_emotion.config import shown
from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.files import check_number_of_tensors, parse_json
from s3prl_emotion.upstreams.files import first_keys, load, say_left_out, unwrapped

_RENAMED = {
    ".weight_g": ".parametrizations.weight.original0",
    ".weight_v": ".parametrizations.weight.original1",
    ".gamma": ".weight",
    ".beta": ".bias",
}
"""Endings of names in older files, and those that transformers reads them as."""
_WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch.compile, FSDP and activation checkpointing put into names, also in their midst."""
_ADAPTED = (".lora_A.", ".lora_B.", ".lora_embedding_A", ".base_layer.", ".modules_to_save.", ".ia3_l.")
"""Parts of names that peft gives to the weights of an adapter, and to those that it changes."""
MERGE = "merge_and_unload()"

_WEIGHTS = (".bin", ".ckpt", ".pt", ".pth", ".safetensors")
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
    others = sorted(path for path in folder.glob("*") if path.suffix in _WEIGHTS)
    beside = f". To use {others[0].name}, which lies there, add -k {others[0]}" if others else ""
    raise UpstreamError(
        f"{folder}: no weights: neither model.safetensors nor pytorch_model.bin is there, nor the index of their parts "
        f"(model.safetensors.index.json){beside}"
    )


def _parts(index: Path) -> list[Path]:
    try:
        weight_map = parse_json(index.read_text(encoding="utf-8"))["weight_map"]
        check_number_of_tensors(len(weight_map))
        names = sorted(set(weight_map.values()))
        strange = [name for name in names if name != Path(name).name or len(name) > _LONGEST_NAME or "\0" in name]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
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

    A training's checkpoint gives what :func:`~s3prl_emotion.upstreams.files.unwrapped` finds in it.

    Raises:
        UpstreamError: if a file is broken, holds anything else, or two hold a tensor of one name
    """
    state: dict[str, Tensor] = {}
    for file in files:
        content = unwrapped(load(file, peek), str(file))
        twice = [str(name) for name in content if name in state]
        if twice:
            raise UpstreamError(
                f"{file}: {first_keys(dict.fromkeys(twice))} is in another part too. Save the model again"
            )
        state.update(content)
    if not state or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()):
        raise UpstreamError(f"{where}: expected names and tensors only, found keys {first_keys(state)}")
    adapted = [name for name in state if any(part in name for part in _ADAPTED)]
    if adapted:
        raise UpstreamError(
            f"{where}: refused, because {adapted[0]} is of an adapter (peft), which is not loaded. Merge it into its "
            f"base where peft is installed, and save that: model.{MERGE}.save_pretrained(FOLDER)"
        )
    return state


def own_part(
    weights: Mapping[str, Tensor], model: nn.Module, where: str, optional: Iterable[str] = ()
) -> dict[str, Tensor]:
    """The weights of a model among all that a file holds, under the model's own names.

    The model may be a part of a larger one, so that a prefix is before its names: one under which every weight is
    there. What is outside is no part of it; the log names that. Where no prefix is, the first parts of names tell. If
    no prefix holds the whole model, nothing is left out, so that what is missing and surplus shows.

    Args:
        weights: names and tensors of the file; nothing is looked at but shapes, if they are on the ``meta`` device
        model: the bare model, which may be on the ``meta`` device
        where: for the message
        optional: beginnings of names that the file may lack

    Raises:
        UpstreamError: if the file holds several such models with other weights, or one of another kind
    """
    own = {name: value.shape for name, value in model.state_dict().items()}
    modern = _modern(weights, own)
    places = _places(modern, own)
    needed = {name for name, _ in model.named_parameters() if not name.startswith((*optional, "\0"))}
    needed |= {name for name in own if name.endswith((".running_mean", ".running_var"))}
    whole = [prefix for prefix, found in places.items() if needed <= set(found)]
    if not whole:
        prefix = max(places, key=lambda item: (len(places[item]), -len(item)), default="")
        if 2 * len(places.get(prefix, {})) < len(needed):
            return dict(weights)
        return {modern[name].removeprefix(prefix): value for name, value in weights.items()}

    def held(prefix: str, name: str) -> Tensor:
        return weights[places[prefix][name]]

    whole = [item for item in whole if all(held(item, name).shape == own[name] for name in needed)] or whole
    prefix = whole[0]
    if not all(_is_same(held(prefix, name), held(other, name)) for other in whole[1:] for name in needed):
        raise UpstreamError(
            f"{where}: holds {len(whole)} such models with different weights, under "
            f"{' and '.join(map(repr, whole[:5]))}. Save the one that you mean: "
            "torch.save(model.PART.state_dict(), PATH)"
        )
    _check_kind(prefix, model, where)
    last = prefix.rstrip(".").rpartition(".")[2]
    is_all = bool(prefix) and last in (str(model.base_model_prefix), "encoder")  # a class of transformers' is below
    firsts = {name.partition(".")[0] for name in own}
    kept = {
        name: full.removeprefix(prefix)
        for name, full in modern.items()
        if full.startswith(prefix) and (is_all or full.removeprefix(prefix).partition(".")[0] in firsts)
    }
    if len(set(kept.values())) < len(kept):
        full = next(full for full in kept.values() if list(kept.values()).count(full) > 1)
        raise UpstreamError(f"{where}: {full} is there twice, under an older name too. Save model.state_dict() again")
    say_left_out(where, [name for name in weights if name not in kept])
    return {own_name: weights[name] for name, own_name in kept.items()}


def _modern(names: Iterable[str], own: Iterable[str]) -> dict[str, str]:
    """Names as torch and transformers write them today, without what wraps modules."""
    renamed = {old: new for old, new in _RENAMED.items() if not any(name.endswith(old) for name in own)}
    found = {}
    for name in names:
        full = f".{name}"
        for wrapper in _WRAPPERS:
            full = full.replace(f".{wrapper}", ".")
        for old, new in renamed.items():
            full = f"{full.removesuffix(old)}{new}" if full.endswith(old) else full
        found[name] = full.removeprefix(".")
    return found


def _places(modern: Mapping[str, str], own: Mapping[str, object]) -> dict[str, dict[str, str]]:
    """By what is before a model's names in a file: its names, and the file's."""
    depth = max((name.count(".") for name in own), default=0) + 1
    places: dict[str, dict[str, str]] = {}
    for name, full in modern.items():
        parts = full.rsplit(".", depth)
        for start in range(len(parts)):
            tail = ".".join(parts[start:])
            if tail in own:
                places.setdefault(full.removesuffix(tail), {})[tail] = name
    return places


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal; without memory, whether their shapes are."""
    return one.shape == other.shape if one.device.type == "meta" else torch.equal(one, other)


def _check_kind(prefix: str, model: nn.Module, where: str) -> None:
    """Refuse what transformers' name for another kind of model is before: wav2vec 2.0 has the names of a HuBERT."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    last = prefix.rstrip(".").rpartition(".")[2]
    kind = str(model.config.model_type)  # type: ignore[union-attr]
    own = {str(model.base_model_prefix), kind, kind.replace("-", "_"), "encoder"}
    if last not in own and last in {name.replace("-", "_") for name in CONFIG_MAPPING_NAMES}:
        raise UpstreamError(
            f"{where}: its names begin with {prefix}, as those of a {last!r} do, and its config.json is of a {kind!r}. "
            f"Take the config.json of that model; if they are of a {kind!r} all the same, save model.PART.state_dict()"
        )
