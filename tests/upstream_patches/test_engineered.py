"""Engineered features against the libraries' own functions, called by hand: equal values, not near ones."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.s3prl_runner.cache import CacheOptions
from s3prl_emotion.s3prl_runner.selection import rate_of, states
from s3prl_emotion.upstream_patches.egemaps import egemaps
from s3prl_emotion.upstream_patches.functionals import compare_functionals, egemaps_functionals
from s3prl_emotion.upstream_patches.librosa_features import librosa94, prosody

LENGTHS = (400, 1600, 23456)
HOPS = {librosa94: 512, prosody: 512, egemaps: 160}


def voice(samples: int) -> np.ndarray:
    """A tone of 150 Hz with harmonics, and a little noise."""
    seconds = np.arange(samples) / 16000
    tone = sum(np.sin(2 * np.pi * 150 * order * seconds) / order for order in range(1, 6))
    return (0.2 * tone + 0.01 * np.random.default_rng(samples).standard_normal(samples)).astype(np.float32)


def features(upstream: Any, samples: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        (layer,) = upstream([torch.from_numpy(samples)])["hidden_states"]
    return layer[0].numpy()


@pytest.mark.parametrize("samples", LENGTHS)
def test_the_94_are_librosas_own(samples: int) -> None:
    librosa = pytest.importorskip("librosa")
    y = voice(samples)
    found = features(librosa94(), y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = (
            ((0, 12), librosa.feature.chroma_stft(y=y, sr=16000)),
            ((12, 72), librosa.feature.melspectrogram(y=y, sr=16000, n_mels=60)),
            ((72, 92), librosa.feature.mfcc(y=y, sr=16000, n_mfcc=20)),
            ((92, 93), librosa.feature.zero_crossing_rate(y)),
            ((93, 94), librosa.feature.spectral_centroid(y=y, sr=16000)),
        )
    assert found.shape == (1 + samples // 512, 94)
    for (first, end), expected in parts:
        assert np.array_equal(found[:, first:end], expected.T.astype(np.float32)), first


def test_prosody_is_pyins_and_hears_the_voice() -> None:
    librosa = pytest.importorskip("librosa")
    y = voice(16000)
    found = features(prosody(), y)
    f0_hz, _, voiced = librosa.pyin(y, fmin=65.0, fmax=600.0, sr=16000)
    assert np.array_equal(found[:, 0], np.nan_to_num(f0_hz, nan=0.0).astype(np.float32))
    assert np.array_equal(found[:, 1], voiced.astype(np.float32))
    assert np.array_equal(found[:, 2], librosa.feature.rms(y=y)[0])
    assert found[4:-4, 0] == pytest.approx(150, rel=0.01)
    assert features(prosody(), np.zeros(8000, np.float32)) == pytest.approx(0, abs=0.05)  # silence: none, hardly, 0


@pytest.mark.parametrize("samples", [960, 1600, 16000, 23456])
def test_egemaps_is_opensmiles_own(samples: int) -> None:
    opensmile = pytest.importorskip("opensmile")
    kinds = opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors
    expected = opensmile.Smile(*kinds).process_signal(voice(samples), 16000).to_numpy()
    found = features(egemaps(), voice(samples))
    assert np.array_equal(found[: len(expected)], expected)
    further = round(samples / 160) - 4 - len(expected)  # S3PRL lets no more than four be missing
    assert len(found) == len(expected) + max(0, further)
    assert np.array_equal(found[len(expected) :], np.repeat(expected[-1:], max(0, further), axis=0))


FUNCTIONALS = {egemaps_functionals: ("eGeMAPSv02", 88), compare_functionals: ("ComParE_2016", 6373)}


@pytest.mark.parametrize("samples", [400, 960, 16000, 23456])
@pytest.mark.parametrize("make", FUNCTIONALS, ids=lambda make: make.__name__)
def test_functionals_are_opensmiles_own(make: Any, samples: int) -> None:
    """One vector for each utterance, to the bit; shorter ones than a window are padded with zeros up to there."""
    opensmile = pytest.importorskip("opensmile")
    name, width = FUNCTIONALS[make]
    kinds = getattr(opensmile.FeatureSet, name), opensmile.FeatureLevel.Functionals
    heard = np.pad(voice(samples), (0, max(0, 960 - samples)))
    expected = opensmile.Smile(*kinds).process_signal(heard, 16000).to_numpy()
    upstream = make()
    assert expected.shape == (1, width)
    assert np.array_equal(features(upstream, voice(samples)), expected)
    rate = rate_of(upstream, "hidden_states", "x")
    given = torch.from_numpy(voice(samples))
    for form in ("frames", "mean"):
        found = states(upstream, given, selection="hidden_states", layer=None, rate=rate, form=form)
        assert np.array_equal(found[0].numpy(), expected), "the mean over one vector is the vector"


@pytest.mark.parametrize("make", HOPS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("samples", [*LENGTHS, 0], ids=["short", "0.1 s", "odd", "silence"])
def test_frames_are_as_many_as_the_rate_promises(make: Any, samples: int) -> None:
    pytest.importorskip("opensmile" if make is egemaps else "librosa")
    upstream = make()
    y = torch.from_numpy(voice(samples)) if samples else torch.zeros(16000)
    found = states(upstream, y, selection="hidden_states", layer=None, rate=rate_of(upstream, "hidden_states", "x"))
    assert 0 <= max(1, round(len(y) / HOPS[make])) - found.shape[1] <= 4
    assert bool(torch.isfinite(found).all())


def test_they_are_stored_in_float32(tmp_path: Path, demo_manifest: Manifest) -> None:
    """Float16 would round 4000.5 Hz to 4000, and energies below 6e-8 to 0."""
    pytest.importorskip("librosa")
    import dataclasses

    import s3prl_emotion
    from s3prl_emotion.corpora.validation import apply, validate
    from s3prl_emotion.features.upstream import ticket
    from s3prl_emotion.s3prl_runner.arguments import arguments
    from s3prl_emotion.s3prl_runner.cache import open_cache

    s3prl_emotion.register()
    few = dataclasses.replace(demo_manifest, utterances=demo_manifest.utterances[:2])
    few = apply(*validate(few))
    args = arguments(upstream="librosa94", device="cpu")
    cached = open_cache(args, few, CacheOptions(tmp_path, "float16"), (None, None), "frames")
    assert cached.store.dtype == torch.float32
    from s3prl_emotion.audio.preparation import WHOLE

    expected = features(librosa94(), WHOLE.waveform(few.path_of(few.utterances[1])))
    block = cached.block(ticket(1))
    assert np.array_equal(block[0].numpy(), expected[: block.shape[1]])
    statistics = open_cache(args, few, CacheOptions(tmp_path), (None, None), "mean_std").block(ticket(1))
    assert statistics.shape == (1, 2, 94)
    assert statistics[0, 0].numpy() == pytest.approx(block[0].numpy().mean(axis=0), rel=1e-5, abs=1e-6)
    assert statistics[0, 1].numpy() == pytest.approx(block[0].numpy().std(axis=0), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "command"),
    [*((make, "librosa") for make in (librosa94, prosody)), *((make, "opensmile") for make in (egemaps, *FUNCTIONALS))],
)
def test_a_missing_library_is_an_error_with_its_command(monkeypatch, make: Any, command: str) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "s3prl_emotion.upstreams.requirements.find_spec", lambda name: None if name == command else found(name)
    )
    with pytest.raises(UpstreamError, match=rf"-u {make.__name__} needs {command}.*pip install {command}"):
        make()


@pytest.mark.parametrize("make", [*HOPS, *FUNCTIONALS], ids=lambda make: make.__name__)
def test_a_checkpoint_would_be_ignored(make: Any) -> None:
    with pytest.raises(UpstreamError, match=r"reads no checkpoint: leave -k x\.pt out"):
        make("x.pt")
