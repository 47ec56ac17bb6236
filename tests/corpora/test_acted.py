"""CREMA-D, SAVEE, TESS and RAVDESS by their file names, on fabricated copies with their traps."""

from __future__ import annotations

import itertools
import logging
from collections import Counter

import numpy as np
import pytest
import soundfile

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora.cremad import TEXTS
from s3prl_emotion.corpora.ravdess import FOLDS
from s3prl_emotion.corpora.validation import NOTICE, apply, validate
from s3prl_emotion.errors import CorpusError
from s3prl_emotion.protocols import make_folds

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + 64 * "0" + "\nsize 71962\n"


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def read(name, root, caplog):
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        manifest = corpora.get(name).read(root)
    return manifest, caplog.text


def cremad_names():
    """7442 names: five emotions 1271 times, neutral 1087 times, over 91 actors in turn."""
    for label, count in {"ANG": 1271, "DIS": 1271, "FEA": 1271, "HAP": 1271, "SAD": 1271, "NEU": 1087}.items():
        plain = [f"{text}_{label}_XX" for text in TEXTS if text != "IEO"]
        clips = [*plain, *(f"IEO_{label}_{level}" for level in ("LO", "MD", "HI"))]
        every = (f"{1001 + actor}_{clip}" for clip, actor in itertools.product(clips, range(91)))
        yield from itertools.islice(every, count)


def savee_clips():
    return [
        f"{code}{k:02d}"
        for code, n in zip(("a", "d", "f", "h", "n", "sa", "su"), (15,) * 4 + (30, 15, 15), strict=True)
        for k in range(1, n + 1)
    ]


def tess_names(speaker):
    emotions = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")
    words = [
        a + b
        for a, b in itertools.product(
            "abcdefghijklmnopqrst", ("ack", "ood", "ell", "ire", "ote", "uss", "ain", "eel", "oy", "ar")
        )
    ]
    return {emotion: [f"{speaker}_{word}_{emotion}.wav" for word in words] for emotion in emotions}


def ravdess_names(actor):
    for emotion, level, text, take in itertools.product(range(1, 9), (1, 2), (1, 2), (1, 2)):
        if (emotion, level) != (1, 2):
            yield f"03-01-{emotion:02d}-{level:02d}-{text:02d}-{take:02d}-{actor:02d}.wav"


def test_cremad_complete(tmp_path, caplog):
    names = list(cremad_names())
    touch(tmp_path / "AudioWAV", *(f"{name}.wav" for name in names if name != names[5]), "._1001_IEO_ANG_HI.wav")
    touch(tmp_path / ".git", "1001_IEO_ANG_HI.wav")
    touch(tmp_path / "AudioMP3", "1001_IEO_ANG_HI.mp3")
    manifest, said = read("cremad", tmp_path, caplog)
    assert "7441 utterances, expected 7442 (angry 1270 of 1271)" in said
    touch(tmp_path / "AudioWAV", f"{names[5]}.wav")
    manifest, said = read("cremad", tmp_path, caplog)
    assert said == "", "a complete copy gives no warning"
    assert len(manifest.utterances) == 7442
    assert manifest.counts() == {
        "angry": 1271,
        "disgust": 1271,
        "fearful": 1271,
        "happy": 1271,
        "neutral": 1087,
        "sad": 1271,
    }
    assert len(manifest.speakers) == 91
    folds = make_folds(manifest, "strict")
    assert sum(len(fold.test) for fold in folds.folds) == 7442
    assert len(folds.folds) == 5


def test_cremad_names_texts_and_silence(tmp_path, caplog):
    touch(tmp_path, "1001_IEO_FEA_LO.wav", "1040_ITH_SAD_X.wav", "1076_MTI_SAD_XX.wav", "1076_MTI_JOY_XX.wav")
    with caplog.at_level(logging.INFO):
        first, second, third = corpora.get("cremad").read(tmp_path).utterances
    assert (first.id, first.label, first.speaker, first.text) == (
        "1001_IEO_FEA_LO",
        "fearful",
        "1001",
        "It's eleven o'clock.",
    )
    assert (first.fold, first.soft, first.path) == (None, None, "1001_IEO_FEA_LO.wav")
    assert (second.id, second.path) == ("1040_ITH_SAD_XX", "1040_ITH_SAD_X.wav")
    assert third.label == "sad"
    assert "1076_MTI_SAD_XX is silent in the corpus itself" in caplog.text
    assert "1 audio files have no CREMA-D name" in caplog.text


