"""Checkpoint files that cannot be used, or want to execute code: each is written to a path."""

from __future__ import annotations

import argparse
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from faults.campaign import CANARY, Touch

Make = Callable[[Path], object]

SYSTEM = f"touch {CANARY}"


class Evaluated:
    """Unpickled, it is evaluated."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, (f"__import__('os').system({SYSTEM!r})",)


class Executed:
    """Unpickled, it is executed."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, (f"import os; os.system({SYSTEM!r})",)


class Stateful:
    """Unpickled, its state is set by code."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...], Any]:
        return argparse.Namespace, (), {"inner": Touch()}


def _saved(content: Callable[[], Any], legacy: bool = False) -> Make:
    return lambda path: torch.save(content(), path, _use_new_zipfile_serialization=not legacy)


def _bytes(content: bytes) -> Make:
    return lambda path: path.write_bytes(content)


def _pickled(protocol: int) -> Make:
    return lambda path: path.write_bytes(pickle.dumps({"state": Touch()}, protocol=protocol))


def _weights() -> dict[str, Any]:
    return {"encoder.layers.0.weight": torch.zeros(4, 4)}


def _with_pickle(content: bytes) -> Make:
    """torch's archive with another pickle in it."""

    def make(path: Path) -> None:
        torch.save(_weights(), path)
        with zipfile.ZipFile(path) as archive:
            entries = {item.filename: archive.read(item) for item in archive.infolist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, old in entries.items():
                archive.writestr(name, content if name.endswith("data.pkl") else old)

    return make


def _torn(share: float, legacy: bool = False) -> Make:
    def make(path: Path) -> None:
        torch.save({"a": torch.randn(2000)}, path, _use_new_zipfile_serialization=not legacy)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])

    return make


def _bomb(path: Path) -> None:
    """Two hundred megabytes of zeros in a few hundred kilobytes."""
    torch.save(_weights(), path)
    with zipfile.ZipFile(path) as archive:
        entries = {item.filename: archive.read(item) for item in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, old in entries.items():
            archive.writestr(name, b"\0" * 200_000_000 if name.endswith("data/0") else old)


def _zeroed_middle(path: Path) -> None:
    torch.save({"a": torch.randn(2000)}, path)
    whole = bytearray(path.read_bytes())
    whole[64:200] = bytes(136)
    path.write_bytes(whole)


def _script(path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))


def _safetensors(header: bytes, data: bytes = b"") -> Make:
    return _bytes(len(header).to_bytes(8, "little") + header + data)


def _cut_safetensors(path: Path) -> None:
    save_file({"a": torch.randn(2000)}, path)
    path.write_bytes(path.read_bytes()[:-100])


GLOBAL = f"cposix\nsystem\n(S'{SYSTEM}'\ntR.".encode()
INST = f"(S'{SYSTEM}'\niposix\nsystem\n.".encode()
STACKED = pickle.PROTO + b"\x04" + b"\x8c\x05posix\x8c\x06system\x93" + f"(S'{SYSTEM}'\ntR.".encode()

MALICIOUS: dict[str, Make] = {
    "code in a value": _saved(lambda: {**_weights(), "callback": Touch()}),
    "code alone": _saved(Touch),
    "code in nested lists": _saved(lambda: {"a": [[{"b": (1, [Touch()])}]]}),
    "eval in a value": _saved(lambda: {"a": Evaluated()}),
    "exec in a value": _saved(lambda: {"a": Executed()}),
    "code in a Namespace": _saved(lambda: {"Args": argparse.Namespace(upstream=Touch())}),
    "code in a state": _saved(lambda: {"a": Stateful()}),
    "a whole module": _saved(lambda: torch.nn.Linear(2, 2)),
    "code, older format": _saved(lambda: {**_weights(), "callback": Touch()}, legacy=True),
    "code alone, older format": _saved(Touch, legacy=True),
    "global in torch's archive": _with_pickle(GLOBAL),
    "inst in torch's archive": _with_pickle(INST),
    "stacked global in torch's archive": _with_pickle(STACKED),
    **{f"a pickle of protocol {number}": _pickled(number) for number in range(6)},
    "a pickle by hand": _bytes(GLOBAL),
    "a pickle of instructions": _bytes(INST),
}

BROKEN: dict[str, Make] = {
    "an empty file": _bytes(b""),
    "one byte": _bytes(b"\x80"),
    "text": _bytes(b"weights"),
    "a web page": _bytes(b"<!DOCTYPE html><html><title>404</title></html>"),
    "a git-lfs pointer": _bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n"),
    "the beginning of an archive": _bytes(b"PK\x03\x04"),
    "an archive without entries": _bytes(b"PK\x05\x06" + bytes(18)),
    "half of an archive": _torn(0.5),
    "an archive without its end": _torn(0.98),
    "half of a file in the older format": _torn(0.5, legacy=True),
    "zeros in the middle": _zeroed_middle,
    "TorchScript": _script,
    "a list": _saved(lambda: [torch.zeros(2)]),
    "a tensor": _saved(lambda: torch.zeros(2)),
    "nothing in it": _saved(dict),
    "numbers for names": _saved(lambda: {0: torch.zeros(2)}),
    "no tensors": _saved(lambda: {"a": 1}),
    "a text model's names": _saved(lambda: {"embeddings.word_embeddings.weight": torch.zeros(2, 2)}),
    "Lightning": _saved(lambda: {"state_dict": {"a": torch.zeros(2)}, "epoch": 3, "pytorch-lightning_version": "2"}),
    "fairseq": _saved(lambda: {"cfg": {}, "model": {}, "task_state": {}, "args": None, "optimizer_history": []}),
    "a bomb": _bomb,
    "a tensor larger than what is stored": _saved(
        lambda: {"encoder.transformer.layers.0.w": torch.zeros(1).expand(100_000, 100_000)}
    ),
    "a sparse tensor": _saved(lambda: {"encoder.transformer.layers.0.w": torch.eye(2).to_sparse()}),
    "safetensors without its end": _cut_safetensors,
    "safetensors that is no JSON": _safetensors(b"{" + b"x" * 40),
    "safetensors with a wrong place": _safetensors(
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,999]}}', bytes(16)
    ),
    "safetensors with a negative shape": _safetensors(
        b'{"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}', bytes(16)
    ),
    "safetensors with a huge shape": _safetensors(
        b'{"a":{"dtype":"F32","shape":[99999999999],"data_offsets":[0,16]}}', bytes(16)
    ),
}
