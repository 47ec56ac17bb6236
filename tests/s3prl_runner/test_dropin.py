"""What ``-u`` finds that nobody registered: dropped folders and files, paths, Hub ids; and through the command line."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import s3prl_emotion
from s3prl_emotion.cli import main
from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.files import checkpoint_sha256
from s3prl_emotion.s3prl_runner import upstream_registry
from s3prl_emotion.s3prl_runner.building import register_on_hub
from s3prl_emotion.s3prl_runner.checkpoints import load_checkpoint
from s3prl_emotion.s3prl_runner.selection import check_upstream
from s3prl_emotion.upstreams import reference
from s3prl_emotion.upstreams.listing import upstream_rows
from s3prl_emotion.upstreams.reference import UpstreamOrigin, UpstreamRef, place_of
from s3prl_emotion.upstreams.resolution import resolve
from s3prl_emotion.upstreams.trust import trusted_checkpoints
from s3prl_emotion.upstreams.verification import verify


@pytest.fixture(autouse=True)
def registered() -> None:
    s3prl_emotion.register()


@pytest.fixture
def my_hubert(tmp_path, tiny_hubert: Path) -> Path:
    """A folder dropped into ``./upstreams``; tests run in ``tmp_path``."""
    return Path(shutil.copytree(tiny_hubert, tmp_path / "upstreams" / "my_hubert"))


def test_a_dropped_folder_is_found_by_its_name(my_hubert) -> None:
    from s3prl import hub

    found = register_on_hub(resolve("my_hubert", None, None)).options
    assert found == ("my_hubert", str(my_hubert), None)
    assert hub.my_hubert.__wrapped__ is upstream_registry.upstreams()["hf_auto_custom"]
    check_upstream(*found)
    assert "my_hubert" not in upstream_registry.upstream_names(), "no name of S3PRL's or ours"
    assert resolve("my_hubert", None, None).options == found


def test_a_path_and_other_folders(my_hubert, tmp_path, monkeypatch) -> None:
    assert resolve("./upstreams/my_hubert", None, None).options == ("my_hubert", str(my_hubert), None)
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "upstreams").rename(elsewhere)
    assert resolve("my_hubert", None, None).checkpoint is None
    monkeypatch.setenv(reference.FOLDERS, os.pathsep.join(["nowhere", str(elsewhere)]))
    assert place_of(resolve("my_hubert", None, None).checkpoint) == str(elsewhere / "my_hubert")
    with pytest.raises(UpstreamError, match=r"-u ./nowhere/x: no such file or folder"):
        resolve("./nowhere/x", None, None)


def test_s3prls_names_come_first(my_hubert, caplog) -> None:
    for name in ("hubert_base", "cpt_hubert"):
        shutil.copytree(my_hubert, my_hubert.with_name(name))
        assert resolve(name, None, None).options == (name, None, None)
        assert f"{name} is not used, the name is taken" in caplog.text
    # by its path it is found, under a name that is not that of another model
    assert resolve("upstreams/hubert_base", None, None).name == "upstreams__hubert_base"


@pytest.mark.parametrize("name", ["options", "Path", "__class__"])
def test_what_means_something_else_on_the_hub_is_not_replaced(my_hubert, tmp_path, name: str) -> None:
    """``s3prl.hub`` holds functions and classes that are no upstreams: a dropped one of that name goes by its path."""
    from s3prl import hub

    before = getattr(hub, name)
    shutil.copytree(my_hubert, my_hubert.with_name(name))
    with pytest.raises(UpstreamError, match=rf"-u {name}: upstreams/{name} cannot have that name, which means .*path"):
        resolve(name, None, None)
    with pytest.raises(ValueError, match=f"'{name}' exists in s3prl.hub already"):
        upstream_registry.register_upstream(name, "hf_auto_custom", str(my_hubert), None)
    found = register_on_hub(resolve(f"upstreams/{name}", None, None))
    assert found.name == f"upstreams__{name}"
    assert getattr(hub, name) is before
    (row,) = (row for row in upstream_rows() if row.source == f"dropped: upstreams/{name}")
    assert row.problem == f"not used: {name} is a name of S3PRL; rename it"


def test_two_of_a_name_are_an_error(my_hubert, tmp_path, monkeypatch) -> None:
    shutil.copytree(my_hubert, tmp_path / "more" / "my_hubert")
    monkeypatch.setenv(reference.FOLDERS, f"upstreams{os.pathsep}more")
    with pytest.raises(UpstreamError, match=r"two have that name: upstreams/my_hubert and more/my_hubert"):
        resolve("my_hubert", None, None)


def test_an_unknown_name_is_answered_with_dropped_ones_too(my_hubert) -> None:
    with pytest.raises(UpstreamError, match=r"-u 'my_huberd' is not an upstream .* Did you mean 'my_hubert'"):
        check_upstream(*resolve("my_huberd", None, None).options)


def test_options_that_would_be_ignored(my_hubert, tmp_path) -> None:
    (tmp_path / "x.yaml").touch()
    with pytest.raises(UpstreamError, match="-u my_hubert ignores -g"):
        resolve("my_hubert", None, "x.yaml")
    with pytest.raises(UpstreamError, match=r"-k nowhere.pt: no such file"):
        resolve("my_hubert", "nowhere.pt", None)


@pytest.mark.parametrize("name", ["", " ", ".", ".."])
def test_what_names_no_upstream(my_hubert, name: str) -> None:
    with pytest.raises(UpstreamError, match=r"names no upstream: expected a name that `s3prl-emotion ls upstreams`"):
        resolve(name, None, None)


def test_far_names_are_not_suggested() -> None:
    with pytest.raises(UpstreamError, match=r"nor one of ours\. `s3prl-emotion ls upstreams` lists all"):
        check_upstream("chgg", None, None)


def test_other_weights_in_the_architecture_of_a_dropped_folder(my_hubert, tmp_path) -> None:
    from s3prl import hub

    weights = {name: value + 1 for name, value in load_file(my_hubert / "model.safetensors").items()}
    torch.save(weights, tmp_path / "epoch3.pt")
    name, checkpoint, config = register_on_hub(resolve("my_hubert", "epoch3.pt", None)).options
    assert (name, checkpoint, config) == ("my_hubert", str(tmp_path / "epoch3.pt"), str(my_hubert))
    check_upstream(name, checkpoint, config)
    built = hub.my_hubert(ckpt=checkpoint, model_config=config, refresh=False).model.state_dict()
    key = "encoder.layers.0.attention.k_proj.weight"
    assert torch.equal(built[key], weights[key])


def _hub_cache(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hub's local cache, as a download of ``owner/name`` leaves it, and no network."""
    from huggingface_hub import constants

    model = tmp_path / "cache" / "models--owner--name"
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = model / "snapshots" / commit
    shutil.copytree(source, snapshot)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return snapshot