def test_cremad_pointers_and_silence_in_validation(tmp_path):
    touch(tmp_path / "AudioWAV")
    (tmp_path / "AudioWAV" / "1001_IEO_ANG_HI.wav").write_text(POINTER)
    soundfile.write(tmp_path / "AudioWAV" / "1076_MTI_SAD_XX.wav", np.zeros(16000), 16000)
    manifest, problems = validate(corpora.get("cremad").read(tmp_path))
    assert [(p.utterance, p.kind) for p in problems] == [("1001_IEO_ANG_HI", "git-lfs"), ("1076_MTI_SAD_XX", "silent")]
    assert problems[1].severity == NOTICE
    with pytest.raises(CorpusError, match=r"a git-lfs pointer, not audio\. Run `git lfs pull`"):
        apply(manifest, problems)
    assert list(apply(manifest, problems[1:]).by_id) == list(manifest.by_id), "silence stops nothing"


def test_cremad_votes(tmp_path, caplog):
    touch(
        tmp_path / "AudioWAV",
        "1001_IEO_HAP_LO.wav",
        "1001_IEO_ANG_HI.wav",
        "1002_TIE_SAD_XX.wav",
        "1002_TIE_NEU_XX.wav",
    )
    touch(tmp_path / "processedResults")
    path = tmp_path / "processedResults" / "tabulatedVotes.csv"
    rows = [
        '"","A","D","F","H","N","S","fileName","numResponses"',
        '"100002",0,0,0,3,6,0,"1001_IEO_HAP_LO",9',
        '"100010",2,6,0,0,0,0,"1001_IEO_ANG_HI",8',
        '"100011",0,0,0,0,0,0,"1002_TIE_SAD_XX",0',
        '"200002",9,0,0,0,0,0,"1001_IEO_HAP_LO",9',
        '"300002",0,9,0,0,0,0,"1001_IEO_HAP_LO",9',
    ]
    path.write_text("\n".join(rows) + "\n")
    soft = {u.id: u.soft for u in corpora.get("cremad").read(tmp_path).utterances}
    assert soft["1001_IEO_HAP_LO"] == pytest.approx({"happy": 1 / 3, "neutral": 2 / 3}), "the voice alone, 3 and 6 of 9"
    assert soft["1001_IEO_ANG_HI"] == {"angry": 0.25, "disgust": 0.75}
    assert soft["1002_TIE_SAD_XX"] is None
    assert soft["1002_TIE_NEU_XX"] is None
    assert corpora.get("cremad").read(tmp_path / "AudioWAV").by_id["1001_IEO_ANG_HI"].soft == soft["1001_IEO_ANG_HI"]
    path.write_text("\n".join([*rows, '"100012",x,0,0,0,0,0,"1002_TIE_NEU_XX",0']))
    with pytest.raises(CorpusError, match=r"tabulatedVotes\.csv, line 7: expected whole numbers of votes"):
        corpora.get("cremad").read(tmp_path)
    path.write_text(POINTER)
    manifest, said = read("cremad", tmp_path, caplog)
    assert "no column 'fileName', so no votes are read. If it is a git-lfs pointer, run `git lfs pull`" in said
    assert all(u.soft is None for u in manifest.utterances)


@pytest.mark.parametrize("layout", ["nested", "flat"])
def test_savee_complete(layout, tmp_path, caplog):
    for speaker in ("DC", "JE", "JK", "KL"):
        if layout == "nested":
            touch(tmp_path / "AudioData" / speaker, *(f"{clip}.wav" for clip in savee_clips()), "._a01.wav")
        else:
            touch(tmp_path, *(f"{speaker}_{clip}.wav" for clip in savee_clips()))
    manifest, said = read("savee", tmp_path, caplog)
    assert said == ""
    assert manifest.counts() == {label: 120 if label == "neutral" else 60 for label in manifest.labels}
    item = manifest.by_id["JE_su03"]
    assert (item.label, item.speaker, item.fold, item.text) == ("surprised", "JE", 2, None)
    assert item.path == ("AudioData/JE/su03.wav" if layout == "nested" else "JE_su03.wav")
    folds = make_folds(manifest, "strict")
    assert [len(fold.test) for fold in folds.folds] == [120] * 4
    (tmp_path / item.path).unlink()
    _, said = read("savee", tmp_path, caplog)
    assert "479 utterances, expected 480 (surprised 59 of 60; fold 2 119 of 120; speaker JE 119 of 120)" in said


def test_savee_passes_over_other_files(tmp_path, caplog):
    touch(tmp_path / "DC", "a01.wav", "info.wav", "b01.wav")
    touch(tmp_path / "AA", "a01.wav")
    manifest, said = read("savee", tmp_path, caplog)
    assert [u.id for u in manifest.utterances] == ["DC_a01"]
    assert "3 audio files have no SAVEE name" in said


