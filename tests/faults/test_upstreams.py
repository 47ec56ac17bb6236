"""Checkpoints that cannot be used, and those that want to execute code, through every way that names an upstream."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from faults.campaign import CANARY, Fault, hold, payload, table
from faults.payloads import BROKEN, MALICIOUS, Make

sys.path.insert(0, str(Path(__file__).parents[1] / "upstream_patches"))
import tiny

pytestmark = pytest.mark.slow

SHORT = "config.runner.total_steps=2,,config.runner.eval_step=1,,config.runner.save_step=1,,config.runner.log_step=1"
REST = ("-d", "emotion_mean", "--corpus", "demo", "--data", "{corpus}", "--device", "cpu", "--fold", "1")
REST = (*REST, "--cache-root", "{here}/cache", "--root", "{here}/runs", "-o", SHORT)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, tiny_hubert: Path, demo_root: Path) -> dict[str, Path]:
    """Good checkpoints to spoil, and a run on a folder of one's own."""
    from s3prl_emotion.cli import main

    folder = tmp_path_factory.mktemp("good")
    converted = tiny.make("s3prl-hubert", folder / "converted")
    torchaudio = tiny.make("torchaudio-layer", folder / "torchaudio")
    run = folder / "run"
    argv = ["run", "-u", str(tiny_hubert), "-d", "emotion_mean", "--corpus", "demo", "--data", str(demo_root)]
    argv += ["--device", "cpu", "--fold", "1", "--cache-root", str(folder / "cache"), "-p", str(run), "-o", SHORT]
    assert main(argv) == 0
    found = {"corpus": demo_root, "hubert": tiny_hubert, "converted": converted, "torchaudio": torchaudio, "run": run}
    return {**found, "audio": next(demo_root.rglob("*.wav"))}


ENTRIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "path": ("bad.pt", ("-u", "{here}/bad.pt")),
    "dropped file": ("upstreams/bad.pt", ("-u", "bad")),
    "weights of a folder": ("bad/pytorch_model.bin", ("-u", "{here}/bad")),
    "weights of a dropped folder": ("upstreams/bad/pytorch_model.bin", ("-u", "bad")),
    "weights beside a folder": ("bad.pt", ("-u", "{hubert}", "-k", "{here}/bad.pt")),
    "hf_auto_custom": ("bad/pytorch_model.bin", ("-u", "hf_auto_custom", "-k", "{here}/bad")),
    "cpt_hubert": ("bad/pytorch_model.bin", ("-u", "cpt_hubert", "-k", "{here}/bad")),
    "torchaudio_custom": ("bad.pt", ("-u", "torchaudio_custom", "-k", "{here}/bad.pt")),
    "s3prl_converted": ("bad.pt", ("-u", "s3prl_converted", "-k", "{here}/bad.pt")),
    "hubert_local": ("bad.pt", ("-u", "hubert_local", "-k", "{here}/bad.pt")),
    "wavlm_local": ("bad.pt", ("-u", "wavlm_local", "-k", "{here}/bad.pt")),
    "mockingjay_local": ("bad.pt", ("-u", "mockingjay_local", "-k", "{here}/bad.pt")),
}
"""Where the file is put, and how it is named."""


def _put(entry: str, make: Make, here: Path, hubert: Path) -> tuple[str, ...]:
    place, argv = ENTRIES[entry]
    path = here / place
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name == "pytorch_model.bin":
        for name in ("config.json", "preprocessor_config.json"):
            shutil.copy(hubert / name, path.parent / name)
        (path.parent / "pretraining.json").write_text('{"recipe": "r", "stage": "cpt"}')
    make(path)
    return ("run", *argv, *REST)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("name", MALICIOUS)
def test_code_is_not_executed(name: str, entry: str, places: dict[str, Path], tmp_path, capsys) -> None:
    fault = Fault(name, _put(entry, MALICIOUS[name], tmp_path, places["hubert"]), ("bad",))
    said = hold(fault, tmp_path, capsys, **places)
    assert "Nothing was executed" in said or "nothing was executed" in said, said


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named(name: str, entry: str, places: dict[str, Path], tmp_path, capsys) -> None:
    hold(Fault(name, _put(entry, BROKEN[name], tmp_path, places["hubert"]), ("bad",)), tmp_path, capsys, **places)


