"""Code in checkpoints: nothing of it runs unless the file is trusted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file

import s3prl_emotion
from s3prl_emotion.bridge.selection import explained
from s3prl_emotion.bridge.trust import trusted_checkpoints
from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.upstream_patches._formats import adapter_of


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    s3prl_emotion.register()
    folder = tmp_path_factory.mktemp("good")
    return {family: tiny.make(family, folder) for family in ("hubert-layer", "s3prl-hubert")}


def _with_code(path: Path, marker: Path) -> None:
    """Add an entry to a good checkpoint that makes ``marker`` when it is loaded."""
    content = torch.load(path, weights_only=True)
    torch.save({**content, "callback": tiny.Payload(marker)}, path)


@pytest.mark.parametrize("entry", ["s3prl_converted", "hubert_local"])
def test_code_runs_only_in_a_trusted_checkpoint(good, tmp_path, entry: str) -> None:
    """Our adapters and S3PRL's own entries alike; trust ends with the block."""
    from s3prl import hub

    path, marker = tmp_path / "hubert.ckpt", tmp_path / "executed"
    shutil.copy(good["s3prl-hubert"], path)
    _with_code(path, marker)

    def load() -> Any:
        with explained(entry):
            return getattr(hub, entry)(ckpt=str(path), model_config=None, refresh=False)

    with trusted_checkpoints(False), pytest.raises(UpstreamError, match=r"imports os.makedirs.*--trust-checkpoint"):
        load()
    assert not marker.exists()
    with trusted_checkpoints(True):
        assert len(load()([torch.randn(1600)])["hidden_states"]) == 3
    assert marker.exists()
    marker.rmdir()
    with pytest.raises(UpstreamError, match="--trust-checkpoint"):
        load()
    assert not marker.exists()
    assert "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" not in os.environ


CALL = "[__import__('os').makedirs({!r}), (8,10,5)][1:] + [(8,3,2)] * 4 + [(8,2,2)] * 2"


@pytest.mark.parametrize("name", ["s3prl_converted", "hubert_local"])
def test_a_configuration_that_calls_is_code_too(good, tmp_path, name: str) -> None:
    """S3PRL evaluates ``conv_feature_layers``, which a file without any pickled code may hold."""
    from s3prl import hub

    from s3prl_emotion.bridge.dropped import resolve

    path, marker = tmp_path / "hubert.ckpt", tmp_path / "executed"
    shutil.copy(good["s3prl-hubert"], path)
    content = torch.load(path, weights_only=True)
    content["model_cfg"]["conv_feature_layers"] = CALL.format(str(marker))
    torch.save(content, path)

    def load() -> Any:
        found = resolve(name, str(path), None)
        with explained(name):
            return getattr(hub, found.name)(ckpt=found.checkpoint, model_config=None, refresh=False)

    with pytest.raises(UpstreamError, match=r"model_cfg.conv_feature_layers is .*__import__.*, a call. Nothing was"):
        load()
    with pytest.raises(UpstreamError, match="a call"):
        adapter_of(path)
    assert not marker.exists()
    with trusted_checkpoints(True):
        load()
    assert marker.exists()


def test_a_transformers_folder_with_code_in_torchs_format(good, tmp_path) -> None:
    from s3prl import hub

    folder = tmp_path / "hubert"
    shutil.copytree(good["hubert-layer"], folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({**weights, "callback": tiny.Payload(tmp_path / "executed")}, folder / "pytorch_model.bin")
    with pytest.raises(UpstreamError, match=r"pytorch_model.bin: refused"):
        hub.hf_auto_custom(ckpt=str(folder))
    assert not (tmp_path / "executed").exists()