@pytest.mark.parametrize("layout", ["nested", "flat", "copied"])
def test_tess_complete(layout, tmp_path, caplog):
    for speaker in ("OAF", "YAF"):
        for emotion, names in tess_names(speaker).items():
            touch(tmp_path if layout == "flat" else tmp_path / f"{speaker}_{emotion}", *names)
            if layout == "copied":
                touch(tmp_path / "TESS Toronto emotional speech set data" / f"{speaker}_{emotion}", *names)
    manifest, said = read("tess", tmp_path, caplog)
    assert len(manifest.utterances) == 2800
    if layout == "copied":
        assert said.count("\n") == 1
        assert "2800 clips are there more than once" in said
        assert not any(u.path.startswith("TESS") for u in manifest.utterances)
    else:
        assert said == ""
    assert manifest.labels == ("angry", "disgust", "fearful", "happy", "neutral", "pleasant_surprise", "sad")
    item = manifest.by_id["YAF_aack_ps"]
    assert (item.label, item.speaker, item.fold, item.text) == ("pleasant_surprise", "YAF", 2, "Say the word aack")
    folds = make_folds(manifest, corpora.get("tess").default_protocol)
    assert [(len(fold.train), len(fold.dev), len(fold.test)) for fold in folds.folds] == [(1120, 280, 1400)] * 2


def test_tess_misnamed_file_and_incomplete(tmp_path, caplog):
    touch(tmp_path / "OAF_neutral", "OA_bite_neutral.wav", "OAF_back_neutral.wav", "notes.wav")
    manifest, said = read("tess", tmp_path, caplog)
    item = manifest.by_id["OAF_bite_neutral"]
    assert (item.path, item.text) == ("OAF_neutral/OA_bite_neutral.wav", "Say the word bite")
    assert "1 audio files have no TESS name" in said
    assert "speaker OAF 2 of 1400; speaker YAF 0 of 1400" in said


def test_tess_other_rate_is_only_resampled(tmp_path):
    soundfile.write(tmp_path / "OAF_food_fear.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 96000), 96000)
    soundfile.write(tmp_path / "OAF_back_fear.wav", np.random.default_rng(1).uniform(-0.1, 0.1, 16000), 16000)
    manifest, problems = validate(corpora.get("tess").read(tmp_path))
    assert [(p.utterance, p.kind, p.severity) for p in problems] == [("OAF_food_fear", "sample-rate", NOTICE)]
    assert [u.duration_s for u in manifest.utterances] == [1.0, 1.0]


@pytest.mark.parametrize("copies", [1, 2])
def test_ravdess_complete(copies, tmp_path, caplog):
    for actor in range(1, 25):
        names = list(ravdess_names(actor))
        touch(tmp_path / f"Actor_{actor:02d}", *names, f"._{names[0]}")
        if copies == 2:
            touch(tmp_path / "audio_speech_actors_01-24" / f"Actor_{actor:02d}", *names)
    manifest, said = read("ravdess", tmp_path, caplog)
    assert len(manifest.utterances) == 1440
    assert said.count("\n") == copies - 1
    assert ("1440 clips are there more than once" in said) == (copies == 2)
    assert manifest.counts() == {label: 96 if label == "neutral" else 192 for label in manifest.labels}
    tested = {
        fold.number: {manifest.by_id[name].speaker for name in fold.test}
        for fold in make_folds(manifest, "strict").folds
    }
    assert tested == {number: {f"{actor:02d}" for actor in actors} for number, actors in enumerate(FOLDS, start=1)}
    assert sorted(itertools.chain(*FOLDS)) == list(range(1, 25))
    item = manifest.by_id["03-01-08-02-02-01-11"]
    assert (item.label, item.speaker, item.fold, item.text) == ("surprised", "11", 1, "Dogs are sitting by the door")
    assert item.path == "Actor_11/03-01-08-02-02-01-11.wav"


def test_ravdess_songs_and_videos(tmp_path, caplog):
    touch(
        tmp_path / "a", "03-01-05-01-01-01-01.wav", "03-02-05-01-01-01-01.wav", "01-01-05-01-01-01-01.mp4", "readme.wav"
    )
    for folder in (".cache", "__MACOSX"):
        touch(tmp_path / folder, "03-01-05-01-01-01-02.wav")
    manifest, said = read("ravdess", tmp_path, caplog)
    assert Counter(u.label for u in manifest.utterances) == {"angry": 1}
    assert "2 songs or videos of RAVDESS are left out" in said
    assert "1 files have no RAVDESS name" in said
    assert "1 utterances, expected 1440 (angry 1 of 192; calm 0 of 192; disgust 0 of 192; fearful 0 of 192;" in said
    touch(tmp_path / "b", "03-02-05-01-01-01-01.wav")
    with pytest.raises(CorpusError, match=r"no speech of RAVDESS \(03-01-\*\.wav\) found. Expected"):
        corpora.get("ravdess").read(tmp_path / "b")
