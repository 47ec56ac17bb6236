"""An exported folder holds the heads to the bit, says what they are, and replaces nothing but an earlier export."""

from __future__ import annotations

import dataclasses
import json
import re
import runpy
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

from s3prl_emotion.cli import main
from s3prl_emotion.errors import ConfigError, RunError
from s3prl_emotion.files import checkpoint_sha256
from s3prl_emotion.inference import export as module
from s3prl_emotion.inference.trained import EmotionRecogniser
from s3prl_emotion.upstreams.reference import UpstreamOrigin


def _load(source, **options) -> EmotionRecogniser:
    return EmotionRecogniser.load(source, device="cpu", **options)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory) -> Path:
    """Both folds of the frozen run. Do not write into it."""
    return _load(trained).export(tmp_path_factory.mktemp("exported") / "head")


def test_the_export_recognises_the_same_to_the_bit(trained, exported, tiny_hubert, some_test_files) -> None:
    files, _ = some_test_files(trained, 1)
    expected = _load(trained).predict(files)
    assert _load(exported, checkpoint=tiny_hubert).predict(files) == expected
    single = _load(exported, fold=2, checkpoint=tiny_hubert)
    assert single.folds == (2,)
    assert single.predict(files) == _load(trained, fold=2).predict(files) != expected


def test_a_fine_tuned_upstream_comes_along(tuned, tmp_path, tiny_hubert, some_test_files) -> None:
    files, _ = some_test_files(tuned, 1)
    folder = _load(tuned).export(tmp_path / "head")
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "head.safetensors",
        "upstream.safetensors",
        "README.md",
    }
    assert _load(folder, checkpoint=tiny_hubert).predict(files) == _load(tuned).predict(files)
    assert "the first 1 s are used" in (folder / "README.md").read_text()
    (folder / "upstream.safetensors").unlink()
    with pytest.raises(RunError, match=r"upstream\.safetensors: missing or torn"):
        _load(folder, checkpoint=tiny_hubert)


def test_what_the_files_say(trained, exported, tiny_hubert, demo_root) -> None:
    text = (exported / "config.json").read_text()
    config = json.loads(text)
    assert config["upstream"]["checkpoint"] == "tiny_hubert"
    assert config["upstream"]["checkpoint_sha256"] == checkpoint_sha256(str(tiny_hubert))
    assert config["features"] == {"sample_rate_hz": 16000, "rate": 320, "width": 16, "layers": 3}
    assert config["labels"] == ["neu", "hap", "ang", "sad"]
    assert config["modelrc"]["pooling"]["name"] == "attentive_correlation"
    assert config["corpus"]["licence"] == "that of this package"
    assert config["results"] == json.loads((trained / "results.json").read_text())
    card = (exported / "README.md").read_text()
    for path in (trained, tiny_hubert, demo_root, exported):
        assert str(path.parent) not in text + card, "no folder of this machine"
    tensors = load_file(exported / "head.safetensors")
    for fold in (1, 2):
        weights = tensors[f"fold{fold}.layer_weights"]
        assert weights.shape == (3,)
        assert float(weights.sum()) == pytest.approx(1)
        torch.testing.assert_close(weights, tensors[f"fold{fold}.layer_logits"].softmax(0))
        assert tensors[f"fold{fold}.head.classifier.weight"].shape[0] == 4


def test_the_card(trained, exported) -> None:
    results = json.loads((trained / "results.json").read_text())
    card = ModelCard.load(exported / "README.md")
    assert card.data.license == "other"
    assert card.data.pipeline_tag == "audio-classification"
    listed = {item.metric_type: item for item in card.data.eval_results}
    assert {kind: item.metric_value for kind, item in listed.items()} == {
        "recall": round(results["ua"]["mean"], 4),
        "accuracy": round(results["wa"]["mean"], 4),
        "f1": round(results["macro_f1"]["mean"], 4),
    }
    assert "protocol superb" in listed["accuracy"].dataset_name
    low, high = (f"{100 * value:.2f}" for value in results["ua"]["ci95"])
    for text in (
        f"{low} to {high}",
        "with the checkpoint that dev accuracy selected",
        "folds 3, 4, 5 missing",
        "the average has no figure",
        "Licence of the corpus: that of this package",
        "Not for diagnosis",
    ):
        assert text in card.text


def test_figures_of_a_demo_are_not_listed(exported) -> None:
    config = module.read_config(exported)
    demo = dataclasses.replace(config.results, settings=dataclasses.replace(config.results.settings, demo=True))
    config = dataclasses.replace(config, results=demo)
    assert ModelCard(module.model_card(config)).data.eval_results is None


def test_the_three_lines_of_the_card_run(trained, exported, tiny_hubert, some_test_files, capsys) -> None:
    """The checkpoint lies where its recorded name finds it."""
    (code,) = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), flags=re.DOTALL)
    assert len(code.splitlines()) == 3
    files, _ = some_test_files(trained, 1)
    shutil.copy(files[0], "a.wav")
    Path("FOLDER").symlink_to(exported)
    Path("tiny_hubert").symlink_to(tiny_hubert)
    Path("lines.py").write_text(code)
    runpy.run_path("lines.py")
    printed = capsys.readouterr().out.splitlines()[-1]
    assert printed == str(_load(trained).predict(files[0])[0].probabilities)