@pytest.mark.parametrize("recorded", [True, False], ids=["hash recorded", "no hash"])
@pytest.mark.parametrize("command", ["predict", "export", "evaluate", "inference", "resume"])
@pytest.mark.parametrize("name", ["code in a value", "a pickle by hand", "half of an archive", "a bomb", "text"])
def test_another_checkpoint_for_a_trained_run(
    name: str, command: str, recorded: bool, places: dict[str, Path], tmp_path, capsys
) -> None:
    run = tmp_path / "run"
    shutil.copytree(places["run"], run)
    if not recorded:
        about = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps({**about, "checkpoint_sha256": None}))
    fold, bad = str(run / "fold1" / "dev-best.ckpt"), ("-k", "{here}/bad.pt")
    source = str(run) if recorded else fold  # a fold knows the settings of its run
    argv = {
        "predict": ("predict", "--run", source, "{audio}", "--device", "cpu", *bad),
        "export": ("export", source, "--out", "{here}/out", *bad),
        "evaluate": ("run", "-m", "evaluate", "-e", fold, "--device", "cpu", *bad),
        "inference": ("run", "-m", "inference", "-e", fold, "-t", "{audio}", "--device", "cpu", *bad),
        "resume": ("run", "-e", fold, "--device", "cpu", "--cache-root", "{here}/cache", *bad),
    }[command]
    hold(
        Fault(name, argv, ("bad.pt",), lambda here: {**MALICIOUS, **BROKEN}[name](here / "bad.pt")),
        tmp_path,
        capsys,
        **places,
    )
    assert not (tmp_path / "out").exists()


