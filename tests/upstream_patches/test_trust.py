"""Code in checkpoints: nothing of it runs unless the file is trusted."""

from __future__ import annotations

import argparse
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file

import s3prl_emotion
from s3prl_emotion.errors import RunError, UpstreamError
from s3prl_emotion.s3prl_runner.building import build, register_on_hub
from s3prl_emotion.s3prl_runner.checkpoints import load_checkpoint
from s3prl_emotion.upstreams.explanation import explained
from s3prl_emotion.upstreams.expressions import EVALUATED, NAMED, check_expressions
from s3prl_emotion.upstreams.formats import adapter_of
from s3prl_emotion.upstreams.reference import UpstreamRef
from s3prl_emotion.upstreams.trust import trusted_checkpoints


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

    from s3prl_emotion.s3prl_runner.building import register_on_hub
    from s3prl_emotion.upstreams.resolution import resolve

    path, marker = tmp_path / "hubert.ckpt", tmp_path / "executed"
    shutil.copy(good["s3prl-hubert"], path)
    content = torch.load(path, weights_only=True)
    content["model_cfg"]["conv_feature_layers"] = CALL.format(str(marker))
    torch.save(content, path)

    def load() -> Any:
        found, checkpoint, _ = register_on_hub(resolve(name, str(path), None)).options
        with explained(name):
            return getattr(hub, found)(ckpt=checkpoint, model_config=None, refresh=False)

    with pytest.raises(
        UpstreamError, match=r"model_cfg.conv_feature_layers is .*__import__.*: expected numb.*Nothing was"
    ):
        load()
    with pytest.raises(UpstreamError, match="refused, because S3PRL evaluates texts"):
        adapter_of(path)
    assert not marker.exists()
    with trusted_checkpoints(True):
        load()
    assert marker.exists()


LAYERS = "[(8,10,5)] + [(8,3,2)] * 4 + [(8,2,2)] * 2"
COMPREHENSION = "[0 for nn.Module.__class_getitem__ in [torch.os.makedirs]] and [nn.Module[{!r}]] and " + LAYERS


@pytest.mark.parametrize("name", ["s3prl_converted", "hubert_local", "hubert_custom"])
@pytest.mark.parametrize(
    "disguise",
    [
        lambda call, marker: call.encode(),
        lambda call, marker: bytearray(call.encode()),
        lambda call, marker: COMPREHENSION.format(marker),  # an attribute becomes a function, a subscript calls it
        lambda call, marker: [call],
        lambda call, marker: argparse.Namespace(text=call),
        lambda call, marker: "(" * 500 + "1" + ")" * 500,  # too deep for the check itself
        lambda call, marker: "nn",
    ],
    ids=["bytes", "bytearray", "comprehension", "list", "object", "nested", "name"],
)
def test_only_arithmetic_is_evaluated(good, tmp_path, name: str, disguise) -> None:
    from s3prl_emotion.s3prl_runner.building import register_on_hub
    from s3prl_emotion.upstreams.resolution import resolve

    path, marker = tmp_path / "hubert.ckpt", tmp_path / "executed"
    content = torch.load(good["s3prl-hubert"], weights_only=True)
    content["model_cfg"]["conv_feature_layers"] = disguise(CALL.format(str(marker)), str(marker))
    torch.save(content, path)
    with pytest.raises(UpstreamError, match=r"refused, because S3PRL evaluates texts .*model_cfg.conv_feature_layers"):
        hub_entry(register_on_hub(resolve(name, str(path), None)).name, path)
    assert not marker.exists()


def hub_entry(name: str, path: Path) -> Any:
    from s3prl import hub

    with explained(name):
        return getattr(hub, name)(ckpt=str(path), model_config=None, refresh=False)


def test_the_settings_that_are_checked_are_those_that_s3prl_evaluates() -> None:
    """Every ``eval`` in S3PRL's upstreams whose argument is a setting: its name is in one of the two lists."""
    import s3prl

    folder = Path(s3prl.__file__).parent / "upstream"
    own = {"module_name", "hook.module_path"}  # names of the model's own parts
    helpers = {"x"}  # eval_str_dict(xformers_att_config), and eval_str_list of a parser that is never built
    found = set()
    for file in folder.rglob("*.py"):
        calls = re.findall(r"(?<![\w.])eval\((.+?)\)(?=[\s:)]|$)", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        found |= {call.strip("()") for call in calls} - own - helpers
    names = {call.rpartition(".")[2].rstrip('"').strip("{}") for call in found if call}
    assert names == EVALUATED - {"xformers_att_config"} | NAMED


@pytest.mark.parametrize(
    "text", [LAYERS, "[(512, 10, 5)]", "", None, "-1", " [1.5, (2,)] ", [(8, 10, 5)], "[(1,2,3)] + ([4] * 3)"]
)
def test_arithmetic_passes(text) -> None:
    other = {"path": "__import__('os')", "name": "f(x)", "layers": {"_name": "data2vec[0]"}}  # never evaluated
    check_expressions({"model_cfg": {"conv_feature_layers": text, **other}}, "file")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"deep": {"conv_aggregator_layers": "f()"}}, "deep.conv_aggregator_layers is 'f()'"),
        ({"extractor_conv_feature_layers": "2 ** 99"}, "extractor_conv_feature_layers"),
        ({"override_encoder_layers": "[a]"}, "override_encoder_layers"),
        ({"xformers_att_config": "{}"}, "xformers_att_config"),
        ({"conv_feature_layers": "['text']"}, "conv_feature_layers"),
        ({"conv_feature_layers": "f'{1}'"}, "conv_feature_layers"),
        ({"conv_feature_layers": "[1][0]"}, "conv_feature_layers"),
        ({"conv_feature_layers": "(x := 1)"}, "conv_feature_layers"),
        ({"feat_type": "fbank.__class__"}, "feat_type is 'fbank.__class__': expected a name"),
        ({"other": b"plain"}, r"other is no plain value but b'plain' (bytes)"),
        ({"list": [[bytearray(b"x")]]}, "list is no plain value"),
        ({"other": torch.zeros(1)}, "(Tensor)"),
    ],
)
def test_anything_else_is_refused(settings, words: str) -> None:
    for content in ({"model_cfg": settings}, {"Config": {"a": [argparse.Namespace(b=settings)]}}):
        with pytest.raises(UpstreamError) as caught:
            check_expressions(content, "file")
        assert words in str(caught.value)


