"""The demo corpus: the same every time, in IEMOCAP's layout, neither trivial nor hopeless."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter, defaultdict

import numpy as np
import pytest
import soundfile

from s3prl_emotion.audio import read_audio
from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora._synthesis import Prosody, Voice, phones, synthesise
from s3prl_emotion.corpora.demo import MARKER, TEXTS, make_demo_corpus
from s3prl_emotion.errors import CorpusError


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_bytes_twice_and_other_bytes_for_another_seed(tmp_path):
    first = digests(make_demo_corpus(tmp_path / "a", 1))
    assert digests(make_demo_corpus(tmp_path / "b", 1)) == first
    other = digests(make_demo_corpus(tmp_path / "c", 1, seed=1))
    wavs = [name for name in first if name.endswith(".wav")]
    assert len(wavs) == 40
    assert not any(other.get(name) == first[name] for name in wavs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_complete_corpus_is_kept_and_another_is_made_again(tmp_path):
    folder = make_demo_corpus(tmp_path / "a", 1)
    marker = folder / MARKER
    stamp = marker.stat().st_mtime_ns
    make_demo_corpus(folder, 1)
    assert marker.stat().st_mtime_ns == stamp
    make_demo_corpus(folder, 1, seed=2)
    assert json.loads(marker.read_text())["seed"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(CorpusError, match="mine: exists and is not a demo corpus"):
        make_demo_corpus(tmp_path / "mine", 1)
    with pytest.raises(ValueError, match="at least 1 utterance, found 0"):
        make_demo_corpus(tmp_path / "new", 0)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_the_real_reader_reads_it(demo_root, demo_manifest, caplog):
    with caplog.at_level(logging.WARNING):
        assert corpora.get("demo").read(demo_root) == demo_manifest
    assert not caplog.records, "the demo is not measured against IEMOCAP's counts"
    real = corpora.get("iemocap").read(demo_root)
    assert real.utterances == demo_manifest.utterances
    assert demo_manifest.counts() == {"neu": 20, "hap": 20, "ang": 20, "sad": 20}
    assert Counter(u.fold for u in demo_manifest.utterances) == dict.fromkeys(range(1, 6), 16)
    assert len(demo_manifest.speakers) == 10
    info = soundfile.info(str(demo_manifest.path_of(demo_manifest.utterances[0])))
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")


def test_texts_say_nothing_about_the_emotion(demo_manifest):
    labels = defaultdict(Counter)
    for item in demo_manifest.utterances:
        labels[item.text][item.label] += 1
    assert set(labels) <= set(TEXTS)
    for text, counts in labels.items():
        assert len(set(counts.values())) == 1, text
        assert len(counts) == 4, text


def log_bands(samples, bands=24):
    frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::160] * np.hanning(400)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2
    edges = np.unique(np.geomspace(3, 257, bands + 1).astype(int))
    return np.log(np.add.reduceat(power, edges[:-1], axis=1) + 1e-9)


def test_emotions_are_learnable_across_speakers_and_overlap(demo_manifest):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import recall_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    bands = [log_bands(read_audio(demo_manifest.path_of(u))) for u in demo_manifest.utterances]
    x = np.array([np.r_[item.mean(axis=0), item.std(axis=0)] for item in bands])
    y = np.array([u.label for u in demo_manifest.utterances])
    session = np.array([u.fold for u in demo_manifest.utterances])
    predicted = np.empty_like(y)
    for fold in range(1, 6):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        model.fit(x[session != fold], y[session != fold])
        predicted[session == fold] = model.predict(x[session == fold])
    ua = recall_score(y, predicted, average="macro")
    print(f"leave-one-session-out UA {ua:.3f}")
    assert 0.45 < ua < 0.97


def test_phones():
    assert phones("The lamp, next.") == [["th", "e"], ["l", "a", "m", "p"], ["n", "e", "k", "s", "t"]]
    assert phones("gate yellow") == [["g", "a", "t"], ["y", "e", "l", "o", "w"]]


def test_prosody_is_what_was_asked_for():
    voice = Voice(f0_hz=120, tract_scale=1.0, gain_db=0, tilt_db_per_octave=0, rate=1.0)

    def speak(**manner):
        return synthesise("my mother may marry now", voice, Prosody(**manner), np.random.default_rng(0))

    plain, loud, fast = speak(), speak(energy_db=6.0), speak(rate=1.5)
    assert plain.dtype == np.float32
    assert 20 * np.log10(np.std(loud) / np.std(plain)) == pytest.approx(6, abs=0.5)
    assert len(fast) < 0.8 * len(plain)
    # pitch: the lag of the strongest autocorrelation of voiced speech, without pitch movement
    for level_st, pitch_hz in ((0.0, 120), (7.0, 180)):
        samples = speak(level_st=level_st, range_st=0.0)[3000:12000]
        correlation = np.correlate(samples, samples, "full")[len(samples) - 1 :]
        lag = 60 + int(np.argmax(correlation[60:200]))
        assert 16000 / lag == pytest.approx(pitch_hz, rel=0.06)
