"""EMO-DB by its file names, fabricated and real."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora.validation import ERROR, summarise, trim_zeros, validate
from s3prl_emotion.errors import CorpusError
from s3prl_emotion.protocols import make_folds

SPEAKERS = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")


@pytest.fixture
def root(tmp_path):
    (tmp_path / "wav").mkdir()
    for speaker in SPEAKERS:
        for emotion in "WLEAFTN":
            (tmp_path / "wav" / f"{speaker}a01{emotion}b.wav").touch()
    (tmp_path / "wav" / "._03a01Fa.wav").touch()
    (tmp_path / "wav" / "notes.wav").touch()
    return tmp_path


def test_seven_classes(root, caplog):
    with caplog.at_level(logging.WARNING):
        manifest = corpora.get("emodb").read(root)
    assert manifest.labels == ("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness")
    assert manifest.counts() == dict.fromkeys(manifest.labels, 10)
    first = manifest.by_id["03a01Wb"]
    assert (first.path, first.label, first.speaker, first.fold) == ("wav/03a01Wb.wav", "anger", "03", 1)
    assert first.text == "Der Lappen liegt auf dem Eisschrank."
    folds = {number: {u.speaker for u in manifest.utterances if u.fold == number} for number in range(1, 6)}
    assert folds == {1: {"03", "08"}, 2: {"10", "09"}, 3: {"11", "13"}, 4: {"12", "14"}, 5: {"15", "16"}}
    assert "1 audio files have no EMO-DB name" in caplog.text
    assert "70 utterances, expected 535 (anger 10 of 127" in caplog.text


CLIPS = {  # clips of each speaker per emotion W L E A F N T, counted in a complete copy
    "03": (14, 5, 1, 4, 7, 11, 7),
    "08": (12, 10, 0, 6, 11, 10, 9),
    "09": (13, 4, 8, 1, 4, 9, 4),
    "10": (10, 8, 1, 8, 4, 4, 3),
    "11": (11, 8, 2, 10, 8, 9, 7),
    "12": (12, 5, 2, 6, 2, 4, 4),
    "13": (12, 10, 8, 7, 10, 9, 5),
    "14": (16, 8, 8, 12, 8, 7, 10),
    "15": (13, 9, 5, 8, 6, 11, 4),
    "16": (14, 14, 11, 7, 11, 5, 9),
}


@pytest.mark.parametrize(("name", "count"), [("emodb", 535), ("emodb4", 339)])
def test_complete_copy(name, count, tmp_path, caplog):
    for speaker, counts in CLIPS.items():
        for emotion, clips in zip("WLEAFNT", counts, strict=True):
            for clip in range(clips):
                text = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03")[clip % 8]
                (tmp_path / f"{speaker}{text}{emotion}{'ab'[clip // 8]}.wav").touch()
    with caplog.at_level(logging.WARNING):
        manifest = corpora.get(name).read(tmp_path)
        assert not caplog.records
        (tmp_path / "10a01Wa.wav").unlink()
        corpora.get(name).read(tmp_path)
    assert len(manifest.utterances) == count
    assert "(anger 126 of 127; speaker 10 " in caplog.text


def test_four_classes_and_root_without_subfolder(root):
    manifest = corpora.get("emodb4").read(root / "wav")
    assert manifest.labels == ("anger", "happiness", "neutral", "sadness")
    assert len(manifest.utterances) == 40
    assert manifest.by_id["03a01Tb"].label == "sadness"
    assert manifest.by_id["03a01Tb"].path == "03a01Tb.wav"


def test_strict_folds(root):
    folds = make_folds(corpora.get("emodb4").read(root), "strict")
    assert {name[:2] for name in folds[1].dev} == {"09", "10"}
    assert {name[:2] for name in folds[5].dev} == {"03", "08"}


def test_unknown_speaker(root):
    (root / "wav" / "99a01Fa.wav").touch()
    with pytest.raises(CorpusError, match=r"99a01Fa\.wav: unknown speaker '99'"):
        corpora.get("emodb").read(root)


@pytest.mark.corpus
@pytest.mark.parametrize(("name", "count"), [("emodb", 535), ("emodb4", 339)])
def test_real_data(name, count, caplog):
    data = os.environ.get("S3PRL_EMOTION_DATA")
    if not data or not (Path(data) / "emodb").is_dir():
        pytest.skip("S3PRL_EMOTION_DATA names no folder with emodb in it")
    with caplog.at_level(logging.WARNING):
        manifest = corpora.get(name).read(Path(data) / "emodb")
    assert not caplog.records, "a complete copy gives no warning"
    assert len(manifest.utterances) == count
    assert all(u.text for u in manifest.utterances)
    began = time.perf_counter()
    checked, problems = validate(manifest)
    print(f"{name}: {count} clips in {time.perf_counter() - began:.2f} s: {summarise(problems) or 'no problems'}")
    assert not [item for item in problems if item.severity == ERROR]
    assert all(u.duration_s and 0.5 < u.duration_s < 10 for u in checked.utterances)
    _, after = validate(trim_zeros(checked))
    assert Counter(item.kind for item in after)["zero-padded"] == 0
    for protocol in ("strict", "superb"):
        folds = make_folds(checked, protocol)
        assert sum(len(fold.test) for fold in folds.folds) == count
