"""Checkpoint files, read without executing them."""

from __future__ import annotations

import json
import logging
import os
import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.files import check_safetensors
from s3prl_emotion.upstreams.bounds import check_archive, check_tensors

logger = logging.getLogger(__name__)

UNPICKLE = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
"""torch's own switch; ``--trust-checkpoint`` sets it while an upstream is built."""

NESTED = ("state_dict", "model_state_dict", "model", "module", "net", "weights")
"""Keys under which trainings save the weights of their model, Lightning's and DeepSpeed's among them."""
_SHOWN = 10
_ENOUGH = 10_000  # instructions of a pickle, to call it one
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C  # torch.serialization.MAGIC_NUMBER
TORN = (
    *(EOFError, OSError, RuntimeError, KeyError, AttributeError, TypeError, ValueError, IndexError),
    *(AssertionError, ArithmeticError, MemoryError, ImportError),
)
"""What torch raises for bytes that it did not write."""


def load(path: Path, peek: bool = False) -> dict[str, Any]:
    """What a checkpoint file holds, on the CPU.

    Args:
        path: a file in safetensors format, or written by ``torch.save``
        peek: only names and shapes are wanted: tensors may lie on the ``meta`` device or still on the disk

    Raises:
        UpstreamError: if the file is torn, is no checkpoint, or wants to execute code and is not trusted
    """
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"version https://git-lfs"):
        raise UpstreamError(f"{path}: a git-lfs pointer, not the file itself: fetch it with git lfs pull")
    if _is_safetensors(head, path.stat().st_size):
        return _safetensors(path, peek)
    if _is_archive(path, head):
        raise UpstreamError(f"{path}: an archive of files. Unpack it, and name the folder or file in it")
    if _is_plain_pickle(path, head):
        raise UpstreamError(
            f"{path}: a pickle, which torch.save did not write. Reading one executes what it asks for; nothing was "
            "executed. Save the weights where the file comes from: torch.save(model.state_dict(), PATH), or as "
            "safetensors"
        )
    if not head.startswith((b"PK", b"\x80")):
        what = "is empty" if not head else f"begins with {head[:16]!r}"
        raise UpstreamError(f"{path}: neither safetensors nor written by torch.save: it {what}. Is it complete?")
    check_archive(path)
    try:
        content = torch.load(
            path,
            map_location="cpu",
            weights_only=not is_trusted(),
            mmap=True if peek and head.startswith(b"PK") else None,
        )
    except pickle.UnpicklingError as error:
        raise UpstreamError(refusal(str(path), error)) from error
    except (*TORN, zipfile.BadZipFile) as error:
        raise UpstreamError(
            f"{path}: the weights cannot be loaded, the file is torn or incomplete ({path.stat().st_size} bytes): "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}. Copy or download it again"
        ) from error
    if not isinstance(content, Mapping):
        raise UpstreamError(
            f"{path}: holds a {type(content).__name__}, expected names and tensors: save model.state_dict()"
        )
    check_tensors(content, str(path))
    return dict(content)