def _config(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: {**content, **changes}


DEEP = "[" * 100_000 + "]" * 100_000
CONFIGS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "conv_stride 0": (_config(conv_stride=[5, 2, 2, 2, 2, 2, 0]), "conv_stride"),
    "conv_stride all 0": (_config(conv_stride=[0] * 7), "conv_stride"),
    "conv_stride negative": (_config(conv_stride=[-5, 2, 2, 2, 2, 2, 2]), "conv_stride"),
    "conv_stride empty": (_config(conv_stride=[]), "conv_stride"),
    "conv_stride a number": (_config(conv_stride=320), "conv_stride"),
    "conv_stride texts": (_config(conv_stride=["5"] * 7), "conv_stride"),
    "conv_stride huge": (_config(conv_stride=[10**9] * 7), "a second of noise"),
    "conv_kernel 0": (_config(conv_kernel=[0] * 7), "conv_kernel"),
    "conv_dim of another length": (_config(conv_dim=[8] * 6), "bad/config.json"),
    "conv_dim huge": (_config(conv_dim=[10**7] * 7), "bad/config.json"),
    "a billion layers": (_config(num_hidden_layers=10**9), "num_hidden_layers"),
    "layers without end": (_config(num_hidden_layers=10**30), "num_hidden_layers"),
    "negative layers": (_config(num_hidden_layers=-3), "num_hidden_layers"),
    "no layers": (_config(num_hidden_layers=0), "bad"),
    "layers as a text": (_config(num_hidden_layers="two"), "bad"),
    "layers null": (_config(num_hidden_layers=None), "bad"),
    "more layers than weights": (_config(num_hidden_layers=3), "missing"),
    "hidden_size huge": (_config(hidden_size=10**12), "hidden_size"),
    "hidden_size large": (_config(hidden_size=65536), "bad/config.json: asks for a model of"),
    "hidden_size 0": (_config(hidden_size=0), "bad"),
    "hidden_size negative": (_config(hidden_size=-16), "hidden_size"),
    "hidden_size NaN": (_config(hidden_size=float("nan")), "hidden_size"),
    "hidden_size a fraction": (_config(hidden_size=16.5), "bad"),
    "intermediate_size another": (_config(intermediate_size=64), "of another shape"),
    "no heads": (_config(num_attention_heads=0), "bad"),
    "heads that do not divide": (_config(num_attention_heads=3), "bad"),
    "hidden_act unknown": (_config(hidden_act="nonsense"), "nonsense"),
    "hidden_act code": (_config(hidden_act=payload("'gelu'")), "bad"),
    "feat_extract_norm unknown": (_config(feat_extract_norm="none"), "feat_extract_norm"),
    "groups that do not divide": (_config(num_conv_pos_embedding_groups=3), "bad"),
    "positions without end": (_config(num_conv_pos_embeddings=10**15), "num_conv_pos_embeddings"),
    "a table without end": (_config(max_source_positions=10**15), "max_source_positions"),
    "model_type null": (_config(model_type=None), "bad"),
    "model_type a list": (_config(model_type=["hubert"]), "bad"),
    "model_type a text model": (_config(model_type="bert"), "is no speech encoder"),
    "a lone surrogate": (_config(model_type="\ud800"), "lone surrogate"),
    "a lone surrogate in a name": (lambda content: {**content, "\udfff": 1}, "lone surrogate"),
    "code beside it": (_config(auto_map={"AutoModel": "own.C"}, model_type="own"), "auto_map"),
    "attention from the Hub": (_config(_attn_implementation="owner/kernel"), "which is not executed"),
    "attn_implementation from the Hub": (_config(attn_implementation="owner/kernel"), "which is not executed"),
    "quantised": (_config(quantization_config={"load_in_4bit": True}), "quantization_config"),
    "a list": (lambda content: [content], "expected names and values"),
    "a text": (lambda _: "config", "expected names and values"),
    "null": (lambda _: None, "expected names and values"),
    "no names": (lambda _: {}, "bad"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_config_json(name: str, places: dict[str, Path], tmp_path, capsys) -> None:
    change, says = CONFIGS[name]
    shutil.copytree(places["hubert"], tmp_path / "bad")
    path = tmp_path / "bad" / "config.json"
    (tmp_path / "bad" / "own.py").write_text(f"import os\nos.system('touch {CANARY}')\nclass C: pass\n")
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    hold(Fault(name, ("run", "-u", "{here}/bad", *REST), (says, "bad")), tmp_path, capsys, **places)


@pytest.mark.parametrize("entry", ["dropped", "hf_auto_custom", "cpt_hubert", "-g"])
@pytest.mark.parametrize("name", ["conv_stride 0", "a billion layers", "a lone surrogate", "hidden_size large"])
def test_config_json_through_other_entries(name: str, entry: str, places: dict[str, Path], tmp_path, capsys) -> None:
    change, says = CONFIGS[name]
    folder = tmp_path / ("upstreams/bad" if entry == "dropped" else "bad")
    shutil.copytree(places["hubert"], folder)
    path = folder / "config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    (folder / "pretraining.json").write_text('{"recipe": "r", "stage": "cpt"}')
    weights = str(places["hubert"] / "model.safetensors")
    argv = {
        "dropped": ("-u", "bad"),
        "-g": ("-u", "hf_auto_custom", "-k", weights, "-g", str(folder)),
    }.get(entry, ("-u", entry, "-k", str(folder)))
    hold(Fault(name, ("run", *argv, *REST), (says, "bad")), tmp_path, capsys, **places)


@table(
    *(
        Fault(
            name, ("run", "-u", "{here}/bad", *REST), ("bad", file), lambda here, f=file, c=content: _write(here, f, c)
        )
        for name, file, content in (
            ("config.json is deep", "config.json", DEEP.encode()),
            ("config.json is no JSON", "config.json", b"{"),
            ("config.json is empty", "config.json", b""),
            ("config.json is no UTF-8", "config.json", b'{"model_type": "\xff"}'),
            ("config.json is zeros", "config.json", bytes(1000)),
            ("preprocessor_config.json is no JSON", "preprocessor_config.json", b"{"),
            ("preprocessor_config.json is deep", "preprocessor_config.json", DEEP.encode()),
            ("preprocessor_config.json is a list", "preprocessor_config.json", b"[]"),
            ("preprocessor_config.json is empty", "preprocessor_config.json", b"{}"),
            ("another rate", "preprocessor_config.json", b'{"do_normalize": true, "sampling_rate": 8000}'),
            ("a rate as a text", "preprocessor_config.json", b'{"do_normalize": true, "sampling_rate": "16000"}'),
            ("normalise as a text", "preprocessor_config.json", b'{"do_normalize": "false", "sampling_rate": 16000}'),
        )
    )
)
def test_settings_of_a_folder(fault: Fault, places: dict[str, Path], tmp_path, capsys) -> None:
    shutil.copytree(places["hubert"], tmp_path / "bad")
    hold(fault, tmp_path, capsys, **places)


def _write(here: Path, file: str, content: bytes) -> None:
    (here / "bad" / file).write_bytes(content)


def _bomb() -> Any:
    nested: Any = [(8, 3, 2)] * 9
    for _ in range(9):
        nested = [nested] * 9
    return nested


SETTINGS: dict[str, Any] = {
    "a call": payload("[(8,10,5)]"),
    "a comprehension": "[x for x in ()]",
    "an attribute": "().__class__.__bases__",
    "a lambda": "(lambda: 0)()",
    "an f-string": f'f\'{{__import__("os").system("touch {CANARY}")}}\'',
    "a power": "[9**9**9]",
    "a list without end": "[(8,3,2)] * 1000000000000",
    "a product without end": "[(8,3,2)] * 9999 * 9999 * 9999",
    "a nested bomb": _bomb(),
    "a deep text": "[" * 5000 + "]" * 5000,
    "a long text": "+".join(["1"] * 100_000),
    "a walrus": f"[(a := __import__('os').system('touch {CANARY}'))]",
}


@pytest.mark.parametrize("entry", ["path", "dropped file", "s3prl_converted", "hubert_local"])
@pytest.mark.parametrize("name", SETTINGS)
def test_texts_that_s3prl_evaluates(name: str, entry: str, places: dict[str, Path], tmp_path, capsys) -> None:
    def make(path: Path) -> None:
        content = torch.load(places["converted"], weights_only=True)
        content["model_cfg"]["conv_feature_layers"] = SETTINGS[name]
        torch.save(content, path)

    fault = Fault(name, _put(entry, make, tmp_path, places["hubert"]), ("conv_feature_layers", "Nothing was executed"))
    hold(fault, tmp_path, capsys, **places)


@pytest.mark.parametrize("entry", ["path", "s3prl_converted", "hubert_local"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("encoder_layers", value) for value in (10**9, -5, 10**40)),
        *(("encoder_embed_dim", value) for value in (10**9, -16)),
        ("encoder_attention_heads", 10**12),
        ("conv_pos", 10**15),
        ("final_dim", 10**11),
    ],
)
def test_settings_that_would_fill_the_memory(
    key: str, value: int, entry: str, places: dict[str, Path], tmp_path, capsys
) -> None:
    def make(path: Path) -> None:
        content = torch.load(places["converted"], weights_only=True)
        content["model_cfg"][key] = value
        torch.save(content, path)

    hold(Fault(key, _put(entry, make, tmp_path, places["hubert"]), (key, "bad.pt")), tmp_path, capsys, **places)


YAMLS = {
    "a tag": f"!!python/object/apply:os.system ['touch {CANARY}']",
    "a tag in a value": f"normalize_waveform: !!python/object/apply:os.system ['touch {CANARY}']",
    "a list": "- 1",
    "a text": "normalise",
    "a tab": "\tnormalize_waveform: true",
    "an unknown name": "normalise_waveform: true",
    "a switch as a text": "normalize_waveform: 'false'",
    "no heads": "normalize_waveform: true\nencoder_num_heads: 0\nencoder_layer_norm_first: true",
    "heads as a text": "normalize_waveform: true\nencoder_num_heads: two\nencoder_layer_norm_first: true",
    "strides of 0": "normalize_waveform: true\nencoder_num_heads: 2\nencoder_layer_norm_first: true\n"
    "extractor_strides: [0, 0, 0, 0, 0, 0, 0]",
    "deep": DEEP,
}


@pytest.mark.parametrize("name", YAMLS)
def test_settings_beside_torchaudios_file(name: str, places: dict[str, Path], tmp_path, capsys) -> None:
    shutil.copy(places["torchaudio"], tmp_path / "bad.pth")
    (tmp_path / "bad.pth.yaml").write_text(YAMLS[name])
    hold(Fault(name, ("run", "-u", "{here}/bad.pth", *REST), ("bad.pth",)), tmp_path, capsys, **places)


@table(
    Fault("a misspelt name", ("run", "-u", "fbnak", *REST), ("Did you mean 'fbank'",)),
    Fault("a misspelt name in a sweep", ("sweep", "-u", "fbank,hubert_bas", *REST), ("Did you mean 'hubert_base'",)),
    Fault("no such path", ("run", "-u", "{here}/nothing", *REST), ("no such file or folder",)),
    Fault("a null character", ("run", "-u", "a\0b", *REST), ("is not an upstream",)),
    Fault("a name too long", ("run", "-u", "a" * 5000, *REST), ("is not an upstream",)),
    Fault("an empty name", ("run", "-u", "", *REST), ("names no upstream",)),
    Fault(
        "fbank reads no checkpoint", ("run", "-u", "fbank", "-k", "{here}/x.safetensors", *REST), ("fbank ignores -k",)
    ),
    Fault(
        "fbank reads no checkpoint that is there",
        ("run", "-u", "fbank", "-k", "{hubert}/model.safetensors", *REST),
        ("fbank ignores -k",),
    ),
    Fault(
        "fbank reads no settings", ("run", "-u", "fbank", "-g", "{hubert}/config.json", *REST), ("fbank ignores -g",)
    ),
    Fault(
        "a folder for a file", ("run", "-u", "hubert_local", "-k", "{hubert}", *REST), ("a folder, -u hubert_local",)
    ),
    Fault("a folder for settings", ("run", "-u", "baseline_local", "-g", "{hubert}", *REST), ("a folder",)),
    Fault("settings that are not there", ("run", "-u", "baseline_local", "-g", "{here}/no", *REST), ("no such file",)),
    Fault("a checkpoint that is not there", ("run", "-u", "hubert_local", "-k", "{here}/no", *REST), ("no such file",)),
    Fault("no checkpoint", ("run", "-u", "hubert_local", *REST), ("needs a checkpoint",)),
    Fault(
        "a name that means something else on the hub",
        ("run", "-u", "options", *REST),
        ("upstreams/options cannot have that name",),
        lambda here: (here / "upstreams" / "options").mkdir(parents=True),
    ),
    Fault("-l beyond", ("run", "-u", "{hubert}", "-l", "9", *REST), ("layers 0 to 2",)),
    Fault("-s of another", ("run", "-u", "{hubert}", "-s", "nonsense", *REST), ("the upstream gives hidden_states",)),
    Fault("-s of another, no cache", ("run", "-u", "{hubert}", "-s", "x", "--no-cache", *REST), ("-s x",)),
)
def test_names_and_options(fault: Fault, places: dict[str, Path], tmp_path, capsys) -> None:
    hold(fault, tmp_path, capsys, **places)


COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run", *REST),
    "run, no cache": ("run", *REST, "--no-cache"),
    "run, trained": ("run", *REST, "-f"),
    "sweep": ("sweep", *REST),
    "classical": ("classical", "--corpus", "demo", "--data", "{corpus}", "--root", "{here}/runs"),
    "pretrain": ("pretrain", "contrastive", "--speech", "demo={corpus}", "--root", "{here}/pretrained"),
}
PLACES = {
    "a file's address": "file://{here}/bad.pt",
    "another spelling": "FILE://{here}/bad.pt",
    "after a blank": " file://{here}/bad.pt",
    "one stroke": "file:{here}/bad.pt",
    "in brackets": "<URL:file://{here}/bad.pt>",
    "urllib's own": "local_file://{here}/bad.pt",
    "data": "data:application/octet-stream;base64,gAJ9Lg==",
    "ftp": "ftp://127.0.0.1:1/bad.pt",
    "no host": "http:///{here}/bad.pt",
    "a path": "{here}/bad.pt",
}


