"""Encoders: a contract over the registry, and the numbers of the libraries that they come from."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.corpora.validation import validate
from s3prl_emotion.errors import ConfigError, RunError, UpstreamError
from s3prl_emotion.pretraining.contrastive.encoders import ModuleEncoder, encoders
from s3prl_emotion.pretraining.contrastive.encoders.speakers import partials
from s3prl_emotion.s3prl_runner.cache import CacheOptions
from s3prl_emotion.s3prl_runner.registration import register

SAMPLES = (400, 8000, 16000, 40000, 52345)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Noise of several lengths, and silence."""
    folder = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    items = []
    for number, count in enumerate((*SAMPLES, 16000)):
        samples = 0.1 * rng.standard_normal(count) if number < len(SAMPLES) else np.zeros(count)
        soundfile.write(folder / f"{number}.wav", samples, 16000)
        items.append(Utterance(f"u{number}", f"{number}.wav", "x", "s"))
    manifest, _ = validate(Manifest("noise", ("x",), str(folder), tuple(items)))
    return manifest


@pytest.fixture(scope="module")
def ecapa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with random weights of SpeechBrain's network, small."""
    pytest.importorskip("speechbrain")
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("ecapa")
    network = ECAPA_TDNN(80, lin_neurons=24, channels=[16, 16, 16, 16, 48], attention_channels=8, se_channels=8)
    for module in network.modules():  # statistics that matter
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    torch.save(network.state_dict(), folder / "embedding_model.ckpt")
    return folder


@pytest.fixture
def options(ecapa: Path) -> dict[str, dict[str, Any]]:
    """What each encoder needs here; a new one needs an entry."""
    return {
        "ge2e": {},
        "ecapa": {"checkpoint": str(ecapa)},
        "upstream": {"upstream": "fbank_no_cmvn", "layer": 0},
    }


