"""Which files of a folder hold the weights: one, or the parts that an index lists, and nothing that lies beside."""

from __future__ import annotations

import json
import shutil
import time
from fnmatch import fnmatch
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from spoiling import FIRST, WEIGHTS, Fault, build, check

import s3prl_emotion
from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.upstreams.files import load
from s3prl_emotion.upstreams.hub import snapshot
from s3prl_emotion.upstreams.metadata import facts


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    s3prl_emotion.register()
    return {"hubert-layer": tiny.make("hubert-layer", tmp_path_factory.mktemp("good"))}


def _sharded(folder: Path, parts: int, last: str | None = None) -> None:
    """Divide the weights among ``part-1.safetensors``, ...; the last part is only listed, as that or as ``last``."""
    content = sorted(load_file(folder / "model.safetensors").items())
    (folder / "model.safetensors").unlink()
    names = [f"part-{number}.safetensors" for number in range(1, parts + 1)]
    for number, name in enumerate(names[:-1]):
        save_file(dict(content[number::parts]), folder / name)
    names[-1] = last or names[-1]
    places = {key: names[index % parts] for index, (key, _) in enumerate(content)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


CASES: dict[str, Fault] = {
    "a part is missing": (
        "hubert-layer",
        lambda path, _: _sharded(path, 3),
        "1 of 3 parts of the weights that model.safetensors.index.json lists are missing: part-3.safetensors",
    ),
    "an index that leads elsewhere": (
        "hubert-layer",
        lambda path, _: _sharded(path, 2, "../other.safetensors"),
        "weight_map must name files beside it, found ['../other.safetensors']",
    ),
    "parts without their index": (
        "hubert-layer",
        lambda path, _: (path / WEIGHTS).rename(path / "model-00001-of-00001.safetensors"),
        "neither model.safetensors nor pytorch_model.bin is there, nor the index of their parts",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_fault_is_named(good, tmp_path, case: str) -> None:
    check(CASES[case], good, tmp_path)


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ("model.safetensors", "model_old.safetensors"),
        ("model.safetensors", "model-00001-of-00002.safetensors"),
        ("model.safetensors", "pytorch_model.bin"),
        ("pytorch_model.bin", "pytorch_model_old.bin"),
    ],
)
def test_other_weights_beside_the_models_own_are_left_alone(good, tmp_path, own: str, other: str) -> None:
    """As transformers does: what it loads is loaded."""
    folder = tmp_path / "hubert"
    shutil.copytree(good["hubert-layer"], folder)
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    for name, content in ((own, weights), (other, {key: value + 1 for key, value in weights.items()})):
        save = torch.save if name.endswith(".bin") else save_file
        save(content, folder / name)
    assert torch.equal(build(folder).model.state_dict()[FIRST], weights[FIRST])


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_parts_that_an_index_lists_are_read(good, tmp_path, name: str) -> None:
    folder = tmp_path / "hubert"
    shutil.copytree(good["hubert-layer"], folder)
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    stem, suffix = name.split(".")
    keys = sorted(weights)
    parts = {f"{stem}-{number}-of-2.{suffix}": keys[number - 1 :: 2] for number in (1, 2)}
    for part, held in parts.items():
        save = save_file if suffix == "safetensors" else torch.save
        save({key: weights[key] for key in held}, folder / part)
    places = {key: part for part, held in parts.items() for key in held}
    (folder / f"{name}.index.json").write_text(json.dumps({"weight_map": places}))
    torch.save({"stale": torch.zeros(1)}, folder / f"{stem}-3-of-3.{suffix}")
    built = build(folder).model.state_dict()
    assert all(torch.equal(built[key], weights[key]) for key in (FIRST, keys[0], keys[1]))
    assert facts(folder).parameters == 7936


def test_from_the_hub_come_the_files_that_are_read(tmp_path, monkeypatch) -> None:
    asked: list[str] = []

    def download(_: str, *, allow_patterns: list[str], **__: object) -> str:
        asked.extend(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    (tmp_path / "model_old.safetensors").touch()
    assert snapshot("owner/name") == tmp_path
    fetched = {name for name in FILES if any(fnmatch(name, pattern) for pattern in asked)}
    assert fetched == {name for name in FILES if "old" not in name}


FILES = (
    *("config.json", "model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"),
    *("model_old.safetensors", "pytorch_model_old.bin"),
    *("adapter_config.json", "processor_config.json", "modules.json"),
)


def _many(count: int) -> bytes:
    """A safetensors file of so many tensors of no values."""
    header = ",".join(f'"t{number}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for number in range(count))
    return (len(header) + 2).to_bytes(8, "little") + b"{" + header.encode() + b"}"


def test_more_tensors_than_a_model_has(good, tmp_path) -> None:
    """Each would be compared with every name of the model: minutes, for a file of some megabytes."""
    folder = shutil.copytree(good["hubert-layer"], tmp_path / "many")
    start = time.monotonic()
    for count, says in (
        (300_000, r"its header has \d+ bytes"),
        (60_000, "it holds 60000 tensors, expected at most 20000"),
    ):
        (folder / "model.safetensors").write_bytes(_many(count))
        for peek in (False, True):
            with pytest.raises(UpstreamError, match=says):
                load(folder / "model.safetensors", peek)
        with pytest.raises(UpstreamError, match=says):
            facts(folder)
    assert time.monotonic() - start < 10
    (folder / "model.safetensors").unlink()
    for legacy in (False, True):
        content = {f"t{number}": torch.zeros(0) for number in range(20_001)}
        torch.save(content, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
        with pytest.raises(UpstreamError, match=r"refused, it holds 200[0-9]+ tensors"):
            facts(folder)


def test_an_index_of_more_tensors_than_a_model_has(good, tmp_path) -> None:
    folder = shutil.copytree(good["hubert-layer"], tmp_path / "many")
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    for text, says in (
        (
            json.dumps({"weight_map": {f"t{number}": f"{number}.safetensors" for number in range(20_001)}}),
            "20001 tensors",
        ),
        (json.dumps({"weight_map": {"a": "x" * 5000}}), "must name files beside it"),
        (json.dumps({"weight_map": {"a": "x\0y"}}), "must name files beside it"),
        ('{"weight_map": {"a": "x", "a": "y"}}', "'a' is given twice"),
        ("[" * 100_000, "nested too deeply"),
    ):
        index.write_text(text)
        with pytest.raises(UpstreamError, match=says):
            facts(folder)
