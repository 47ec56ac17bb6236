"""Hidden states of a recipe's models: what is said of one that cannot be used names its folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import s3prl_emotion
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.pretraining.states import hidden_states
from s3prl_emotion.s3prl_runner.cache import CacheOptions


def test_a_model_whose_states_are_not_finite_is_named(tiny_hubert: Path, demo_manifest: Manifest, tmp_path) -> None:
    """Not by the adapter that reads it; its weights are finite, and their products are not."""
    s3prl_emotion.register()
    folder = Path(shutil.copytree(tiny_hubert, tmp_path / "my_base"))
    state = load_file(folder / "model.safetensors")
    state = {name: value * 1e30 if "dense" in name else value for name, value in state.items()}
    save_file(state, folder / "model.safetensors")
    with pytest.raises(UpstreamError) as caught:
        hidden_states(folder, demo_manifest, [2], 2, CacheOptions(root=tmp_path / "cache"), "cpu")
    assert f"-u {folder}: its states of a second of noise are not finite" in str(caught.value)
    assert "hf_auto_custom" not in str(caught.value)