def test_a_hub_id(tiny_hubert, tmp_path, monkeypatch) -> None:
    snapshot = _hub_cache(tmp_path, tiny_hubert, monkeypatch)
    assert resolve("owner/name", None, None).options == ("owner__name", str(snapshot), None)
    assert place_of(resolve("hf_auto_custom", "owner/name", None).checkpoint) == str(snapshot)
    gone = str(snapshot).replace(str(tmp_path), "/other/home")
    ref = resolve("owner/name", None, None)
    source = UpstreamOrigin("owner/name", str(snapshot), revision=snapshot.name)
    assert ref == UpstreamRef("owner__name", source, typed="owner/name", adapter="hf_auto_custom")
    with trusted_checkpoints(True):
        assert resolve("owner/name", None, None) == dataclasses.replace(ref, trusted=True)
    recorded = UpstreamRef.recorded("owner__name", gone, None)
    assert recorded.checkpoint == dataclasses.replace(source, found=gone)
    assert place_of(verify(recorded).checkpoint) == str(snapshot), "found again in this cache"
    with pytest.raises(UpstreamError, match="owner/nothing: neither here nor to be had from the Hugg"):
        resolve("owner/nothing", None, None)


def test_an_upstream_that_is_gone(my_hubert, tmp_path) -> None:
    found = resolve("my_hubert", None, None).options
    shutil.move(my_hubert, tmp_path / "away")
    with pytest.raises(
        UpstreamError, match=r"upstream of this run is gone: .*/upstreams/my_hubert. Put it back there, or say with -k"
    ):
        verify(UpstreamRef.recorded(*found))