def test_a_structure_that_holds_itself_is_walked_once() -> None:
    loop: dict[str, Any] = {"feat_type": "fbank"}
    loop["cfg"] = [loop]
    check_expressions(loop, "file")


@pytest.mark.parametrize("name", ["distiller_local", "tera_local", "mockingjay_local"])
def test_entries_that_would_unpickle_get_no_such_file(tmp_path, name: str) -> None:
    """S3PRL reads these with ``weights_only=False``."""
    from s3prl_emotion.s3prl_runner.building import register_on_hub
    from s3prl_emotion.upstreams.resolution import resolve

    for content in (tiny.Payload(tmp_path / "executed"), {"Config": tiny.Payload(tmp_path / "executed")}):
        torch.save(content, tmp_path / "model.ckpt")
        with pytest.raises(UpstreamError, match=r"model.ckpt: refused, because .* imports os.makedirs"):
            hub_entry(register_on_hub(resolve(name, str(tmp_path / "model.ckpt"), None)).name, tmp_path / "model.ckpt")
        assert not (tmp_path / "executed").exists()


def test_configuration_files_of_s3prls_entries_are_checked(tmp_path) -> None:
    from s3prl_emotion.s3prl_runner.building import register_on_hub
    from s3prl_emotion.upstreams.resolution import resolve

    path = tmp_path / "model.yaml"
    for text in ("distiller:\n  extractor_conv_feature_layers: '__import__(1)'\n", "kaldi: {feat_type: a.b}\n"):
        path.write_text(text)
        with pytest.raises(UpstreamError, match=r"model.yaml: refused, because S3PRL evaluates"):
            register_on_hub(resolve("distiller_local", None, str(path)))
    path.write_text("x: !!python/name:os.system\n")
    with pytest.raises(UpstreamError, match=r"model.yaml: not readable as YAML or JSON with plain values"):
        register_on_hub(resolve("distiller_local", None, str(path)))
    path.write_text("kaldi: {feat_type: fbank, fbank: {num_mel_bins: 80}}\n")
    assert register_on_hub(resolve("baseline_local", None, str(path))).options[2] == str(path)


def test_a_download_is_checked_before_it_is_read(good, tmp_path, monkeypatch) -> None:
    from s3prl.util import download

    from s3prl_emotion.s3prl_runner.building import register_on_hub
    from s3prl_emotion.upstreams.resolution import resolve

    content = torch.load(good["s3prl-hubert"], weights_only=True)
    content["model_cfg"]["conv_feature_layers"] = "f()"
    torch.save(content, tmp_path / "downloaded")
    monkeypatch.setattr(download, "_urls_to_filepaths", lambda *_, **__: str(tmp_path / "downloaded"))
    with pytest.raises(UpstreamError, match=r"downloaded: refused, because S3PRL evaluates"):
        register_on_hub(resolve("hubert_url", "https://host.test/hubert.ckpt", None))


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_torch_did_not_write(tmp_path, protocol: int) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps(tiny.Payload(tmp_path / "executed"), protocol=min(protocol, pickle.HIGHEST_PROTOCOL)))
    for trusted in (False, True):
        with trusted_checkpoints(trusted), pytest.raises(UpstreamError, match=r"a pickle, which torch.save did not"):
            adapter_of(path)
    assert not (tmp_path / "executed").exists()


def test_torchs_older_format_is_read(good, tmp_path) -> None:
    content = torch.load(good["s3prl-hubert"], weights_only=True)
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert adapter_of(tmp_path / "old.pt") == "s3prl_converted"


def test_a_head_with_code_is_refused(tmp_path) -> None:
    for content in (tiny.Payload(tmp_path / "executed"), {"Step": tiny.Payload(tmp_path / "executed")}):
        torch.save(content, tmp_path / "dev-best.ckpt")
        with pytest.raises(RunError, match=r"more than tensors and plain values.*imports os.makedirs. Nothing was exe"):
            load_checkpoint(tmp_path / "dev-best.ckpt")
    assert not (tmp_path / "executed").exists()


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


@pytest.mark.parametrize("entry", ["s3prl_converted", "hubert_local", "hubert_custom"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda value: value.mul(100).to(torch.int8), "is of int8, expected floating-point numbers"),
        (lambda value: value.mul(100).to(torch.int32), "is of int32, expected floating-point numbers"),
        (lambda value: value * torch.nan, "holds values that are not finite"),
    ],
    ids=["int8", "int32", "NaN"],
)
def test_numbers_that_are_no_weights(entry, change, says, tmp_path):
    """torch would convert them, and S3PRL's models compute with whatever that gives."""
    s3prl_emotion.register()
    path = tiny.converted_hubert(tmp_path / "converted.pt")
    content = torch.load(path, weights_only=True)
    weights = {name: change(value) for name, value in content["model_weight"].items()}
    torch.save({**content, "model_weight": weights}, path)
    with pytest.raises(UpstreamError, match=says):
        build(register_on_hub(UpstreamRef.recorded(entry, str(path), None)), "cpu")