def test_an_upstream_from_the_hub_is_exported_as_its_id_and_commit(trained, tmp_path) -> None:
    recogniser = _load(trained, fold=1)
    place = str(tmp_path / "hub" / "models--owner--hubert" / "snapshots" / "abc")
    ref = dataclasses.replace(recogniser.parts.upstream, checkpoint=UpstreamOrigin("owner/hubert", place))
    features = module.Features(16000, 320, 16, 3)
    folder = module.write_export(dataclasses.replace(recogniser.parts, upstream=ref), features, tmp_path / "head")
    upstream = module.read_config(folder).upstream
    assert (upstream.checkpoint, upstream.checkpoint_revision) == ("owner/hubert", "abc")
    card = ModelCard.load(folder / "README.md")
    assert card.data.base_model == "owner/hubert"
    assert "on the Hub, commit `abc`" in card.text


def test_only_an_earlier_export_is_replaced(trained, tmp_path) -> None:
    head = _load(trained, fold=1)
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds notes\.txt, and is not just an earlier export"):
        head.export(other)
    with pytest.raises(RunError, match="a file is in the way"):
        head.export(other / "notes.txt")
    folder = _load(trained).export(tmp_path / "head")
    assert json.loads((head.export(folder) / "config.json").read_text())["folds"] == [1]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds notes\.txt"):
        head.export(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head", "other"]


def test_an_export_that_breaks_off_leaves_the_earlier_one(trained, tmp_path, monkeypatch) -> None:
    folder = _load(trained).export(tmp_path / "head")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: object) -> str:
        raise OSError("No space left on device")

    monkeypatch.setattr(module, "model_card", full)
    with pytest.raises(OSError, match="No space left"):
        _load(trained, fold=1).export(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["head"]


def test_exports_that_cannot_be_read(exported, tmp_path, tiny_hubert) -> None:
    folder = tmp_path / "head"

    def changed(**values) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(exported, folder)
        config = json.loads((folder / "config.json").read_text()) | values
        (folder / "config.json").write_text(json.dumps(config))

    features = json.loads((exported / "config.json").read_text())["features"]
    for values, error, message in [
        ({"version": 2}, RunError, "has version 2, this s3prl-emotion reads 1"),
        ({"format": "hubert"}, RunError, "not an export of s3prl-emotion"),
        ({"labes": []}, ConfigError, "unknown key 'labes'. Did you mean 'labels'"),
        ({"folds": [1, 2, 3]}, RunError, "holds nothing of fold 3"),
        ({"labels": ["neu", "hap", "neu", "sad"]}, RunError, "labels: expected different names"),
        ({"features": features | {"sample_rate_hz": 8000}}, RunError, "sample_rate_hz: expected 16000"),
        *(
            ({"upstream": {"name": name}}, RunError, rf"config\.json: upstream\.name: '{name}' is no upstream")
            for name in ("options", "torch", "Path", "__builtins__", "__class__")
        ),
    ]:
        changed(**values)
        with pytest.raises(error, match=message):
            module.read_export(folder)
    changed()
    with pytest.raises(RunError, match=r"--fold 5: .* holds fold 1, 2"):
        module.read_export(folder, 5)
    whole = (folder / "head.safetensors").read_bytes()
    (folder / "head.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"head\.safetensors: missing or torn"):
        module.read_export(folder)
    changed()
    tensors = load_file(folder / "head.safetensors")
    tensors.pop("fold1.head.classifier.bias")
    save_file(tensors, folder / "head.safetensors")
    with pytest.raises(RunError, match=r"fold 1: its parameters do not fit a head .*classifier\.bias"):
        _load(folder, checkpoint=tiny_hubert)
    for dtype in (torch.int8, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn):
        changed()
        tensors = load_file(folder / "head.safetensors")
        name = "fold1.head.classifier.weight"
        tensors[name] = tensors[name].to(dtype)
        save_file(tensors, folder / "head.safetensors")
        with pytest.raises(RunError, match=rf"fold 1: .*classifier\.weight holds {dtype}, expected torch\.float32"):
            _load(folder, checkpoint=tiny_hubert)


def test_the_command(trained, tmp_path, tiny_hubert, capsys) -> None:
    assert main(["export", str(trained), "--out", str(tmp_path / "head"), "--fold", "2", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^head\.safetensors  \d+ kB$", printed, flags=re.MULTILINE)
    assert printed.splitlines()[-1] == str(tmp_path / "head")
    assert _load(tmp_path / "head", checkpoint=tiny_hubert).folds == (2,)
    assert main(["export", str(tmp_path / "head"), "--out", str(tmp_path / "again"), "--device", "cpu"]) == 2
    assert "give -k PATH, where that file or folder is now (SHA-256" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()
