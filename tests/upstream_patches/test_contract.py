"""What every family of checkpoints must keep: layers, lengths, rate, and no influence of batch mates."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn
from transformers import AutoFeatureExtractor, AutoModel

import s3prl_emotion
from s3prl_emotion.s3prl_runner import upstream_registry
from s3prl_emotion.s3prl_runner.selection import TOLERANCE_FRAMES, rate_of, states
from s3prl_emotion.upstreams.formats import adapter_of
from s3prl_emotion.upstreams.metadata import facts

FAMILIES = [*tiny.TRANSFORMERS, *tiny.FILES]


EXAMPLES = {
    "hf_auto_custom": tuple(tiny.TRANSFORMERS),
    "torchaudio_custom": tuple(name for name in tiny.FILES if name.startswith("torchaudio")),
    "s3prl_converted": tuple(name for name in tiny.FILES if not name.startswith("torchaudio")),
    "cpt_hubert": ("hubert-layer",),
    "tapt_hubert": ("hubert-group",),
    "ge2e": ("ge2e",),
    "librosa94": ("engineered",),
    "prosody": ("engineered",),
    "egemaps": ("engineered",),
    "egemaps_functionals": ("engineered",),
    "compare_functionals": ("engineered",),
    "spectrogram_16ms_4ms": ("engineered",),
}
"""Of every adapter, checkpoints that it reads; engineered features have none."""
PAIRS = [(adapter, family) for adapter, families in EXAMPLES.items() for family in families]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("families")
    s3prl_emotion.register()
    return {family: tiny.make(family, folder) for family in FAMILIES}


def build(path: Path, **options: Any) -> nn.Module:
    """What S3PRL's Runner would get."""
    from s3prl import hub

    return getattr(hub, adapter_of(path))(ckpt=str(path), model_config=None, refresh=False, **options).eval()


def example(adapter: str, family: str, folder: Path, made: dict[str, Path]) -> nn.Module:
    """An upstream that an adapter builds of a tiny checkpoint."""
    if family == "engineered":
        smile = dict.fromkeys(("egemaps", "egemaps_functionals", "compare_functionals"), "opensmile")
        pytest.importorskip({**smile, "spectrogram_16ms_4ms": "torchaudio"}.get(adapter, "librosa"))
        return upstream_registry.upstreams()[adapter]().eval()
    if family == "ge2e":
        state = {f"lstm.{name}": value for name, value in nn.LSTM(40, 256, 3).state_dict().items()}
        torch.save({"model_state": state}, folder / "ge2e.pt")
        path = folder / "ge2e.pt"
    elif adapter in ("cpt_hubert", "tapt_hubert"):
        path = Path(shutil.copytree(made[family], folder / adapter))
        stage = adapter.removesuffix("_hubert")
        (path / "pretraining.json").write_text(json.dumps({"recipe": "flea", "stage": stage}))
    else:
        path = made[family]
    return upstream_registry.upstreams()[adapter](str(path), model_config=None, refresh=False).eval()


def noise(samples: int, seed: int = 0) -> Tensor:
    """Noise whose level changes, so that a misplaced normalisation shows."""
    ramp = torch.linspace(0.1, 1.0, samples)
    return ramp * torch.randn(samples, generator=torch.Generator().manual_seed(seed)) + 0.05


def test_every_adapter_has_an_example() -> None:
    """An adapter that is added comes with a tiny checkpoint, on which the tests below run."""
    assert set(EXAMPLES) == set(upstream_registry.upstreams())


@pytest.mark.parametrize(("adapter", "family"), PAIRS)
def test_the_last_hidden_state_is_the_last_of_the_hidden_states(made, tmp_path, adapter: str, family: str) -> None:
    """What ``-s last_hidden_state`` trains on: alone, beside others of other lengths, and while it is trained."""
    upstream = example(adapter, family, tmp_path, made)
    lengths = (16000, 9000, 1600)
    for training in (False, True):
        upstream.train(training)
        for waveforms in ([noise(16000)], [noise(samples, samples) for samples in lengths]):
            output = upstream(waveforms)
            layers = output["hidden_states"]
            assert set(output) >= {"hidden_states", "last_hidden_state"}
            assert torch.equal(output["last_hidden_state"], layers[-1])
            assert all(not torch.equal(layer, layers[-1]) for layer in layers[:-1])
            assert len({layer.shape for layer in layers}) == 1
            assert layers[-1].shape[0] == len(waveforms)


