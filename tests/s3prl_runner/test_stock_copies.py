"""The copies that S3PRL's own expert reads: every utterance its own, whatever its id."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from s3prl_emotion.audio import AudioError, read_audio
from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.protocols import make_folds
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.s3prl_runner import stock

IDS = ("a/b", "a__b", "a_b", "A_B", "a b", "a\\b", "x" * 300, "x" * 299, "\u00e4", "\u00f6", "..", "-")


def test_no_two_ids_share_a_copy(tmp_path):
    """Stereo files, which are copied as one channel; each has a level of its own."""
    items = []
    for number, name in enumerate(IDS):
        soundfile.write(tmp_path / f"{number}.wav", np.full((800, 2), (number + 1) / 64), 16000, subtype="FLOAT")
        label = ("neu", "ang")[number % 2]
        items.append(Utterance(name, f"{number}.wav", label, f"s{number // 4}", fold=number // 4 + 1))
    manifest = Manifest("mine", ("neu", "ang"), tmp_path.as_posix(), tuple(items))
    folds = make_folds(manifest, "superb")
    run = tmp_path / "run"
    for fold in folds.folds:
        stock.prepare(manifest, folds, RunFolder(run), fold.number)
        for part, ids in (("train", stock.training_list(manifest, fold)), ("test", fold.test)):
            path = run / "stock" / f"Session{fold.number}" / f"{part}_meta_data.json"
            entries = json.loads(path.read_text(encoding="utf-8"))["meta_data"]
            for name, entry in zip(ids, entries, strict=True):
                assert read_audio(entry["path"]) == pytest.approx((IDS.index(name) + 1) / 64)
    copies = [path.name for path in (run / "stock" / "audio").iterdir()]
    assert len({name.casefold() for name in copies}) == len(copies) == len(IDS), "also where case does not count"
    assert all(len(name) < 150 and name.isascii() for name in copies)


def test_a_file_that_is_no_audio_is_named(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    manifest = Manifest("mine", ("neu",), tmp_path.as_posix(), (Utterance("a", "a.wav", "neu", "s"),))
    with pytest.raises(AudioError, match=r"a\.wav: the file is empty"):
        stock._whole_file(manifest, manifest.utterances[0], tmp_path / "copies")


@pytest.mark.parametrize("kind", ["GSM610", "open", "raw"])
def test_what_other_programs_read_otherwise_is_copied(kind, tmp_path):
    """S3PRL reads with torchaudio.load, which jumps, takes a length of 0 for none, and asks what .raw holds."""
    path = tmp_path / ("a.raw" if kind == "raw" else "a.wav")
    samples = 0.1 * np.random.default_rng(0).standard_normal(16000)
    soundfile.write(tmp_path / "made.wav", samples, 16000, subtype="GSM610" if kind == "GSM610" else "PCM_16")
    (tmp_path / "made.wav").rename(path)
    expected = read_audio(path)
    if kind == "open":
        content = path.read_bytes()
        path.write_bytes(content[:40] + bytes(4) + content[44:])
    manifest = Manifest("mine", ("neu",), tmp_path.as_posix(), (Utterance("a", path.name, "neu", "s"),))
    copy = stock._whole_file(manifest, manifest.utterances[0], tmp_path / "copies")
    assert copy.parent.name == "copies"
    np.testing.assert_array_equal(soundfile.read(copy, dtype="float32")[0], expected)
