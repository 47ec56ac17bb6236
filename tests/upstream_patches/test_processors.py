"""Two files with settings of the feature extractor: what transformers reads is checked, and they must agree."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from spoiling import EXTRACTOR, build, change
from transformers import (
    AutoFeatureExtractor,
    AutoModel,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertProcessor,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Processor,
    WhisperFeatureExtractor,
)

import s3prl_emotion
from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.upstreams.metadata import facts

PROCESSOR = "processor_config.json"
FAMILIES: dict[str, tuple[Callable[..., Any], Any]] = {
    "hubert-layer": (Wav2Vec2FeatureExtractor, Wav2Vec2Processor),
    "wavlm": (Wav2Vec2FeatureExtractor, Wav2Vec2Processor),
    "wav2vec2-bert": (SeamlessM4TFeatureExtractor, Wav2Vec2BertProcessor),
}


@pytest.fixture(scope="module", autouse=True)
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    s3prl_emotion.register()
    folder = tmp_path_factory.mktemp("good")
    return {family: tiny.make(family, folder) for family in (*FAMILIES, "whisper")}


def save_processor(family: str, folder: Path, **settings: Any) -> None:
    """What ``processor.save_pretrained`` of transformers 5 writes beside what is there."""
    extractor, processor = FAMILIES[family]
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "a": 5}))
    processor(extractor(**settings), Wav2Vec2CTCTokenizer(str(vocabulary))).save_pretrained(folder)
    assert "feature_extractor" in json.loads((folder / PROCESSOR).read_text())


def copy(good: dict[str, Path], family: str, folder: Path) -> Path:
    return Path(shutil.copytree(good[family], folder / family))


def noise() -> torch.Tensor:
    return 0.3 + 0.2 * torch.randn(16000, generator=torch.Generator().manual_seed(0))


def check_same(folder: Path) -> torch.Tensor:
    """The states are those of transformers, by the extractor that transformers reads."""
    given = AutoFeatureExtractor.from_pretrained(folder)([noise().numpy()], sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        expected = AutoModel.from_pretrained(folder).eval()(**given).last_hidden_state
        found = build(folder).eval()([noise()])["last_hidden_state"]
    assert torch.allclose(found, expected, atol=2e-5), (found - expected).abs().max()
    return found


@pytest.mark.parametrize("normalize", [True, False])
def test_settings_of_a_processor_alone(good, tmp_path, normalize: bool) -> None:
    folder = copy(good, "hubert-layer", tmp_path)
    (folder / EXTRACTOR).unlink()
    save_processor("hubert-layer", folder, do_normalize=normalize)
    found = check_same(folder)
    Wav2Vec2FeatureExtractor(do_normalize=not normalize).save_pretrained(tmp_path / "other")
    (folder / PROCESSOR).unlink()
    shutil.copy(tmp_path / "other" / EXTRACTOR, folder / EXTRACTOR)
    assert (check_same(folder) - found).abs().max() > 0.01, "the setting shows in the states"


@pytest.mark.parametrize("family", FAMILIES)
def test_two_files_that_agree(good, tmp_path, family: str) -> None:
    """An older file may lack what has a default, and name what its class does not know."""
    folder = copy(good, family, tmp_path)
    expected = check_same(folder)
    settings = {"do_normalize": True} if family != "wav2vec2-bert" else {}
    save_processor(family, folder, **settings)

    def older(content: dict[str, Any]) -> None:
        for name in ("feature_extractor_type", "return_attention_mask", "padding_side"):
            content.pop(name, None)
        content.update(processor_class="Another", image_mean=3)

    if family != "wav2vec2-bert":  # whose class is told by that file alone
        change(folder / EXTRACTOR, older)
    assert torch.equal(check_same(folder), expected)


CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "do_normalize": ("hubert-layer", {"do_normalize": False}),
    "do_normalize of a WavLM": ("wavlm", {"do_normalize": False}),
    "sampling_rate": ("hubert-layer", {"sampling_rate": 8000}),
    "feature_size": ("hubert-layer", {"feature_size": 2}),
    "padding_value": ("hubert-layer", {"padding_value": 1.0}),
    "padding_side": ("hubert-layer", {"padding_side": "left"}),
    "return_attention_mask": ("hubert-layer", {"return_attention_mask": True}),
    "num_mel_bins": ("wav2vec2-bert", {"num_mel_bins": 40}),
    "stride": ("wav2vec2-bert", {"stride": 1}),
    "n_fft": ("whisper", {"n_fft": 512}),
    "hop_length": ("whisper", {"hop_length": 320}),
    "chunk_length": ("whisper", {"chunk_length": 30}),
    "feature_size of a Whisper": ("whisper", {"feature_size": 128}),
    "dither": ("whisper", {"dither": 0.1}),
}


@pytest.mark.parametrize("nested", [True, False], ids=["in the processor", "in the older file"])
@pytest.mark.parametrize("case", CHANGES)
def test_two_files_that_disagree_are_refused(good, tmp_path, case: str, nested: bool) -> None:
    """Whichever of them has the setting that is wrong."""
    family, settings = CHANGES[case]
    folder = copy(good, family, tmp_path)
    build(folder)
    own = json.loads((folder / EXTRACTOR).read_text())
    (folder / PROCESSOR).write_text(json.dumps({"feature_extractor": {**own, **(settings if nested else {})}}))
    if not nested:
        (folder / EXTRACTOR).write_text(json.dumps({**own, **settings}))
    name, value = next(iter(settings.items()))
    for look in (build, facts):
        with pytest.raises(UpstreamError) as caught:
            look(folder)
        said = str(caught.value)
        assert said.startswith(f"{folder}: {PROCESSOR}, which transformers reads, and {EXTRACTOR} disagree: ")
        assert f"{name} is " in said
        assert f"{json.dumps(value)} in {PROCESSOR if nested else EXTRACTOR}" in said
        assert "Delete the one that the model was not trained with" in said


FAULTS: dict[str, tuple[Any, str]] = {
    "a setting is missing": ({"feature_extractor": {"sampling_rate": 16000}}, f"{PROCESSOR}: do_normalize missing"),
    "normalisation as a text": (
        {"feature_extractor": {"sampling_rate": 16000, "do_normalize": "false"}},
        f'{PROCESSOR}: do_normalize is "false", must be true or false',
    ),
    "settings that are none": ({"feature_extractor": [1]}, f"{PROCESSOR}: expected names and values, found [1]"),
    "an extractor of another kind": (
        {"feature_extractor": {"sampling_rate": 16000, "do_normalize": True, "feature_extractor_type": "Clap"}},
        PROCESSOR,
    ),
    "under the other name": ({"audio_processor": {"sampling_rate": 16000}}, f"{PROCESSOR}: do_normalize missing"),
    "code": (
        {
            "feature_extractor": {
                "sampling_rate": 16000,
                "do_normalize": True,
                "auto_map": {"AutoFeatureExtractor": "o.E"},
            }
        },
        f"{PROCESSOR}: refused, because the feature extractor is code beside it (auto_map)",
    ),
}


@pytest.mark.parametrize("beside", [True, False], ids=["beside the older file", "alone"])
@pytest.mark.parametrize("case", FAULTS)
def test_the_file_that_is_read_is_the_one_that_is_checked(good, tmp_path, case: str, beside: bool) -> None:
    content, message = FAULTS[case]
    folder = copy(good, "hubert-layer", tmp_path)
    (folder / PROCESSOR).write_text(json.dumps(content))
    if not beside:
        (folder / EXTRACTOR).unlink()
    with pytest.raises(UpstreamError) as caught:
        build(folder)
    assert message in str(caught.value)


def test_a_second_file_of_another_class_is_refused(good, tmp_path) -> None:
    folder = copy(good, "hubert-layer", tmp_path)
    own = json.loads((folder / EXTRACTOR).read_text())
    (folder / PROCESSOR).write_text(json.dumps({"feature_extractor": own}))
    change(folder / EXTRACTOR, lambda content: content.update(feature_extractor_type=WhisperFeatureExtractor.__name__))
    with pytest.raises(UpstreamError, match=r"is for a Wav2Vec2FeatureExtractor, pre.* for a WhisperFeatureExtractor"):
        build(folder)


@pytest.mark.parametrize("broken", [EXTRACTOR, PROCESSOR])
def test_a_broken_second_file_is_refused(good, tmp_path, broken: str) -> None:
    """Whether it agrees is not known."""
    folder = copy(good, "hubert-layer", tmp_path)
    own = json.loads((folder / EXTRACTOR).read_text())
    (folder / PROCESSOR).write_text(json.dumps({"feature_extractor": own}))
    (folder / broken).write_text("{")
    with pytest.raises(UpstreamError, match=broken):
        build(folder)


def test_a_processor_without_an_extractor_changes_nothing(good, tmp_path) -> None:
    """As older versions of transformers wrote it."""
    folder = copy(good, "hubert-layer", tmp_path)
    expected = check_same(folder)
    (folder / PROCESSOR).write_text('{"processor_class": "Wav2Vec2Processor"}')
    assert torch.equal(check_same(folder), expected)


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
def test_weights_are_read_as_they_are_in_the_file(good, tmp_path, name: str) -> None:
    """Whatever number format config.json names."""
    folder = copy(good, "hubert-layer", tmp_path)
    change(folder / "config.json", lambda content: (content.pop("dtype", None), content.update({name: "float16"})))
    change(folder / "config.json", lambda content: content.update(return_dict=False))
    built = build(folder)
    expected = AutoModel.from_pretrained(good["hubert-layer"], dtype=torch.float32).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in built.model.state_dict().items())
    assert len(built([noise()])["hidden_states"]) == 3
