"""Every type of audio model of transformers: it works as transformers computes it, or is refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import transformers
from spoiling import build
from transformers import AutoFeatureExtractor, AutoModel, SEWConfig, SEWDConfig, SEWDModel, SEWModel
from transformers.models.auto import modeling_auto
from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES

import s3prl_emotion
from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.upstreams.metadata import facts
from s3prl_emotion.upstreams.transformers import _EXTRACTORS, WAVEFORM_KINDS

_SEW = {"feat_extract_norm": "layer", "conv_dim": (8,) * 13, "max_position_embeddings": 64}
WORKING = {
    "hubert": tiny.TRANSFORMERS["hubert-layer"],
    "wav2vec2": tiny.TRANSFORMERS["wav2vec2"],
    "wavlm": tiny.TRANSFORMERS["wavlm"],
    "data2vec-audio": tiny.TRANSFORMERS["data2vec-audio"],
    "unispeech": tiny._waveform(transformers.UniSpeechModel, transformers.UniSpeechConfig, True),
    "unispeech-sat": tiny.TRANSFORMERS["unispeech-sat"],
    "wav2vec2-conformer": tiny.TRANSFORMERS["wav2vec2-conformer"],
    "sew": tiny._waveform(SEWModel, SEWConfig, True, **_SEW),
    "sew-d": tiny._waveform(SEWDModel, SEWDConfig, True, **_SEW),
    "whisper": tiny.whisper,
    "wav2vec2-bert": tiny.wav2vec2_bert,
}
"""Types that work; every other one is refused."""
FAMILIES = ("AUDIO", "CTC", "SPEECH", "XVECTOR", "WAVEFORM", "SPECTROGRAM", "VOCODER")
AUDIO = {
    *FEATURE_EXTRACTOR_MAPPING_NAMES,
    *(
        kind
        for name in dir(modeling_auto)
        if name.endswith("MAPPING_NAMES") and any(part in name for part in FAMILIES)
        for kind in getattr(modeling_auto, name)
    ),
    *("speecht5_hifigan", "fastspeech2_conformer_hifigan", "univnet", "encodec", "mimi", "dac", "clap", "vits", "bark"),
    *("musicgen", "seamless_m4t", "moonshine", "audio-spectrogram-transformer", "mctct", "omniasr_audio"),
}
"""Types that transformers has a class for audio for, vocoders and codecs among them."""


@pytest.fixture(scope="module", autouse=True)
def _registered() -> None:
    s3prl_emotion.register()


def test_the_table_is_whole() -> None:
    assert set(WORKING) == {*WAVEFORM_KINDS, *_EXTRACTORS}
    assert set(WORKING) <= AUDIO
    assert len(AUDIO) > 50


@pytest.mark.parametrize("kind", sorted(WORKING))
def test_it_works_as_transformers_computes_it(tmp_path, kind: str) -> None:
    folder = WORKING[kind](tmp_path / kind)
    waveform = torch.randn(16000, generator=torch.Generator().manual_seed(0))
    given = AutoFeatureExtractor.from_pretrained(folder)([waveform.numpy()], sampling_rate=16000, return_tensors="pt")
    model = AutoModel.from_pretrained(folder).eval()
    model = model.get_encoder() if kind == "whisper" else model
    with torch.no_grad():
        output = model(**given, output_hidden_states=True)
        found = build(folder).eval()([waveform])["hidden_states"]
    last = output.hidden_states[-1] if kind.startswith("sew") else output.last_hidden_state  # of another rate
    expected = (*output.hidden_states[:-1], last)
    assert len(found) == len(expected) == 3
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=2e-5), (ours - theirs).abs().max()


@pytest.mark.parametrize("kind", sorted(AUDIO - set(WORKING)))
def test_it_is_refused_in_a_sentence(tmp_path, kind: str) -> None:
    """Before weights are looked for."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    tiny.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    for look in (build, facts):
        with pytest.raises(UpstreamError) as caught:
            look(folder)
        said = str(caught.value)
        assert said.startswith(str(folder))
        known = f"{kind!r} is no speech encoder with hidden states that is known here. Known: encoders of waveforms"
        assert known in said or "config.json: " in said, said
        assert "\n" not in said


def _speecht5(kind: str, folder: Path) -> Path:
    small: dict[str, Any] = {
        **{"hidden_size": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32},
        **{"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "vocab_size": 12},
        **{"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2},
    }
    torch.manual_seed(0)
    model = getattr(transformers, kind)(transformers.SpeechT5Config(**small))
    return tiny.save(model, transformers.SpeechT5FeatureExtractor(do_normalize=True), folder)


@pytest.mark.parametrize(
    "kind", ["SpeechT5Model", "SpeechT5ForSpeechToText", "SpeechT5ForTextToSpeech", "SpeechT5ForSpeechToSpeech"]
)
def test_a_whole_speecht5_is_refused(tmp_path, kind: str) -> None:
    """Its bare model has no part that reads a waveform, and a decoder that asks for its own input."""
    folder = _speecht5(kind, tmp_path / "speecht5")
    for look in (build, facts):
        with pytest.raises(UpstreamError, match=r"'speecht5' is no speech encoder .* Known: .*hubert.*whisper"):
            look(folder)


def test_a_whole_vocoder_is_refused(tmp_path) -> None:
    folder = tmp_path / "hifigan"
    config = transformers.SpeechT5HifiGanConfig(upsample_initial_channel=16)
    tiny.save(transformers.SpeechT5HifiGan(config), tiny.Wav2Vec2FeatureExtractor(do_normalize=True), folder)
    with pytest.raises(UpstreamError, match=r"is no speech encoder|config\.json: "):
        build(folder)