@table(
    *(
        Fault(f"{command}: {entry}: {place}", (*COMMANDS[command], "-u", entry, "-k", text), (f"-u {entry} downloads",))
        for command in COMMANDS
        for entry in (("mockingjay_url", "distiller_url") if command == "run" else ("mockingjay_url",))
        for place, text in PLACES.items()
    )
)
def test_where_an_entry_that_downloads_is_led(fault: Fault, places: dict[str, Path], tmp_path, capsys) -> None:
    MALICIOUS["code in a value"](tmp_path / "bad.pt")
    hold(fault, tmp_path, capsys, **places)


@pytest.mark.parametrize(
    "name", ["mockingjay_url", "distiller_url", "mockingjay_local", "hubert_custom", "wavlm_local"]
)
@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("text", ["file://{here}/bad.pt", "{here}/bad.pt", "bad.pt", "http://127.0.0.1:1/bad.pt"])
def test_the_json_of_an_export_makes_s3prl_read_nothing(
    name: str, text: str, trusted: bool, places: dict[str, Path], tmp_path, capsys
) -> None:
    from s3prl_emotion.cli import main

    assert main(["export", str(places["run"]), "--out", str(tmp_path / "head"), "--device", "cpu"]) == 0
    path = tmp_path / "head" / "config.json"
    content = json.loads(path.read_text())
    content["upstream"] |= {"name": name, "checkpoint": text.format(here=tmp_path), "checkpoint_sha256": None}
    path.write_text(json.dumps(content))
    if not trusted:
        MALICIOUS["code in a value"](tmp_path / "bad.pt")
    argv = (
        "predict",
        "--run",
        "{here}/head",
        "{audio}",
        "--device",
        "cpu",
        *(["--trust-checkpoint"] if trusted else []),
    )
    says: tuple[str, ...] = ("it is not read", "name it with -k, or add --trust-checkpoint")
    if trusted:
        is_fetched = text.startswith("http") and not name.endswith("_local")
        says = ("cannot be downloaded",) if is_fetched else ("-k ",)
    hold(Fault(name, argv, says), tmp_path, capsys, **places)


