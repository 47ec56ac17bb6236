"""Settings that come with a checkpoint: normalisation, sampling rate, architecture; each is of its type, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
from spoiling import EXTRACTOR, Fault, change, check, only

import s3prl_emotion


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    s3prl_emotion.register()
    folder = tmp_path_factory.mktemp("good")
    families = ("hubert-layer", "whisper", "torchaudio-group", "s3prl-hubert", "wavlm-file")
    return {family: tiny.make(family, folder) for family in families}


CASES: dict[str, Fault] = {
    "normalisation not given": (
        "hubert-layer",
        lambda path, _: change(path / EXTRACTOR, lambda content: content.pop("do_normalize")),
        "preprocessor_config.json: do_normalize missing. Save the model's feature extractor",
    ),
    "sampling rate not given": (
        "whisper",
        lambda path, _: change(path / EXTRACTOR, lambda content: content.pop("sampling_rate")),
        "preprocessor_config.json: sampling_rate missing. Save the model's feature extractor there: Whisper",
    ),
    "8 kHz": (
        "hubert-layer",
        lambda path, _: change(path / EXTRACTOR, lambda content: content.update(sampling_rate=8000)),
        "the feature extractor asks for 8000 Hz, expected 16000",
    ),
    "normalisation as a text": (
        "hubert-layer",
        lambda path, _: change(path / EXTRACTOR, lambda content: content.update(do_normalize="false")),
        'preprocessor_config.json: do_normalize is "false", must be true or false',
    ),
    "normalisation null": (
        "hubert-layer",
        lambda path, _: change(path / EXTRACTOR, lambda content: content.update(do_normalize=None)),
        "do_normalize is null, must be true or false",
    ),
    "sampling rate as a text": (
        "hubert-layer",
        lambda path, _: change(path / EXTRACTOR, lambda content: content.update(sampling_rate="16000")),
        'sampling_rate is "16000", must be a number: 16000',
    ),
    "a list for an extractor": (
        "hubert-layer",
        lambda path, _: (path / EXTRACTOR).write_text("[]"),
        "preprocessor_config.json: expected names and values, found []",
    ),
    "null for an extractor": (
        "hubert-layer",
        lambda path, _: (path / EXTRACTOR).write_text("null"),
        "preprocessor_config.json: expected names and values, found null",
    ),
    "code for an extractor": (
        "hubert-layer",
        lambda path, _: change(
            path / EXTRACTOR,
            lambda content: content.update(auto_map={"AutoFeatureExtractor": "own.E"}, feature_extractor_type="Own"),
        ),
        "preprocessor_config.json: refused, because the feature extractor is code beside it (auto_map)",
    ),
    "torchaudio, normalisation as a text": (
        "torchaudio-group",
        lambda path, _: path.with_name(path.name + ".yaml").write_text(
            tiny.SETTINGS.format(normalize="'false'", first="false")
        ),
        "normalize_waveform is 'false', must be true or false",
    ),
    "torchaudio, normalisation null": (
        "torchaudio-group",
        lambda path, _: path.with_name(path.name + ".yaml").write_text(
            tiny.SETTINGS.format(normalize="null", first="false")
        ),
        "normalize_waveform is None, must be true or false",
    ),
    "torchaudio, pre-norm as a text": (
        "torchaudio-group",
        lambda path, _: path.with_name(path.name + ".yaml").write_text(
            tiny.SETTINGS.format(normalize="true", first="'no'")
        ),
        "encoder_layer_norm_first is 'no', must be true or false",
    ),
    "S3PRL-converted, 8 kHz": (
        "s3prl-hubert",
        lambda path, _: change(path, lambda content: content["task_cfg"].update(sample_rate=8000)),
        "task_cfg.sample_rate is 8000, expected 16000",
    ),
    "S3PRL-converted, normalisation as a text": (
        "s3prl-hubert",
        lambda path, _: change(path, lambda content: content["task_cfg"].update(normalize="false")),
        "task_cfg.normalize is 'false', must be true or false",
    ),
    "S3PRL-converted, empty settings": (
        "s3prl-hubert",
        lambda path, _: change(path, lambda content: content.update(model_cfg={})),
        "(hubert): model_cfg is empty, expected the settings of the model",
    ),
    "S3PRL-converted, no settings": (
        "s3prl-hubert",
        lambda path, _: change(path, lambda content: content.update(task_cfg=None)),
        "(hubert): task_cfg is empty, expected the settings of the model",
    ),
    "S3PRL-converted, foreign settings": (
        "s3prl-hubert",
        lambda path, _: change(path, lambda content: content.update(task_cfg={"colour": 1})),
        "AssertionError: its settings are none that S3PRL's model has",
    ),
    "S3PRL-converted, a list for weights": (
        "s3prl-hubert",
        lambda path, _: change(path, lambda content: content.update(model_weight=[1])),
        "no known format (keys task_cfg, model_cfg, model_weight",
    ),
    "WavLM, 8 kHz": (
        "wavlm-file",
        lambda path, _: change(path, lambda content: content["cfg"].update(sample_rate=8000)),
        "cfg.sample_rate is 8000, expected 16000",
    ),
    "keys that are no texts": (
        "torchaudio-group",
        lambda path, _: only(path, {"a": 1, 2: 3}),
        "no known format (keys a, 2)",
    ),
    "torchaudio and more": (
        "torchaudio-group",
        lambda path, _: change(path, lambda content: content.update(epoch=3)),
        "expected names and tensors only, epoch is none",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_fault_is_named(good, tmp_path, case: str) -> None:
    check(CASES[case], good, tmp_path)