@torch.no_grad()
@pytest.mark.parametrize(("adapter", "family"), PAIRS)
def test_every_adapter_keeps_the_interface(made, tmp_path, adapter: str, family: str) -> None:
    """Rate, frames, dtype; two calls agree, and the rest of a batch changes nothing; both ways of ``-s``."""
    upstream = example(adapter, family, tmp_path, made)
    rate = rate_of(upstream, "hidden_states", adapter)
    mates = upstream([noise(400, 1), noise(16000, 2), noise(23456, 3)])
    for index, (samples, seed) in enumerate(((400, 1), (16000, 2), (23456, 3))):
        waveform = noise(samples, seed)
        chosen = states(upstream, waveform, selection="hidden_states", layer=None, rate=rate)
        again = states(upstream, waveform, selection="hidden_states", layer=None, rate=rate)
        last = states(upstream, waveform, selection="last_hidden_state", layer=None, rate=rate)
        assert torch.equal(chosen, again)
        assert torch.equal(last, chosen[-1:])
        assert chosen.dtype == torch.float32
        assert bool(torch.isfinite(chosen).all())
        assert abs(chosen.shape[1] - max(1, round(samples / rate))) < TOLERANCE_FRAMES
        beside = torch.stack([layer[index, : chosen.shape[1]] for layer in mates["hidden_states"]])
        assert torch.allclose(beside, chosen, atol=2e-5), (beside - chosen).abs().max()


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_lengths_and_rate(made, family: str) -> None:
    upstream = build(made[family])
    assert upstream.get_downsample_rates("hidden_states") == 320
    for samples in (16000, 1600, 23456, 400):  # 1 s, 0.1 s, odd, the shortest that is let through
        with torch.no_grad():
            output = upstream([noise(samples)])
            chosen = states(upstream, noise(samples), selection="hidden_states", layer=None, rate=320)
        layers = output["hidden_states"]
        assert len(layers) == 3
        assert torch.equal(output["last_hidden_state"], layers[-1])
        assert len({layer.shape for layer in layers}) == 1
        assert layers[0].shape[0] == 1
        assert layers[0].shape[2] == 16
        assert 0 <= round(samples / 320) - layers[0].shape[1] <= 1 or samples == 400
        assert abs(round(samples / 320) - layers[0].shape[1]) < TOLERANCE_FRAMES
        assert chosen.shape[:1] == (3,)
        assert all(bool(torch.isfinite(layer).all()) for layer in layers)


@pytest.mark.parametrize("family", FAMILIES)
def test_batch_mates_have_no_influence(made, family: str) -> None:
    upstream = build(made[family])
    waveforms = [noise(16000), noise(9000, 1), noise(1600, 2)]
    with torch.no_grad():
        together = upstream(waveforms)["hidden_states"]
        for index, waveform in enumerate(waveforms):
            alone = upstream([waveform])["hidden_states"]
            for layer, expected in zip(together, alone, strict=True):
                found = layer[index : index + 1, : expected.shape[1]]
                assert torch.allclose(found, expected, atol=2e-5), f"{index}: {(found - expected).abs().max()}"


@pytest.mark.parametrize("family", FAMILIES)
def test_fine_tuning_reaches_every_layer(made, family: str) -> None:
    """Layer-drop is off (it is 0.5 in the files), and gradients reach the blocks; the layers stay three."""
    upstream = build(made[family]).train()
    for _ in range(4):
        layers = upstream([noise(16000), noise(9600, 1)])["hidden_states"]
        assert len(layers) == 3
    upstream.zero_grad()
    layers[-1].square().sum().backward()
    moved = [name for name, value in upstream.named_parameters() if value.grad is not None and value.grad.any()]
    assert any("layers.0." in name for name in moved)
    assert any("layers.1." in name for name in moved)


@pytest.mark.parametrize("family", FAMILIES)
def test_facts_are_those_of_the_loaded_model(made, family: str) -> None:
    found = facts(made[family])
    total = sum(parameter.numel() for parameter in build(made[family]).parameters())
    assert (found.states, found.width, found.rate_hz, found.parameters) == (3, 16, 50.0, total)