def _state(places: dict[str, Path]) -> dict[str, Any]:
    return dict(load_file(places["hubert"] / "model.safetensors"))


def _poisoned(state: dict[str, Any]) -> dict[str, Any]:
    name = next(name for name in sorted(state) if name.endswith("layer_norm.weight"))
    return {**state, name: torch.full_like(state[name], float("nan"))}


@pytest.mark.parametrize(
    "argv",
    [
        ("run", "-u", "{here}/bad", *REST),
        ("run", "-u", "hf_auto_custom", "-k", "{here}/bad", *REST),
        ("run", "-u", "{hubert}", "-k", "{here}/bad/model.safetensors", *REST),
        ("pretrain", "flea", "--demo", "-u", "{here}/bad", "-p", "{here}/flea", "--cache-root", "{here}/cache"),
    ],
    ids=["path", "hf_auto_custom", "weights beside a folder", "base of FLEA"],
)
def test_weights_that_are_not_finite(argv: tuple[str, ...], places: dict[str, Path], tmp_path, capsys) -> None:
    """Named as the user named them, with the tensor."""
    shutil.copytree(places["hubert"], tmp_path / "bad")
    save_file(_poisoned(_state(places)), tmp_path / "bad" / "model.safetensors")
    said = hold(Fault("NaN", argv, (f"{tmp_path}/bad", "layer_norm.weight holds values")), tmp_path, capsys, **places)
    assert "hf_auto_custom" not in said.rpartition("error: ")[2]


