"""One way from a recording to what a model hears: training, extraction, export and prediction get the same samples."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from s3prl_emotion.audio import AudioError, as_waveform, read_segment, waveform_key
from s3prl_emotion.audio.preparation import MIN_SAMPLES, WHOLE, Preparation
from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.corpora.validation import trim_zeros, validate
from s3prl_emotion.downstream.data import UtteranceDataset
from s3prl_emotion.downstream.expert import DownstreamExpert
from s3prl_emotion.s3prl_runner import cache, stock

FORMATS = {
    "16 kHz": (16_000, 1, "wav", "PCM_16"),
    "stereo at 44.1 kHz": (44_100, 2, "wav", "PCM_24"),
    "8 kHz": (8_000, 1, "flac", "PCM_16"),
    "24414 Hz, by scipy": (24_414, 3, "wav", "FLOAT"),
    "96 kHz": (96_000, 1, "wav", "DOUBLE"),
    "Ogg Vorbis": (22_050, 2, "ogg", "VORBIS"),
    "MP3": (44_100, 1, "mp3", "MPEG_LAYER_III"),
    "A-law": (8_000, 1, "wav", "ALAW"),
}
OPTIONS = [*itertools.product((None, 0.025, 0.2), (False, True))]


def recording(folder: Path, name: str) -> Path:
    """Half a second of noise between 0.1 s and 0.15 s of digital zeros."""
    rate, channels, ending, subtype = FORMATS[name]
    noise = np.random.default_rng(0).uniform(-0.4, 0.4, (rate // 2, channels))
    silence = [np.zeros((round(rate * seconds), channels)) for seconds in (0.1, 0.15)]
    path = folder / f"a.{ending}"
    soundfile.write(path, np.concatenate([silence[0], noise, silence[1]]), rate, subtype=subtype)
    return path


def prepared_manifest(path: Path, trim: bool) -> Manifest:
    """As the command ``prepare`` makes it."""
    manifest = Manifest("mine", ("neu",), str(path.parent), (Utterance("a", path.name, "neu", "s"),))
    manifest, _ = validate(manifest)
    return trim_zeros(manifest) if trim else manifest


def as_it_was(path: Path, max_duration_s: float | None, trim: bool) -> np.ndarray:
    """What earlier versions computed, step by step."""
    stored, rate = read_segment(path)
    if trim and stored.any():
        sounding = np.flatnonzero(stored.any(axis=1))
        stored = stored[sounding[0] : sounding[-1] + 1]
    samples = as_waveform(stored, rate)
    return samples if max_duration_s is None else samples[: round(max_duration_s * 16_000)]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("max_duration_s", "trim"), OPTIONS)
def test_training_and_prediction_hear_the_same(name: str, max_duration_s: float | None, trim: bool, tmp_path) -> None:
    path = recording(tmp_path, name)
    manifest = prepared_manifest(path, trim)
    in_training = Preparation(max_duration_s)
    trained = UtteranceDataset(manifest, ["a"], in_training)[0][0]
    predicted = Preparation(max_duration_s, trim).prepare(path)

    assert predicted.samples.dtype == np.float32
    np.testing.assert_array_equal(predicted.samples, as_it_was(path, max_duration_s, trim))
    np.testing.assert_array_equal(trained, predicted.samples)
    np.testing.assert_array_equal(cache._utterance(manifest, 0, in_training).read(), predicted.samples)
    assert cache._utterance(manifest, 0, in_training).key == waveform_key(predicted.samples)

    utterance = manifest.utterances[0]
    assert predicted.start_s == pytest.approx(utterance.start_s or 0.0)
    assert predicted.duration_s == pytest.approx(soundfile.info(path).duration)
    if FORMATS[name][3] in ("PCM_16", "PCM_24", "FLOAT", "DOUBLE"):  # others do not keep exact zeros everywhere
        assert predicted.start_s == pytest.approx(0.1 if trim else 0.0, abs=1e-3)


@pytest.mark.parametrize("name", FORMATS)
def test_s3prls_expert_hears_the_same(name: str, tmp_path) -> None:
    path = recording(tmp_path, name)
    manifest = prepared_manifest(path, trim=True)
    copy = stock._whole_file(manifest, manifest.utterances[0], tmp_path / "stock")
    np.testing.assert_array_equal(WHOLE.waveform(copy), Preparation(trim_zeros=True).waveform(path))


def test_the_runners_inference_hears_what_training_hears(tmp_path) -> None:
    path = recording(tmp_path, "stereo at 44.1 kHz")
    expert = argparse.Namespace(preparation=Preparation(0.2))
    waveform = DownstreamExpert.load_audio(expert, path)  # type: ignore[arg-type]
    assert torch.equal(waveform, torch.from_numpy(as_it_was(path, 0.2, False)))


def test_an_array_is_a_file_at_16_khz(tmp_path) -> None:
    path = recording(tmp_path, "16 kHz")
    stored, _ = read_segment(path)
    for max_duration_s, trim in OPTIONS:
        preparation = Preparation(max_duration_s, trim)
        of_file, of_array = preparation.prepare(path), preparation.of_array(stored[:, 0])
        np.testing.assert_array_equal(of_array.samples, of_file.samples)
        assert (of_array.start_s, of_array.duration_s) == (of_file.start_s, of_file.duration_s)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100])
def test_what_is_too_short_is_refused_everywhere(rate: int, tmp_path) -> None:
    least = (MIN_SAMPLES - 1) * rate // 16_000 + 1
    for count, is_enough in ((least, True), (least - 1, False)):
        path = tmp_path / f"{count}.wav"
        soundfile.write(path, np.full(count, 0.25), rate, subtype="FLOAT")
        manifest = Manifest("mine", ("neu",), str(tmp_path), (Utterance("a", path.name, "neu", "s"),))
        _, problems = validate(manifest)
        assert ("short" not in [item.kind for item in problems]) == is_enough
        if is_enough:
            assert len(WHOLE.waveform(path)) == MIN_SAMPLES
            continue
        for read in (WHOLE.waveform, lambda _, manifest=manifest: UtteranceDataset(manifest, ["a"])[0]):
            with pytest.raises(AudioError, match=r"samples at 16 kHz; at least 400 \(25 ms\) are needed") as caught:
                read(path)
            assert caught.value.kind == "short"
            assert str(path) in str(caught.value)


def test_what_sounds_for_less_than_a_frame_is_not_trimmed(tmp_path) -> None:
    """Neither in training nor in prediction: what would be left is too short for any upstream."""
    click = np.zeros(8000)
    click[4000:4100] = 0.5
    for name, samples in (("click", click), ("silent", np.zeros(8000))):
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, samples, 16_000)
        manifest = prepared_manifest(path, trim=True)
        assert manifest.utterances[0].start_s is None
        trained = UtteranceDataset(manifest, ["a"])[0][0]
        np.testing.assert_array_equal(trained, Preparation(trim_zeros=True).waveform(path))
        assert len(trained) == 8000