@pytest.mark.parametrize("family", tiny.TRANSFORMERS)
def test_layer_by_layer_against_transformers(made, family: str) -> None:
    folder = made[family]
    waveform = noise(16000)
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    given = extractor([waveform.numpy()], sampling_rate=16000, return_tensors="pt")
    model = AutoModel.from_pretrained(folder).eval()
    model = model.get_encoder() if family == "whisper" else model
    with torch.no_grad():
        output = model(**given, output_hidden_states=True)
        expected = (*output.hidden_states[:-1], output.last_hidden_state)  # as transformers 4 has it
        found = build(folder)([waveform])["hidden_states"]
    assert len(found) == len(expected) == 3
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert torch.allclose(ours, theirs, atol=1e-5), (ours - theirs).abs().max()
    assert all((one - other).abs().max() > 1e-3 for one, other in itertools.pairwise(expected))


@pytest.mark.parametrize("family", ["hubert-group", "hubert-layer", "wav2vec2"])
def test_torchaudio_layer_by_layer_against_transformers(made, tmp_path, family: str) -> None:
    """The same weights under torchaudio's names."""
    from torchaudio.models.wav2vec2.utils import import_huggingface_model

    folder = made[family]
    source = AutoModel.from_pretrained(folder).eval()
    path = tmp_path / "model.pt"
    torch.save(import_huggingface_model(source).state_dict(), path)
    layer = "layer" in family or family == "wav2vec2"
    text = tiny.SETTINGS.format(normalize=str(layer).lower(), first=str(layer).lower())
    (tmp_path / "model.pt.yaml").write_text(text)
    _same(build(path), build(folder))


@pytest.mark.parametrize("family", ["hubert-group", "hubert-layer", "wav2vec2"])
def test_s3prls_models_layer_by_layer_against_transformers(made, tmp_path, family: str) -> None:
    """The same weights under fairseq's names, in the form that S3PRL's conversion writes."""
    layer = family != "hubert-group"
    converted = (
        tiny.converted_wav2vec2(tmp_path / "c.pt")
        if family == "wav2vec2"
        else tiny.converted_hubert(tmp_path / "c.pt", "layer_norm" if layer else "default")
    )
    content = torch.load(converted, weights_only=True)
    content["task_cfg"]["normalize"] = layer
    source = AutoModel.from_pretrained(made[family]).state_dict()
    weights = content["model_weight"]
    renamed = {_fairseq_name(name, layer): value for name, value in source.items() if "masked_spec" not in name}
    assert set(renamed) <= set(weights), set(renamed) - set(weights)
    weights.update(renamed)
    torch.save(content, converted)
    _same(build(converted), build(made[family]))


def _same(ours: nn.Module, theirs: nn.Module) -> None:
    with torch.no_grad():
        found, expected = (model([noise(16000)])["hidden_states"] for model in (ours, theirs))
    assert len(found) == len(expected) == 3
    for index, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert torch.allclose(one, other, atol=2e-5), f"layer {index}: {(one - other).abs().max()}"


def _fairseq_name(name: str, layer: bool) -> str:
    norm = ".2.1." if layer else ".2."
    parts = (
        ("feature_projection.projection", "post_extract_proj"),
        ("feature_projection.layer_norm", "layer_norm"),
        ("pos_conv_embed.conv.parametrizations.weight.original0", "pos_conv.0.weight_g"),
        ("pos_conv_embed.conv.parametrizations.weight.original1", "pos_conv.0.weight_v"),
        ("pos_conv_embed.conv", "pos_conv.0"),
        ("feed_forward.intermediate_dense", "fc1"),
        ("feed_forward.output_dense", "fc2"),
        (".attention.", ".self_attn."),
    )
    if name.startswith("feature_extractor"):
        return name.replace(".conv.", ".0.").replace(".layer_norm.", norm)
    if name.startswith("encoder.layers") and ".layer_norm." in name:
        return name.replace(".layer_norm.", ".self_attn_layer_norm.")
    for old, new in parts:
        name = name.replace(old, new)
    return name


def test_whisper_runs_longer_audio_in_consecutive_windows(made) -> None:
    """2.5 s in windows of 1 s: the states of the windows, one after the other; 50 + 50 + 25 frames."""
    upstream = build(made["whisper"])
    waveform = noise(40000)
    with torch.no_grad():
        whole = upstream([waveform])["hidden_states"]
        parts = [upstream([waveform[start : start + 16000]])["hidden_states"] for start in (0, 16000, 32000)]
    assert [part[0].shape[1] for part in parts] == [50, 50, 25]
    for layer, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        assert torch.allclose(layer, torch.cat(pieces, dim=1), atol=1e-5)