@pytest.mark.parametrize("name", encoders.names())
def test_every_encoder_gives_one_finite_vector_and_stores_it(
    name: str, options: dict[str, dict[str, Any]], speech: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "ge2e":
        pytest.importorskip("resemblyzer")
    register()
    encoder = encoders.build(name, options[name])
    store, keys = encoder.stored(speech, CacheOptions(root=tmp_path), "cpu")
    vectors = np.stack([store.read(key)[0].float().numpy() for key in keys])
    assert vectors.shape == (len(speech.utterances), 1, store.width)
    assert np.isfinite(vectors).all()
    assert len(np.unique(vectors[:-1], axis=0)) == len(SAMPLES)
    again, same = encoders.build(name, options[name]).stored(
        speech.with_utterances(speech.utterances[:2]), CacheOptions(root=tmp_path), "cpu"
    )
    assert (again.folder, same) == (store.folder, keys[:2]), "nothing is computed twice"
    assert len(again) == len(set(keys))


@pytest.mark.parametrize("samples", SAMPLES)
@pytest.mark.parametrize("level", [1e-4, 1e-2, 0.3])
def test_ge2e_is_what_resemblyzer_gives(samples: int, level: float) -> None:
    pytest.importorskip("resemblyzer")
    from resemblyzer import VoiceEncoder
    from resemblyzer.audio import normalize_volume

    register()
    waveform = level * np.random.default_rng(samples).standard_normal(samples).astype(np.float32)
    theirs = VoiceEncoder("cpu", verbose=False).embed_utterance(normalize_volume(waveform, -30, increase_only=True))
    ours = encoders.build("ge2e", {}).build()(torch.from_numpy(waveform)).detach().numpy()
    at_most = 2e-6 if level > 1e-3 else 2e-4  # the upstream keeps 1e-12 below the logarithm of the level
    np.testing.assert_allclose(ours, theirs, atol=at_most)
    assert [part.start for part in VoiceEncoder.compute_partial_slices(samples, 1.3, 0.75)[1]] == partials(samples, 160)


@pytest.mark.parametrize("samples", SAMPLES[1:])
def test_ecapa_is_what_speechbrain_gives(ecapa: Path, samples: int) -> None:
    from speechbrain.inference.speaker import EncoderClassifier
    from speechbrain.lobes.features import Fbank
    from speechbrain.processing.features import InputNormalization

    module = encoders.build("ecapa", {"checkpoint": str(ecapa)}).build().eval()
    parts = {
        "compute_features": Fbank(n_mels=80),
        "mean_var_norm": InputNormalization(norm_type="sentence", std_norm=False),
        "embedding_model": module.network,
        "classifier": nn.Identity(),
    }
    theirs = EncoderClassifier(modules=parts, hparams={"label_encoder": None}, run_opts={"device": "cpu"})
    waveform = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    with torch.no_grad():
        torch.testing.assert_close(module(waveform), theirs.encode_batch(waveform[None])[0, 0])


def test_weights_of_whole_numbers_are_refused(ecapa: Path, tmp_path: Path) -> None:
    """Those of a quantised ECAPA-TDNN say nothing without their scales."""
    weights = torch.load(ecapa / "embedding_model.ckpt", weights_only=True)
    whole = {name: value.mul(100).to(torch.int8) for name, value in weights.items()}
    torch.save(whole, tmp_path / "embedding_model.ckpt")
    with pytest.raises(UpstreamError, match=r"embedding_model\.ckpt: .*holds torch\.int8, expected torch\.float32"):
        encoders.build("ecapa", {"checkpoint": str(tmp_path)}).build()


def test_another_file_than_ecapa_s_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("speechbrain")
    with pytest.raises(UpstreamError, match=r"checkpoint .*: no embedding_model\.ckpt there, and no Hub id"):
        encoders.build("ecapa", {"checkpoint": str(tmp_path)}).build()
    torch.save({"weight": torch.zeros(3)}, tmp_path / "embedding_model.ckpt")
    with pytest.raises(UpstreamError, match=r"embedding_model\.ckpt: is no ECAPA-TDNN of SpeechBrain"):
        encoders.build("ecapa", {"checkpoint": str(tmp_path)}).build()
    (tmp_path / "embedding_model.ckpt").write_bytes(b"torn")
    with pytest.raises(UpstreamError, match=r"embedding_model\.ckpt: not readable as weights"):
        encoders.build("ecapa", {"checkpoint": str(tmp_path)}).build()


def test_what_is_not_installed_says_how(ecapa: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "speechbrain.lobes.features", None)
    with pytest.raises(UpstreamError, match=r"encoder ecapa needs SpeechBrain .*pip install 's3prl-emotion\[ecapa\]'"):
        encoders.build("ecapa", {"checkpoint": str(ecapa)}).build()
    monkeypatch.setattr("s3prl_emotion.upstreams.ge2e.find_spec", lambda name: None)
    register()
    with pytest.raises(UpstreamError, match="needs Resemblyzer: pip install Resemblyzer"):
        encoders.build("ge2e", {}).build()


def test_unknown_names_and_options_are_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown encoder 'ge2'. Did you mean 'ge2e'\?"):
        encoders.get("ge2")
    with pytest.raises(ConfigError, match=r"unknown option 'layers' of encoder 'upstream'. Did you mean 'layer'"):
        encoders.build("upstream", {"upstream": "fbank", "layers": 1})


class _Broken(nn.Module):
    """Not a number for clips of exactly 2.5 s."""

    def forward(self, waveform: Tensor) -> Tensor:
        value = waveform.square().mean().sqrt()
        return torch.stack([value, value * (torch.nan if len(waveform) == 40000 else 1)])


class _BrokenEncoder(ModuleEncoder):
    title = "broken"

    def build(self) -> nn.Module:
        return _Broken()


def test_an_utterance_without_a_finite_vector_is_named(speech: Manifest, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"encoder broken gives no finite vector for 'u3': check .*3\.wav, or leave it"):
        _BrokenEncoder().stored(speech, CacheOptions(root=tmp_path), "cpu")
    rest = speech.with_utterances(dataclasses.replace(item) for item in speech.utterances if item.id != "u3")
    store, keys = _BrokenEncoder().stored(rest, CacheOptions(root=tmp_path), "cpu")
    assert all(key in store for key in keys)


def test_an_upstream_is_known_by_its_files(tmp_path: Path) -> None:
    """Checkpoint and model configuration: either with another content is another encoder."""
    files = {name: tmp_path / name for name in ("weights.ckpt", "model.yaml")}
    for path in files.values():
        path.write_text("one")

    def known(**given: str) -> str | None:
        return encoders.build("upstream", {"upstream": "tera_local", **given}, "embed.encoder").sha256

    given = {"checkpoint": str(files["weights.ckpt"]), "model_config": str(files["model.yaml"])}
    found = [known(**given), known(checkpoint=given["checkpoint"])]
    for path in files.values():
        path.write_text("two")
        found.append(known(**given))
    assert None not in found
    assert len(set(found)) == 4
