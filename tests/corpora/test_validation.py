"""Every kind of bad file is found and named."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import soundfile

from s3prl_emotion.audio import read_audio
from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.corpora.validation import ERROR, NOTICE, apply, summarise, trim_zeros, validate
from s3prl_emotion.errors import CorpusError


def noise(count, seed=0):
    return np.random.default_rng(seed).uniform(0.1, 0.5, count)


def write(folder, name, samples, rate=16000, subtype="PCM_16"):
    soundfile.write(folder / f"{name}.wav", samples, rate, subtype=subtype)


@pytest.fixture
def manifest(tmp_path):
    write(tmp_path, "good", noise(16000))
    write(tmp_path, "short", noise(399))
    write(tmp_path, "one_frame", noise(400))
    write(tmp_path, "short_8k", noise(199), 8000)
    write(tmp_path, "narrow", noise(8000), 8000)
    write(tmp_path, "cd", noise(44100), 44100)
    write(tmp_path, "stereo", noise(32000).reshape(-1, 2))
    write(tmp_path, "silent", np.zeros(16000))
    write(tmp_path, "padded", np.r_[np.zeros(10), noise(8000), np.zeros(1600)])
    write(tmp_path, "barely", np.r_[noise(8000), np.zeros(1599)])
    write(tmp_path, "infinite", np.r_[noise(8000), np.inf], subtype="FLOAT")
    write(tmp_path, "truncated", noise(16000))
    content = (tmp_path / "truncated.wav").read_bytes()
    (tmp_path / "truncated.wav").write_bytes(content[:9000])
    (tmp_path / "pointer.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (tmp_path / "nothing.wav").touch()
    names = [path.stem for path in sorted(tmp_path.glob("*.wav"))] + ["absent"]
    utterances = [Utterance(name, f"{name}.wav", "neu", "s1") for name in names]
    utterances.append(Utterance("odd", "good.wav", "joy", "s1"))
    utterances.append(Utterance("outside", "good.wav", "neu", "s1", start_s=0.5, end_s=2.0))
    utterances.append(Utterance("part", "good.wav", "neu", "s1", start_s=0.25, end_s=0.5))
    return Manifest("mine", ("neu", "ang"), tmp_path.as_posix(), tuple(utterances))


def test_problems(manifest):
    seen = []
    checked, problems = validate(manifest, lambda done, total: seen.append((done, total)))
    found = {(item.utterance, item.kind, item.severity) for item in problems}
    assert found == {
        ("short", "short", ERROR),
        ("short_8k", "short", ERROR),
        ("short_8k", "sample-rate", NOTICE),
        ("narrow", "sample-rate", NOTICE),
        ("cd", "sample-rate", NOTICE),
        ("stereo", "stereo", NOTICE),
        ("silent", "silent", NOTICE),
        ("one_frame", "brief", NOTICE),
        ("padded", "zero-padded", NOTICE),
        ("padded", "repeated", NOTICE),
        ("infinite", "non-finite", ERROR),
        ("truncated", "corrupt", ERROR),
        ("pointer", "git-lfs", ERROR),
        ("nothing", "empty", ERROR),
        ("absent", "missing", ERROR),
        ("odd", "label", ERROR),
        ("outside", "segment", ERROR),
    }
    assert seen == [(k, len(manifest.utterances)) for k in range(1, len(manifest.utterances) + 1)]
    assert [item.id for item in checked.utterances] == [item.id for item in manifest.utterances]
    assert checked.by_id["good"].duration_s == 1.0
    assert checked.by_id["cd"].duration_s == 1.0
    assert checked.by_id["part"].duration_s == 0.25
    assert checked.by_id["absent"].duration_s is None
    for item in problems:
        assert item.kind == "label" or item.path in item.message


def test_apply(manifest, caplog):
    checked, problems = validate(manifest)
    with pytest.raises(CorpusError) as caught:
        apply(checked, problems)
    message = str(caught.value)
    assert "9 of 18 utterances cannot be used (corrupt 1, empty 1, git-lfs 1, label 1, missing 1" in message
    assert "use --skip-bad to go on without them" in message
    assert "absent: " in message
    assert "git lfs pull" in message
    with caplog.at_level(logging.WARNING):
        kept = apply(checked, problems, skip_bad=True)
    assert "going on without 9 of 18 utterances" in caplog.text
    assert {"good", "silent", "stereo", "padded", "one_frame"} <= set(kept.by_id)
    assert not {"absent", "odd", "short"} & set(kept.by_id)
    notices = [item for item in problems if item.severity == NOTICE]
    assert apply(checked, notices) is checked


def test_apply_lists_ten_and_refuses_an_empty_corpus(tmp_path):
    utterances = tuple(Utterance(f"u{k:02d}", f"u{k:02d}.wav", "neu", "s1") for k in range(13))
    checked, problems = validate(Manifest("mine", ("neu",), tmp_path.as_posix(), utterances))
    assert summarise(problems) == "missing 13"
    with pytest.raises(CorpusError, match=r"u09: (.|\n)*\.\.\. and 3 more") as caught:
        apply(checked, problems)
    assert "u10: " not in str(caught.value)
    with pytest.raises(CorpusError, match="none of 13 utterances can be used"):
        apply(checked, problems, skip_bad=True)


def test_trim_zeros(tmp_path):
    speech = noise(8000)
    speech[4000:4800] = 0  # a pause stays
    write(tmp_path, "padded", np.r_[np.zeros(700), speech, np.zeros(3201)], 22050)
    write(tmp_path, "plain", speech)
    write(tmp_path, "silent", np.zeros(500))
    utterances = (
        Utterance("padded", "padded.wav", "neu", "s1"),
        Utterance("plain", "plain.wav", "neu", "s1"),
        Utterance("silent", "silent.wav", "neu", "s1"),
        Utterance("part", "padded.wav", "neu", "s1", start_s=100 / 22050, end_s=2000 / 22050),
    )
    manifest, _ = validate(Manifest("mine", ("neu",), tmp_path.as_posix(), utterances))
    trimmed = trim_zeros(manifest)
    padded, plain, silent, part = trimmed.utterances
    assert (plain, silent) == (manifest.utterances[1], manifest.utterances[2])
    assert padded.start_s == pytest.approx(700 / 22050)
    assert padded.end_s == pytest.approx(8700 / 22050)
    assert padded.duration_s == pytest.approx(8000 / 22050)
    assert (part.start_s, part.end_s) == (pytest.approx(700 / 22050), pytest.approx(2000 / 22050))
    write(tmp_path, "bare", speech, 22050)
    expected = read_audio(tmp_path / "bare.wav")
    np.testing.assert_array_equal(read_audio(tmp_path / "padded.wav", padded.start_s, padded.end_s), expected)
    assert trim_zeros(trimmed) == trimmed


def test_demo_corpus_has_no_problems(demo_manifest):
    checked, problems = validate(demo_manifest)
    assert problems == []
    assert all(0.8 <= item.duration_s <= 3.5 for item in checked.utterances)


def test_samples_of_another_scale_and_those_that_carry_nothing(tmp_path):
    def found(samples):
        write(tmp_path, "a", samples, subtype="FLOAT")
        one = Manifest("mine", ("neu",), tmp_path.as_posix(), (Utterance("a", "a.wav", "neu", "s"),))
        return [(item.kind, item.severity, item.message.partition(": ")[2]) for item in validate(one)[1]]

    assert found(1.2 * noise(800) / 0.5) == []
    assert found(-2000 * noise(800))[0][:2] == ("scale", NOTICE)
    assert "samples up to ±1000, where full scale is ±1" in found(np.r_[noise(800), -1000])[0][2]
    assert found(np.r_[noise(800), 1e30])[0][:2] == ("non-finite", ERROR)
    assert found(np.full(800, 0.5)) == [("silent", NOTICE, "silent, all 800 samples are the same, 0.5")]
    (_, (kind, severity, message)) = found(np.outer(noise(800), [1, -1]))
    assert (kind, severity, message) == ("silent", NOTICE, "silent as one channel: its 2 channels cancel each other")


def test_relative_paths_are_explained(tmp_path):
    manifest = Manifest("mine", ("neu",), tmp_path.as_posix(), (Utterance("a", "gone/a.wav", "neu", "s"),))
    with pytest.raises(CorpusError, match=f"Relative paths start from {tmp_path}"):
        apply(*validate(manifest))


def test_a_clip_that_is_far_longer_or_shorter_than_others_is_noticed(tmp_path):
    """One of 300 s among clips of 2 s makes every batch that it is in as long; clips of usual lengths are not named."""
    lengths_s = {"a": 2.0, "b": 1.5, "c": 2.5, "d": 6.0, "e": 0.3, "f": 2.0, "g": 39.0, "long": 300.0, "brief": 0.03}
    for seed, (name, length_s) in enumerate(lengths_s.items()):
        write(tmp_path, name, noise(round(8000 * length_s), seed), 8000)
    utterances = tuple(Utterance(name, f"{name}.wav", "neu", "s1") for name in lengths_s)
    _, problems = validate(Manifest("mine", ("neu",), tmp_path.as_posix(), utterances))
    found = {item.kind: item for item in problems if item.kind != "sample-rate"}
    assert set(found) == {"long", "brief"}
    assert found["long"].severity == found["brief"].severity == NOTICE
    assert f"{tmp_path}/long.wav: lasts 300 s, where half of the clips last up to 2 s" in found["long"].message
    assert "max_duration_s=N" in found["long"].message
    assert f"{tmp_path}/brief.wav: lasts 0.03 s" in found["brief"].message


def test_long_clips_among_long_ones_are_usual(tmp_path):
    for seed, name in enumerate("abc"):
        write(tmp_path, name, noise(8000 * 60, seed), 8000)
    utterances = tuple(Utterance(name, f"{name}.wav", "neu", "s1") for name in "abc")
    _, problems = validate(Manifest("mine", ("neu",), tmp_path.as_posix(), utterances))
    assert {item.kind for item in problems} == {"sample-rate"}


def test_equal_audio_is_noticed_with_its_labels(tmp_path):
    write(tmp_path, "one", noise(8000))
    write(tmp_path, "copy", np.r_[noise(8000), np.zeros(50)])
    write(tmp_path, "other", noise(8000, seed=1))
    write(tmp_path, "silent", np.zeros(8000))
    write(tmp_path, "silent2", np.zeros(8000))
    utterances = [Utterance(name, f"{name}.wav", "neu", "s1") for name in ("one", "copy", "other", "silent", "silent2")]
    utterances.append(Utterance("angry", "one.wav", "ang", "s1"))
    _, problems = validate(Manifest("mine", ("neu", "ang"), tmp_path.as_posix(), tuple(utterances)))
    found = {item.utterance: item for item in problems if item.kind != "silent"}
    assert {name: item.kind for name, item in found.items()} == {"copy": "repeated", "angry": "labelled twice"}
    assert "the same audio as 'one', with label 'ang' here and 'neu' there" in found["angry"].message
