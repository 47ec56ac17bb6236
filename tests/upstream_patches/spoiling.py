"""Spoiling checkpoints: what the tests of refusals share."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.upstreams.explanation import explained
from s3prl_emotion.upstreams.formats import adapter_of

Good = dict[str, Path]
Fault = tuple[str, Callable[[Path, Good], Any], str]
"""A family, what is done to its checkpoint, and what the message must hold."""

WEIGHTS, EXTRACTOR = "model.safetensors", "preprocessor_config.json"
FIRST = "encoder.layers.0.attention.q_proj.weight"


def build(path: Path) -> Any:
    from s3prl import hub

    with explained(path.name):
        return getattr(hub, adapter_of(path))(ckpt=str(path), model_config=None, refresh=False)


def cut(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def change(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Change what a checkpoint file holds; a JSON file too."""
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))
        return
    content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    edit(content)
    save_file(content, path) if path.suffix == ".safetensors" else torch.save(content, path)


def only(path: Path, content: Any) -> None:
    torch.save(content, path)


def check(fault: Fault, good: Good, tmp_path: Path) -> None:
    """A copy of a good checkpoint can be built, and once spoilt is answered with the message."""
    family, spoil, message = fault
    path = tmp_path / good[family].name
    if good[family].is_dir():
        shutil.copytree(good[family], path)
    else:
        shutil.copy(good[family], path)
        if family.startswith("torchaudio"):
            shutil.copy(f"{good[family]}.yaml", f"{path}.yaml")
    build(path)
    spoil(path, good)
    with pytest.raises(UpstreamError) as caught:
        build(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value), "the message names the file"
    assert not (tmp_path / "executed").exists()