FOLDERS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "an adapter beside it": (
        lambda bad: (bad / "adapter_config.json").write_text("{}"),
        ("adapter_config.json is an adapter (peft)", "merge_and_unload()"),
    ),
    "settings that disagree": (
        lambda bad: (bad / "processor_config.json").write_text(
            '{"feature_extractor": {"sampling_rate": 16000, "do_normalize": true, "padding_value": 3.0}}'
        ),
        ("processor_config.json, which transformers reads, and preprocessor_config.json disagree", "padding_value"),
    ),
    "a deep processor": (
        lambda bad: (bad / "processor_config.json").write_text('{"feature_extractor": ' + DEEP + "}"),
        ("processor_config.json",),
    ),
    "a SpeechT5": (
        lambda bad: (bad / "config.json").write_text('{"model_type": "speecht5"}'),
        ("'speecht5' is no speech encoder",),
    ),
}


@pytest.mark.parametrize("entry", ["path", "dropped", "hf_auto_custom"])
@pytest.mark.parametrize("name", FOLDERS)
def test_what_lies_in_a_folder(name: str, entry: str, places: dict[str, Path], tmp_path, capsys) -> None:
    change, says = FOLDERS[name]
    folder = tmp_path / ("upstreams/bad" if entry == "dropped" else "bad")
    shutil.copytree(places["hubert"], folder)
    change(folder)
    argv = {"dropped": ("-u", "bad"), "path": ("-u", str(folder))}.get(
        entry, ("-u", "hf_auto_custom", "-k", str(folder))
    )
    hold(Fault(name, ("run", *argv, *REST), (*says, "bad")), tmp_path, capsys, **places)


@pytest.mark.parametrize("form", ["module.", "backbone.", "Lightning"])
def test_a_trainings_checkpoint_runs(form: str, places: dict[str, Path], tmp_path, capsys) -> None:
    """Beside the folder that it was trained from, with a head of its own."""
    prefix = "model.encoder." if form == "Lightning" else form
    state = {f"{prefix}{name}": value for name, value in _state(places).items()} | {"model.fc.weight": torch.zeros(4)}
    content = {"epoch": 1, "state_dict": state, "callbacks": {}} if form == "Lightning" else state
    torch.save(content, tmp_path / "mine.ckpt")
    argv = ("run", "-u", "{hubert}", "-k", "{here}/mine.ckpt", *REST)
    hold(Fault(form, argv, (), status=0), tmp_path, capsys, **places)
