"""Checkpoints that cannot be used: each is answered with what is wrong, and nothing in them is executed."""

from __future__ import annotations

import gzip
import shutil
import zipfile
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file
from spoiling import EXTRACTOR, FIRST, WEIGHTS, Fault, build, change, check, cut, only

import s3prl_emotion
from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.upstreams.files import load
from s3prl_emotion.upstreams.metadata import facts


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    s3prl_emotion.register()
    folder = tmp_path_factory.mktemp("good")
    return {family: tiny.make(family, folder) for family in ("hubert-layer", "wavlm", *tiny.FILES)}


def _another_model(folder: Path, good: dict[str, Path]) -> None:
    shutil.copy(good["wavlm"] / "model.safetensors", folder / "model.safetensors")


CASES: dict[str, Fault] = {
    "empty folder": (
        "hubert-layer",
        lambda path, _: [item.unlink() for item in path.iterdir()],
        "expected a folder in transformers format, config.json is missing; it is empty",
    ),
    "no config.json": (
        "hubert-layer",
        lambda path, _: (path / "config.json").unlink(),
        "config.json is missing; it holds model.safetensors, preprocessor_config.json. To use a single file, name it",
    ),
    "config.json is no JSON": (
        "hubert-layer",
        lambda path, _: (path / "config.json").write_text("{"),
        "config.json: ",
    ),
    "a text model": (
        "hubert-layer",
        lambda path, _: (path / "config.json").write_text('{"model_type": "bert"}'),
        "'bert' is no speech encoder with hidden states",
    ),
    "code beside config.json": (
        "hubert-layer",
        lambda path, _: (
            (path / "own.py").write_text(f"import os\nos.mkdir({str(path.parent / 'executed')!r})\nclass C: pass\n"),
            (path / "config.json").write_text('{"model_type": "own", "auto_map": {"AutoConfig": "own.C"}}'),
        ),
        "refused, because the model is code beside its config.json (auto_map), which is not executed",
    ),
    "no preprocessor_config.json": (
        "hubert-layer",
        lambda path, _: (path / EXTRACTOR).unlink(),
        "preprocessor_config.json is missing, which says how waveforms are normalised, and at which sampling rate. "
        "Save the model's feature extractor there: Wav2Vec2FeatureExtractor(sampling_rate=..., do_normalize=...)",
    ),
    "no weights": (
        "hubert-layer",
        lambda path, _: (path / WEIGHTS).unlink(),
        "no weights: neither model.safetensors nor pytorch_model.bin is there",
    ),
    "weights of another name": (
        "hubert-layer",
        lambda path, _: (path / WEIGHTS).rename(path / "last.safetensors"),
        "(model.safetensors.index.json). To use last.safetensors, which lies there, add -k ",
    ),
    "truncated safetensors": (
        "hubert-layer",
        lambda path, _: cut(path / WEIGHTS),
        "the weights cannot be loaded, the file is torn or incomplete",
    ),
    "git-lfs pointer": (
        "hubert-layer",
        lambda path, _: (path / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "a git-lfs pointer, not the file itself: fetch it with git lfs pull",
    ),
    "wrong architecture": (
        "hubert-layer",
        _another_model,
        "(hubert): the weights do not fit. 7 surplus: encoder.layers.0.attention.gru_rel_pos_const",
    ),
    "missing keys": (
        "hubert-layer",
        lambda path, _: change(path / WEIGHTS, lambda content: content.pop(FIRST)),
        f"the weights do not fit. 1 missing: {FIRST}. Is it",
    ),
    "surplus keys": (
        "hubert-layer",
        lambda path, _: change(path / WEIGHTS, lambda content: content.update({"encoder.extra.w": torch.zeros(2)})),
        "the weights do not fit. 1 surplus: encoder.extra.w. Is it",
    ),
    "another shape": (
        "hubert-layer",
        lambda path, _: change(path / WEIGHTS, lambda content: content.update({FIRST: torch.zeros(3, 3)})),
        f"the weights do not fit. 1 of another shape: {FIRST} (file (3, 3), model (16, 16))",
    ),
    "truncated .pt": (
        "torchaudio-group",
        lambda path, _: cut(path),
        "the weights cannot be loaded, the file is torn or incomplete",
    ),
    "text file": (
        "torchaudio-group",
        lambda path, _: path.write_text("hello, I am no checkpoint"),
        "neither safetensors nor written by torch.save: it begins with b'hello, I am no c'",
    ),
    "empty file": (
        "torchaudio-group",
        lambda path, _: path.write_bytes(b""),
        "neither safetensors nor written by torch.save: it is empty",
    ),
    "torchaudio without settings": (
        "torchaudio-group",
        lambda path, _: path.with_name(path.name + ".yaml").unlink(),
        "a state dict does not tell normalize_waveform, encoder_num_heads, encoder_layer_norm_first: write it to "
        "hubert_like.pt.yaml beside it, or give a file with -g",
    ),
    "torchaudio with a misspelt setting": (
        "torchaudio-group",
        lambda path, _: path.with_name(path.name + ".yaml").write_text("normalise_waveform: false\n"),
        "unknown key 'normalise_waveform'. Did you mean 'normalize_waveform'",
    ),
    "torchaudio with contradicting settings": (
        "torchaudio-group",
        lambda path, _: path.with_name(path.name + ".yaml").write_text(
            tiny.SETTINGS.format(normalize="true", first="false") + "encoder_embed_dim: 768\n"
        ),
        "encoder_embed_dim is 16 in the file",
    ),
    "torchaudio, missing and surplus keys": (
        "torchaudio-layer",
        lambda path, _: change(
            path,
            lambda content: (
                content.pop("encoder.transformer.layers.1.attention.k_proj.bias"),
                content.update({"encoder.extra.w": torch.zeros(2), "extra.w": torch.zeros(2)}),
            ),
        ),
        "(torchaudio): the weights do not fit. 1 missing: encoder.transformer.layers.1.attention.k_proj.bias; "
        "1 surplus: encoder.extra.w",
    ),
    "S3PRL-converted, missing and surplus keys": (
        "s3prl-hubert",
        lambda path, _: change(
            path,
            lambda content: (
                content["model_weight"].pop("encoder.layers.1.fc1.bias"),
                content["model_weight"].update({"extra.w": torch.zeros(2)}),
            ),
        ),
        "(hubert): the weights do not fit. 1 missing: encoder.layers.1.fc1.bias; 1 surplus: extra.w",
    ),
    "Lightning": (
        "torchaudio-group",
        lambda path, _: only(path, {"epoch": 3, "state_dict": {"net.w": torch.zeros(1)}, "loops": {}}),
        "a checkpoint of a Lightning training (keys epoch, state_dict, loops; in it: net.w)",
    ),
    "Lightning, with a model of transformers": (
        "torchaudio-group",
        lambda path, good: only(path, {"epoch": 3, "state_dict": load_file(good["hubert-layer"] / WEIGHTS)}),
        "without its configuration. Put config.json and preprocessor_config.json of that model into a folder, and give "
        "both: -u FOLDER -k FILE",
    ),
    "an adapter beside its base": (
        "hubert-layer",
        lambda path, _: (
            (path / "adapter_config.json").write_text('{"base_model_name_or_path": "facebook/hubert", "r": 2}'),
            (path / "adapter_model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}"),
        ),
        "refused, because adapter_config.json and adapter_model.safetensors are an adapter (peft) that changes a base "
        "model, and adapters are not loaded. Merge it into its base where peft is installed, and name OUT: "
        'PeftModel.from_pretrained(MODEL.from_pretrained("facebook/hubert"),',
    ),
    "an adapter's weights beside a base": (
        "hubert-layer",
        lambda path, _: (path / "adapter_model.bin").write_bytes(b""),
        "refused, because adapter_model.bin is an adapter (peft)",
    ),
    "an adapter without its base": (
        "hubert-layer",
        lambda path, _: (
            (path / "config.json").rename(path / "adapter_config.json"),
            (path / WEIGHTS).rename(path / "adapter_model.safetensors"),
        ),
        ".merge_and_unload().save_pretrained(OUT), with MODEL the class that was adapted",
    ),
    "weights that config.json names": (
        "hubert-layer",
        lambda path, _: change(path / "config.json", lambda content: content.update(transformers_weights="o.bin")),
        'config.json: transformers_weights is "o.bin", and weights are read from model.safetensors or',
    ),
    "a model in a folder below": (
        "hubert-layer",
        lambda path, _: (
            shutil.copytree(path, path / "0_Transformer"),
            (path / "config.json").unlink(),
        ),
        "To use a model in it, name its folder: ",
    ),
    "fairseq": (
        "torchaudio-group",
        lambda path, _: only(path, {"cfg": {"task": 1}, "model": {}, "task_state": {}, "optimizer_history": []}),
        "a checkpoint of fairseq (keys cfg, model, task_state, optimizer_history). Convert it",
    ),
    "transformers weights alone": (
        "torchaudio-group",
        lambda path, good: only(path, load_file(good["hubert-layer"] / WEIGHTS)),
        "a state dict of a transformers model",
    ),
    "wav2vec of the first kind": (
        "torchaudio-group",
        lambda path, _: only(path, {"task_cfg": {}, "model_cfg": {}, "model_weight": {"x": torch.zeros(1)}}),
        "a wav2vec, which has no transformer blocks: use -u wav2vec_custom -k",
    ),
    "unknown keys": (
        "torchaudio-group",
        lambda path, _: only(path, {"a": torch.zeros(1), "b": torch.zeros(1)}),
        "no known format (keys a, b). Known: a folder in transformers format",
    ),
    "a list": (
        "torchaudio-group",
        lambda path, _: only(path, [torch.zeros(1)]),
        "holds a list, expected names and tensors: save model.state_dict()",
    ),
    "pickled code": (
        "torchaudio-group",
        lambda path, _: only(path, {"w": tiny.Payload(path.parent / "executed")}),
        "refused, because reading it executes code that the file brings along: it imports os.makedirs. Nothing was "
        "executed. If you trust where it comes from, add --trust-checkpoint",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_fault_is_named(good, tmp_path, case: str) -> None:
    check(CASES[case], good, tmp_path)


def test_archives_are_named(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as file:
        file.writestr("model/config.json", "{}")
    (tmp_path / "model.tar.gz").write_bytes(gzip.compress(b"x" * 100))
    for name in ("model.zip", "model.tar.gz"):
        with pytest.raises(UpstreamError, match=r"an archive of files\. Unpack it"):
            load(tmp_path / name)


def test_the_snapshot_in_a_folder_of_the_hubs_cache_is_named(good, tmp_path) -> None:
    cache = tmp_path / "models--owner--name"
    for commit in ("0123abcd", "4567"):
        shutil.copytree(good["hubert-layer"], cache / "snapshots" / commit)
    with pytest.raises(UpstreamError, match=f"name the snapshot in it, {cache}/snapshots/0123abcd or {cache}/s.*/4567"):
        build(cache)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("4567")
    with pytest.raises(UpstreamError, match=f"the Hub's cache of one model: name the snapshot in it, {cache}/.*/4567$"):
        build(cache)
    build(cache / "snapshots" / "4567")


def test_code_beside_a_model_that_transformers_knows_is_named(good, tmp_path, caplog) -> None:
    folder = tmp_path / "hubert"
    shutil.copytree(good["hubert-layer"], folder)
    change(folder / "config.json", lambda content: content.update(auto_map={"AutoModel": "own.Own"}))
    build(folder)
    assert "(auto_map), which is not executed: read as transformers' own 'hubert'" in caplog.text


def test_long_lists_are_cut(good, tmp_path) -> None:
    folder = tmp_path / "hubert"
    shutil.copytree(good["hubert-layer"], folder)
    change(folder / "config.json", lambda content: content.update(num_hidden_layers=4))
    with pytest.raises(UpstreamError, match=r"32 missing: (encoder[\w.]+, ){10}\.\.\.\. Is it"):
        build(folder)


def test_what_can_be_seen_without_loading_is_seen(good, tmp_path) -> None:
    """The facts that are listed need no weights, but a torn file shows."""
    folder = tmp_path / "hubert"
    shutil.copytree(good["hubert-layer"], folder)
    assert facts(folder).parameters == 7936
    _another_model(folder, good)
    with pytest.raises(UpstreamError, match=r"7 surplus: encoder\.layers\.0\.attention\.gru_rel_pos_const"):
        facts(folder)
    shutil.copy(good["hubert-layer"] / WEIGHTS, folder / WEIGHTS)
    cut(folder / WEIGHTS)
    with pytest.raises(UpstreamError, match="torn or incomplete"):
        facts(folder)