def unwrapped(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The names and tensors in a training's checkpoint; what is no such checkpoint comes back as it is.

    Raises:
        UpstreamError: if there are weights under several keys
    """
    for _ in NESTED:  # one in another
        inner = [key for key in NESTED if isinstance(content.get(key), Mapping) and content[key]]
        if len(inner) > 1:
            raise UpstreamError(
                f"{where}: holds weights under {' and '.join(inner)}. Save those that you mean: "
                "torch.save(model.state_dict(), PATH)"
            )
        if not inner:
            break
        content = content[inner[0]]
    return dict(content)


def is_trusted() -> bool:
    """Whether the file may execute code: ``--trust-checkpoint``, or torch's own switch."""
    return os.environ.get(UNPICKLE, "0").lower() in ("1", "y", "yes", "true")


def refusal(where: str, error: BaseException) -> str:
    """Explain why ``torch.load`` with ``weights_only`` refused a file.

    Args:
        where: what was to be loaded
        error: torch's ``UnpicklingError``
    """
    text = str(error)
    name = imported(error)
    if not name and "eights only load failed" not in text:
        return f"{where}: the weights cannot be loaded, the file is torn or no checkpoint: {text.splitlines()[0]}"
    what = f"imports {name}" if name else "asks for more than tensors and plain values"
    return (
        f"{where}: refused, because reading it executes code that the file brings along: it {what}. Nothing was "
        "executed. If you trust where it comes from, add --trust-checkpoint; better, have it saved as safetensors"
    )


def imported(error: BaseException) -> str:
    """The function or class for which ``torch.load`` refused a file; empty if it said nothing of one."""
    found = re.search(r"GLOBAL ([\w.]+)|[Uu]nsupported (?:class|global) ([\w.]+)", str(error))
    return next((name for name in found.groups() if name), "") if found else ""


def is_refusal(error: BaseException) -> bool:
    """Whether ``torch.load`` refused a file because of code in it."""
    return isinstance(error, pickle.UnpicklingError) and "eights only load failed" in str(error)


def misfit(where: str, missing: Iterable[str], surplus: Iterable[str], shapes: Iterable[str]) -> None:
    """Complain about weights that do not fit a model.

    Args:
        where: file and model, for the message
        missing: names that the model has and the file has not
        surplus: names that the file has and the model has not
        shapes: names and both shapes, where they differ

    Raises:
        UpstreamError: listing up to ten of each, if there are any
    """
    parts = [
        f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"
        for what, names in (
            ("missing", sorted(missing)),
            ("surplus", sorted(surplus)),
            ("of another shape", sorted(shapes)),
        )
        if names
    ]
    if parts:
        raise UpstreamError(
            f"{where}: the weights do not fit. {'; '.join(parts)}. Is it the checkpoint of this architecture?"
        )


def check_fit(model: torch.nn.Module, weights: Mapping[str, torch.Tensor], where: str) -> None:
    """Check that weights are those of a model, all of them and nothing else; see :func:`misfit`.

    Args:
        model: would take the weights; it may lie on the ``meta`` device
        weights: names and tensors
        where: file and model, for the message
    """
    own = model.state_dict()
    extra = [name for name in weights if name not in own]
    shapes = [
        f"{name} (file {tuple(weights[name].shape)}, model {tuple(value.shape)})"
        for name, value in own.items()
        if name in weights and weights[name].shape != value.shape
    ]
    misfit(where, [name for name in own if name not in weights], extra, shapes)


_COUNTERS = ("num_batches_tracked", "position_ids", "token_type_ids")
"""Last parts of the names of buffers that hold whole numbers."""


def check_numbers(weights: Mapping[str, torch.Tensor], where: str | Path) -> None:
    """Refuse weights that are not finite, from which no state would be, and those of no floating-point numbers.

    torch converts whole numbers without a word. Those of a quantised model say nothing without their scales; only
    counters are whole numbers by nature.

    Raises:
        UpstreamError: naming the tensor
    """
    for name, value in weights.items():
        if name.rpartition(".")[2] in _COUNTERS:
            continue
        if value.dtype.itemsize == 1 or not value.is_floating_point():
            raise UpstreamError(
                f"{where}: {name} is of {str(value.dtype).removeprefix('torch.')}, expected floating-point numbers of "
                "16 bits or more; quantised weights are not read. Save model.float().state_dict()"
            )
        if not bool(torch.isfinite(value).all()):
            raise UpstreamError(
                f"{where}: {name} holds values that are not finite (NaN or infinity): is the file damaged, or from a "
                "training that diverged? Take another checkpoint"
            )


def say_left_out(where: str | Path, names: Iterable[str]) -> None:
    """Name in one line of the log what a file holds beside the encoder."""
    left = sorted(names)
    more = f", ... ({len(left)} in all)" if len(left) > _SHOWN else ""
    if left:
        logger.info("%s: left out, no part of the encoder: %s%s", where, ", ".join(left[:_SHOWN]), more)


def settings_file(path: Path) -> Path | None:
    """The settings that lie beside a checkpoint: ``<file>.yaml``, also with ``.yml`` or ``.json``."""
    beside = [path.with_name(path.name + suffix) for suffix in (".yaml", ".yml", ".json")]
    return next((item for item in beside if item.is_file()), None)


def first_keys(content: Mapping[str, Any]) -> str:
    """The first keys of a checkpoint, for messages."""
    names = [str(key) for key in content]
    return f"{', '.join(names[:8]) or '(none)'}{', ...' if len(names) > 8 else ''}"


def _is_safetensors(head: bytes, size: int) -> bool:
    """Eight bytes of header length (little-endian), then JSON."""
    length = int.from_bytes(head[:8], "little") if len(head) > 8 else 0
    return 2 <= length < 100_000_000 and head[8:9] == b"{" and size > 8


def _is_archive(path: Path, head: bytes) -> bool:
    """Whether a file is a ZIP that torch.save did not write, or packed by another program."""
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as file:
                return not any(name.endswith(".pkl") for name in file.namelist())
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            return False  # torn, which is noticed where it is read
    return head.startswith((b"\x1f\x8b", b"7z\xbc\xaf", b"\xfd7zXZ", b"BZh", b"Rar!"))


def _is_plain_pickle(path: Path, head: bytes) -> bool:
    """Whether a file is a pickle of any protocol, and not in torch's older format, which begins with a pickled number.

    The instructions are read, and none is executed.
    """
    if head.startswith(b"PK\x03\x04"):
        return False
    with path.open("rb") as file:
        count = 0
        try:
            for operation, argument, _ in pickletools.genops(file):
                count += 1
                if argument == _TORCH_MAGIC:
                    return False
                if operation.name == "STOP" or count == _ENOUGH:
                    return count > 1
        except (ValueError, KeyError, IndexError, EOFError, OverflowError, MemoryError):
            return False  # what is cut off is told apart by torch
    return False


def _safetensors(path: Path, peek: bool) -> dict[str, Any]:
    try:
        check_safetensors(path)
        if not peek:
            return dict(load_file(path))
        with safe_open(path, framework="pt") as file:
            return {name: torch.empty(file.get_slice(name).get_shape(), device="meta") for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, json.JSONDecodeError) as error:
        raise UpstreamError(
            f"{path}: the weights cannot be loaded, the file is torn or incomplete ({path.stat().st_size} bytes): "
            f"{error}. Copy or download it again"
        ) from error


def shortened(text: str) -> str:
    """torch's message about a state dict that does not fit, with at most ten names of each kind."""
    lines = []
    for line in text.strip().splitlines():
        before, _, rest = line.partition(": ")
        names = re.findall(r'"([^"]+)"', rest)
        if "key(s)" in before and names:
            kind = "missing" if "Missing" in before else "surplus"
            rest = f"{', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"
            lines.append(f"{len(names)} {kind}: {rest}")
        else:
            lines.append(line.strip())
    shapes = [line for line in lines if line.startswith("size mismatch")]
    kept = [line for line in lines if not line.startswith(("size mismatch", "Error(s) in loading"))]
    return "; ".join([*kept, *shapes[:_SHOWN]])