def _in_a_fresh_process(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Forget what an earlier command put on the hub."""
    from s3prl import hub

    monkeypatch.delattr(hub, name)
    upstream_registry._named.discard(name)


def test_drop_in_run_evaluate(tmp_path, demo_root, my_hubert, monkeypatch, capsys) -> None:
    """``-u my_hubert``: the folder, the results and the store carry that name; ``-e`` finds the weights by path."""
    options = ("-u", "my_hubert", "-d", "emotion_attn_corr", "--fold", "1", "--device", "cpu", "--root", "root")
    corpus = ("--corpus", "demo", "--data", str(demo_root), "--cache-root", str(tmp_path / "cache"))
    short = "config.runner.total_steps=4,,config.runner.eval_step=2,,config.runner.save_step=2"
    assert main(["run", *options, *corpus, "-o", short]) == 0
    folder = tmp_path / "root" / "my_hubert" / "emotion_attn_corr" / "demo-superb"
    results = json.loads((folder / "results.json").read_text())
    assert results["upstream"] == "my_hubert"
    assert results["checkpoint_sha256"] == checkpoint_sha256(str(my_hubert))
    stores = [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    assert any("my_hubert" in name for name in stores), stores

    _in_a_fresh_process(monkeypatch, "my_hubert")
    monkeypatch.chdir(tmp_path.parent)  # another working directory: ./upstreams is not there
    monkeypatch.setenv(reference.FOLDERS, "none")
    best = folder / "fold1" / "dev-best.ckpt"
    before = (folder / "fold1" / "predictions.csv").read_text()
    capsys.readouterr()
    assert main(["run", "-m", "evaluate", "-e", str(best), "--device", "cpu"]) == 0
    assert "test: UA" in capsys.readouterr().out
    assert (folder / "fold1" / "predictions.csv").read_text() == before
    assert (folder / "fold1" / "test_predictions.csv").is_file()


def test_a_file_and_its_settings_are_part_of_what_a_run_is(run, tmp_path, capsys) -> None:
    """A torchaudio state dict: its hash is in results.json; other settings beside it are another run."""
    from torchaudio.models import wav2vec2_model

    torch.manual_seed(0)
    convolutions = [(8, kernel, stride) for kernel, stride in zip((10, 3, 3, 3, 3, 2, 2), (5,) + (2,) * 6, strict=True)]
    model = wav2vec2_model(
        "layer_norm", convolutions, False, 16, 0.1, 16, 2, 2, 2, 0.1, 32, 0.1, 0.1, True, 0.1, aux_num_out=None
    )
    path = tmp_path / "upstreams" / "speech.pt"
    path.parent.mkdir()
    torch.save(model.state_dict(), path)
    options = ("-u", "speech", "-d", "emotion_mean_std", "--fold", "1")
    assert run(*options) == 2
    assert "a state dict does not tell normalize_waveform" in capsys.readouterr().err
    settings = path.with_name("speech.pt.yaml")
    text = "encoder_num_heads: 2\nencoder_layer_norm_first: true\nnormalize_waveform: {}\n"
    settings.write_text(text.format("true"))
    assert run(*options) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["upstream"] == "speech"
    assert results["checkpoint_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    settings.write_text(text.format("false"))
    assert run(*options) == 2
    assert "model_config_sha256 was" in capsys.readouterr().err


def test_trust_is_asked_for_on_the_command_line(run, tmp_path, my_hubert, capsys) -> None:
    """Weights in torch's format with code in them, given with -k; and again by -m evaluate."""
    marker = tmp_path / "executed"
    weights = load_file(my_hubert / "model.safetensors")
    (my_hubert / "model.safetensors").unlink()
    torch.save(weights, my_hubert / "pytorch_model.bin")
    options = ("-u", "my_hubert", "-d", "emotion_mean_std", "--fold", "1", "--no-cache")
    assert run(*options) == 0

    class Dictionary(dict):  # type: ignore[type-arg]
        def __reduce__(self):
            return _execute, (str(marker), dict(self))

    torch.save(Dictionary(weights), my_hubert / "pytorch_model.bin")
    best = ["-m", "evaluate", "-e", str(tmp_path / "run" / "fold1" / "dev-best.ckpt"), "--device", "cpu"]
    assert main(["run", *best]) == 2
    assert "another checkpoint" in capsys.readouterr().err
    record = tmp_path / "run" / "run.json"  # as if these had been the weights of the training
    about = json.loads(record.read_text())
    record.write_text(json.dumps({**about, "checkpoint_sha256": checkpoint_sha256(str(my_hubert))}))
    assert main(["run", *best]) == 2
    assert "--trust-checkpoint" in capsys.readouterr().err
    assert run(*options, folder=tmp_path / "other") == 2
    assert "test_dropin._execute. Nothing was executed" in capsys.readouterr().err
    assert not marker.exists()
    assert main(["run", *best, "--trust-checkpoint"]) == 0
    assert marker.exists()
    marker.rmdir()
    assert run(*options, "--trust-checkpoint", folder=tmp_path / "other") == 0
    assert marker.exists()
    assert "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.fixture
def short_run(run, my_hubert, tmp_path) -> Path:
    """A run on ``upstreams/my_hubert``: its fold's folder. Nothing is stored."""
    assert run("-u", "my_hubert", "-d", "emotion_mean_std", "--fold", "1", "--no-cache") == 0
    return Path(tmp_path / "run" / "fold1")


def _reweight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({name: value + 0.1 for name, value in weights.items()}, folder / "model.safetensors", {"format": "pt"})


def test_changed_weights_are_refused_with_a_checkpoint(short_run, my_hubert, demo_root, capsys) -> None:
    """Evaluate, inference and resume alike: ``run.json`` holds the SHA-256 of the training's upstream."""
    best, audio = str(short_run / "dev-best.ckpt"), str(next(demo_root.rglob("*.wav")))
    results = (short_run.parent / "results.json").read_text()
    trained_on = json.loads(results)["checkpoint_sha256"]
    modes = (
        ["-m", "evaluate", "-e", best],
        ["-m", "inference", "-e", best, "-t", audio],
        ["-e", str(short_run), "-o", "config.runner.total_steps=6"],
    )
    assert main(["run", *modes[1], "--device", "cpu"]) == 0
    _reweight(my_hubert)
    for mode in modes:
        assert main(["run", *mode, "--device", "cpu"]) == 2
        message = capsys.readouterr().err
        assert f"its SHA-256 is {checkpoint_sha256(str(my_hubert))}, the head was trained on {trained_on}" in message
    assert (short_run.parent / "results.json").read_text() == results
    assert not (short_run / "states-6.ckpt").exists()


def test_a_moved_upstream_is_named_beside_the_checkpoint(short_run, my_hubert, tmp_path, demo_root, capsys) -> None:
    best, audio = str(short_run / "dev-best.ckpt"), str(next(demo_root.rglob("*.wav")))
    assert main(["run", "-m", "evaluate", "-e", best, "--device", "cpu"]) == 0
    before = (short_run / "test_predictions.csv").read_text()
    away = Path(shutil.move(my_hubert, tmp_path / "away"))
    assert main(["run", "-m", "evaluate", "-e", best, "--device", "cpu"]) == 2
    assert "there is nothing at" in (message := capsys.readouterr().err)
    assert "give -k PATH" in message
    assert main(["run", "-m", "evaluate", "-e", best, "-k", "away", "--device", "cpu"]) == 0
    assert (short_run / "test_predictions.csv").read_text() == before
    assert main(["run", "-m", "inference", "-e", best, "-t", audio, "-k", "away", "--device", "cpu"]) == 0
    more = ["-e", str(short_run), "-o", "config.runner.total_steps=6", "--device", "cpu"]
    assert main(["run", *more, "-k", "away"]) == 0
    assert vars(load_checkpoint(short_run / "states-6.ckpt")["Args"])["upstream_ckpt"] == str(away)
    capsys.readouterr()
    assert main(["run", "-m", "evaluate", "-e", best, "-k", "away", "-g", "away", "--device", "cpu"]) == 2
    assert "-g away: the head was trained on my_hubert without -g; leave it out" in capsys.readouterr().err
    _reweight(away)
    assert main(["run", "-m", "evaluate", "-e", best, "-k", "away", "--device", "cpu"]) == 2
    assert "another checkpoint" in capsys.readouterr().err


def _execute(marker: str, content: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    os.makedirs(marker, exist_ok=True)
    return content