def test_whisper_of_another_window_than_its_features(tmp_path) -> None:
    from s3prl_emotion.errors import UpstreamError

    folder = tiny.whisper(tmp_path / "w")
    tiny.WhisperFeatureExtractor(chunk_length=30).save_pretrained(folder)
    with pytest.raises(UpstreamError, match=r"gives 80 mel channels and 3000 frames, .* asks for 80 and 100"):
        build(folder)


def test_float16_checkpoints_become_float32(tmp_path) -> None:
    folder = tiny.make("hubert-layer", tmp_path)
    half = AutoModel.from_pretrained(folder).half()
    half.save_pretrained(folder)
    upstream = build(folder)
    assert {parameter.dtype for parameter in upstream.parameters()} == {torch.float32}
    assert upstream([noise(1600)])["last_hidden_state"].dtype == torch.float32


def test_a_model_in_torchs_format_and_with_a_head(tmp_path, caplog) -> None:
    """Fine-tuned models load: their prefix goes, their head is named; older files hold torch's format."""
    from transformers import HubertForSequenceClassification

    folder = tiny.make("hubert-layer", tmp_path)
    expected = build(folder)([noise(1600)])["last_hidden_state"]
    plain = AutoModel.from_pretrained(folder)
    model = HubertForSequenceClassification(plain.config)
    model.hubert.load_state_dict(plain.state_dict())
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with caplog.at_level("INFO"):
        found = build(folder)([noise(1600)])["last_hidden_state"]
    assert torch.equal(found, expected)
    assert "left out, no part of the encoder: classifier.bias, classifier.weight, projector.bias" in caplog.text


def test_other_weights_for_an_architecture(tmp_path) -> None:
    """-g gives configuration and feature extractor, -k the weights."""
    from s3prl import hub

    from s3prl_emotion.errors import UpstreamError

    folder = tiny.make("hubert-layer", tmp_path)
    weights = {name: value + 1 for name, value in AutoModel.from_pretrained(folder).state_dict().items()}
    torch.save(weights, tmp_path / "other.pt")
    upstream = hub.hf_auto_custom(ckpt=str(tmp_path / "other.pt"), model_config=str(folder))
    own = upstream.model.state_dict()
    name = "encoder.layers.0.attention.k_proj.weight"
    assert torch.equal(own[name], weights[name])
    with pytest.raises(UpstreamError, match=r"give the folder with config.json"):
        hub.hf_auto_custom(ckpt=str(tmp_path / "other.pt"))


@pytest.mark.parametrize("stage", ["cpt", "tapt"])
def test_our_pretraining_stages(tmp_path, stage: str) -> None:
    from s3prl import hub

    from s3prl_emotion.errors import UpstreamError

    folder = tiny.make("hubert-layer", tmp_path)
    own, other = (getattr(hub, f"{name}_hubert") for name in ((stage, "tapt") if stage == "cpt" else (stage, "cpt")))
    with pytest.raises(UpstreamError, match=r"pretraining.json is missing.*-u hf_auto_custom -k"):
        own(ckpt=str(folder))
    (folder / "pretraining.json").write_text(json.dumps({"recipe": "flea", "stage": stage}))
    assert len(own(ckpt=str(folder), model_config=None)([noise(1600)])["hidden_states"]) == 3
    with pytest.raises(UpstreamError, match=f"stage '{stage}' of recipe 'flea', .*use -u {stage}_hubert"):
        other(ckpt=str(folder))
    (folder / "pretraining.json").write_text(json.dumps({"recipe": "flea"}))
    with pytest.raises(UpstreamError, match=r"expected the keys recipe and stage .*hf_auto_custom"):
        own(ckpt=str(folder))


def test_normalisation_is_what_the_feature_extractor_says(tmp_path) -> None:
    """A waveform with an offset gives the same features if, and only if, waveforms are normalised."""
    for normalize in (True, False):
        folder = tiny.make("hubert-layer", tmp_path / str(normalize))
        tiny.Wav2Vec2FeatureExtractor(do_normalize=normalize).save_pretrained(folder)
        upstream = build(folder)
        with torch.no_grad():
            plain, shifted = (upstream([noise(1600) + offset])["hidden_states"][0] for offset in (0.0, 2.0))
        assert bool(torch.allclose(plain, shifted, atol=1e-4)) is normalize
