"""Training on stored states is the training without a store, and needs neither audio nor upstream afterwards."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

import s3prl_emotion
from s3prl_emotion.cli import main
from s3prl_emotion.corpora.validation import validate
from s3prl_emotion.errors import ConfigError, UpstreamError
from s3prl_emotion.s3prl_runner.arguments import arguments
from s3prl_emotion.s3prl_runner.cache import CacheOptions, fingerprint, open_cache
from s3prl_emotion.s3prl_runner.checkpoints import load_checkpoint
from s3prl_emotion.s3prl_runner.selection import states


@pytest.fixture(scope="module")
def manifest(demo_manifest):
    return validate(demo_manifest)[0]


def _open(tmp_path: Path, manifest, tiny_hubert: Path, dtype: str = "float32", form: str = "frames", **changes):
    values = {"upstream": "hf_auto_custom", "upstream_ckpt": str(tiny_hubert), "device": "cpu", **changes}
    return open_cache(arguments(**values), manifest, CacheOptions(tmp_path, dtype), ("sha", None), form)


def _losses(log: Path) -> list[float]:
    return [
        float(value) for value in re.findall(r"^train at step \d+: loss ([\d.]+)", log.read_text(), flags=re.MULTILINE)
    ]


def test_stored_states_are_those_of_each_utterance_alone(tmp_path, manifest, tiny_hubert) -> None:
    s3prl_emotion.register()
    from s3prl import hub
    from s3prl.upstream.interfaces import Featurizer

    from s3prl_emotion.audio import read_audio

    cached = _open(tmp_path, manifest, tiny_hubert)
    upstream = hub.hf_auto_custom(ckpt=str(tiny_hubert)).eval()
    featurizer = Featurizer(upstream, upstream_device="cpu")
    for number in (0, 7, 79):
        utterance = manifest.utterances[number]
        waveform = torch.from_numpy(read_audio(manifest.path_of(utterance)))
        with torch.no_grad():
            expected = upstream([waveform])["hidden_states"]
            frames = len(featurizer([waveform], upstream([waveform]))[0])
        block = cached.block(torch.empty(0, number))
        assert block.shape == (3, frames, 16)
        assert torch.equal(block, torch.stack([layer[0, :frames] for layer in expected]))
        assert torch.equal(cached.block(waveform), block), "a waveform is found by its content"


def test_it_is_an_s3prl_upstream(tmp_path, manifest, tiny_hubert) -> None:
    cached = _open(tmp_path, manifest, tiny_hubert)
    assert cached.get_downsample_rates("hidden_states") == 320
    lengths = [cached.block(torch.empty(0, number)).shape[1] for number in (3, 4)]
    layers = cached.hidden_states([torch.empty(0, 3), torch.empty(0, 4)])["hidden_states"]
    assert [tuple(layer.shape) for layer in layers] == [(2, max(lengths), 16)] * 3
    unknown = torch.randn(8000)
    assert cached([unknown])["blocks"][0].shape[0] == 3


@pytest.mark.parametrize("head", ["emotion_attn_corr", "emotion_mean"])
def test_cached_and_uncached_training_are_the_same_training(run, tmp_path, tiny_hubert, head: str) -> None:
    """float32, the upstream run on each utterance alone in both: losses agree at every step (here 40) to 1e-4."""
    options = ("-u", "hf_auto_custom", "-k", str(tiny_hubert), "-d", head, "--fold", "1")
    every = "config.runner.log_step=1,,config.downstream_expert.datarc.train_batch_size=8"
    root = ("--cache-root", str(tmp_path / "cache"))
    assert run(*options, *root, "--cache-dtype", "float32", steps=40, every=20, more=every, folder=tmp_path / "a") == 0

    from s3prl_emotion.features import upstream as module

    original = module.CachedUpstream.block
    manifest = (tmp_path / "a" / "manifest.jsonl").read_text()

    def uncached(self, wav):
        from s3prl_emotion.audio import read_audio
        from s3prl_emotion.corpora import Manifest
        from s3prl_emotion.random_state import preserved_random_state

        path = tmp_path / "m.jsonl"
        path.write_text(manifest)
        corpus = Manifest.read(path)
        waveform = read_audio(corpus.path_of(corpus.utterances[wav.shape[1]]))
        with preserved_random_state():  # transformers 4 draws for layer-drop even where there is none
            return self._compute(torch.from_numpy(waveform))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.CachedUpstream, "block", uncached)
        assert (
            run(*options, *root, "--cache-dtype", "float32", steps=40, every=20, more=every, folder=tmp_path / "b") == 0
        )
    assert module.CachedUpstream.block is original
    first, second = (_losses(tmp_path / name / "fold1" / "log.log") for name in ("a", "b"))
    assert len(first) == 40
    assert max(abs(one - two) for one, two in zip(first, second, strict=True)) < 1e-4
    assert first[-1] != first[0]


def test_neither_audio_nor_a_second_extraction_is_needed(run, tmp_path, tiny_hubert, monkeypatch, capsys) -> None:
    from s3prl_emotion.downstream import data

    root = ("--cache-root", str(tmp_path / "cache"), "-u", "hf_auto_custom", "-k", str(tiny_hubert))
    monkeypatch.setattr(data.UtteranceDataset, "_waveform", lambda *_: pytest.fail("audio was decoded for training"))
    assert run(*root, "-d", "emotion_mean_std", "--fold", "1", folder=tmp_path / "a") == 0
    assert "extracting hidden states of 80 utterances" in capsys.readouterr().err
    assert run(*root, "-d", "emotion_corr", "--fold", "2", "--seed", "5", folder=tmp_path / "b") == 0
    assert "extracting" not in capsys.readouterr().err


def test_the_result_says_how_states_were_stored(run, tmp_path, capsys) -> None:
    options = ("-u", "fbank", "-d", "emotion_mean_std", "--fold", "1", "--cache-root", str(tmp_path / "cache"))
    assert run(*options) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["cache"] == "float16"
    assert load_checkpoint(tmp_path / "run" / "fold1" / "dev-best.ckpt")["Config"]["downstream_expert"]["datarc"][
        "cached"
    ]
    assert run(*options, "--no-cache") == 2
    assert "cache was 'float16' and is None" in capsys.readouterr().err
    assert not list(tmp_path.glob("result/cache"))


def test_evaluation_without_the_store_gives_the_same(run, tmp_path, tiny_hubert) -> None:
    from s3prl_emotion.runs.prediction import read_predictions

    options = ("-u", "hf_auto_custom", "-k", str(tiny_hubert), "-d", "emotion_attn_corr", "--fold", "1")
    assert run(*options, "--cache-root", str(tmp_path / "cache"), "--cache-dtype", "float32") == 0
    fold = tmp_path / "run" / "fold1"
    before, _ = read_predictions(fold / "test_predictions.csv")
    assert main(["run", "-m", "evaluate", "-e", str(fold / "dev-best.ckpt"), "--device", "cpu"]) == 0
    after, _ = read_predictions(fold / "test_predictions.csv")
    for one, two in zip(before, after, strict=True):
        assert one.utterance == two.utterance
        torch.testing.assert_close(torch.tensor(one.probabilities), torch.tensor(two.probabilities), atol=1e-4, rtol=0)


def test_s3prls_own_expert_can_use_the_store(run, tmp_path, capsys) -> None:
    """It trains on time means, is scored alike without the store, and goes on with the store when resumed."""
    root = ("--cache-root", str(tmp_path / "cache"))
    options = ("-u", "fbank_no_cmvn", "-d", "emotion", "--fold", "1", "--cache", *root)
    assert run(*options, more="config.runner.gradient_accumulate_steps=1") == 0
    (about,) = (tmp_path / "cache").glob("*/key.json")
    assert json.loads(about.read_text())["form"] == "mean"
    fold = tmp_path / "run" / "fold1"
    before = (fold / "test_fold1_predict.txt").read_text()
    assert main(["run", "-m", "evaluate", "-e", str(fold), "--device", "cpu"]) == 0
    assert (fold / "test_fold1_predict.txt").read_text() == before
    index = next((tmp_path / "cache").glob("*/index-*.jsonl"))
    index.unlink()
    capsys.readouterr()
    assert main(["run", "-e", str(fold), "-o", "config.runner.total_steps=6", "--device", "cpu", *root]) == 0
    assert "extracting hidden states of 80 utterances" in capsys.readouterr().err


def test_fine_tuning_and_a_cache_exclude_each_other(run, tmp_path, tiny_hubert, manifest, capsys) -> None:
    options = ("-u", "hf_auto_custom", "-k", str(tiny_hubert), "-d", "emotion_mean", "--fold", "1", "-f")
    assert run(*options, "--cache") == 2
    assert "--cache with -f: a trained upstream's hidden states change with every step" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no cache"):
        _open(tmp_path, manifest, tiny_hubert, upstream_trainable=True)


def test_selections_are_s3prls(tmp_path, manifest, tiny_hubert) -> None:
    assert _open(tmp_path, manifest, tiny_hubert, upstream_layer_selection=1).store.layers == 1
    last = _open(tmp_path, manifest, tiny_hubert, upstream_feature_selection="last_hidden_state")
    whole = _open(tmp_path, manifest, tiny_hubert)
    assert torch.equal(last.block(torch.empty(0, 5))[0], whole.block(torch.empty(0, 5))[-1])
    with pytest.raises(UpstreamError, match=r"-l 9: with -s hidden_states the upstream has layers 0 to 2"):
        _open(tmp_path, manifest, tiny_hubert, upstream_layer_selection=9)
    means = _open(tmp_path, manifest, tiny_hubert, form="mean")
    torch.testing.assert_close(
        means.block(torch.empty(0, 5))[:, 0], whole.block(torch.empty(0, 5)).mean(dim=1), atol=1e-6, rtol=1e-5
    )


def test_weights_are_fingerprinted() -> None:
    one, two = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    two.load_state_dict(one.state_dict())
    assert fingerprint(one) == fingerprint(two)
    two.weight.data[0, 0] += 1e-6
    assert fingerprint(one) != fingerprint(two)


def test_strange_upstreams_are_explained() -> None:
    waveform = torch.zeros(3200)

    def gives(value):
        return lambda wavs: {"hidden_states": value}

    with pytest.raises(UpstreamError, match="20 frames for 3200 samples"):
        states(gives([torch.zeros(1, 20, 4)]), waveform, selection="hidden_states", layer=None, rate=320)
    with pytest.raises(UpstreamError, match="its layers differ in shape"):
        states(
            gives([torch.zeros(1, 10, 4), torch.zeros(1, 5, 4)]),
            waveform,
            selection="hidden_states",
            layer=None,
            rate=320,
        )
    with pytest.raises(UpstreamError, match="-s x: the upstream gives y"):
        states(lambda wavs: {"y": None}, waveform, selection="x", layer=None, rate=320)


def test_cache_command(run, tmp_path, capsys) -> None:
    root = ["--cache-root", str(tmp_path / "cache")]
    assert run("-u", "fbank", "-d", "emotion_mean_std", "--fold", "1", *root) == 0
    capsys.readouterr()
    assert main(["cache", "ls", *root]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^fbank-frames-float16-\w+ +[\d.]+ MB +80 utterances", printed)
    name = printed.split()[0]
    assert main(["cache", "clear", name + "x", *root]) == 2
    assert f"Did you mean '{name}'" in capsys.readouterr().err
    assert main(["cache", "clear", name, *root]) == 0
    assert main(["cache", "ls", *root]) == 0
    assert "0 stores, 0 B" in capsys.readouterr().out
