"""``predict``: a line for every file as soon as it is there, and bad files do not stop the others."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile

from s3prl_emotion.cli import main
from s3prl_emotion.inference.trained import EmotionRecogniser


@pytest.fixture
def predict(trained):
    """``predict(*words)``: the command on the frozen run."""

    def start(*words: object) -> int:
        return main(["predict", "--run", str(trained), "--device", "cpu", *map(str, words)])

    return start


@pytest.fixture
def exported_with(trained, tmp_path, tiny_hubert):
    """``exported_with(labels, file)``: the command on an export whose classes have other names."""

    def start(labels: list[str], file: Path) -> int:
        folder = tmp_path / "head"
        assert main(["export", str(trained), "--out", str(folder), "--device", "cpu"]) == 0
        config = json.loads((folder / "config.json").read_text()) | {"labels": labels}
        (folder / "config.json").write_text(json.dumps(config))
        return main(["predict", "--run", str(folder), "-k", str(tiny_hubert), "--device", "cpu", str(file)])

    return start


def test_json_lines(predict, trained, some_test_files, capsys) -> None:
    files, _ = some_test_files(trained, 1)
    assert predict("--format", "jsonl", "--attention", "--fold", "1", "-u", "hf_auto_custom", *files[:2]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = EmotionRecogniser.load(trained, fold=1, device="cpu").predict(files[:2])
    assert [row["file"] for row in rows] == [str(file) for file in files[:2]]
    for row, item in zip(rows, expected, strict=True):
        assert row["probabilities"] == item.probabilities
        assert row["frame_weights"] == list(item.frame_weights)
        assert (row["frame_rate_hz"], row["start_s"], row["predicted"]) == (50.0, 0.0, item.predicted)
    assert predict("--format", "jsonl", files[0]) == 0
    captured = capsys.readouterr()
    assert set(json.loads(captured.out)) == {"file", "predicted", "probabilities", "duration_s"}
    assert "mean over the heads of folds 1, 2; --fold N takes one" in captured.err


def test_table(predict, trained, some_test_files, capsys) -> None:
    files, _ = some_test_files(trained, 1)
    folder = Path("speech")  # every test runs in its own folder; a long path would be shortened
    (folder / "deep").mkdir(parents=True)
    shutil.copy(files[0], folder / "b.wav")
    shutil.copy(files[1], folder / "deep" / "a.WAV")
    shutil.copy(files[1], folder / "._b.wav")
    (folder / "notes.txt").write_text("not audio")
    assert predict("--attention", folder) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["file", "seconds", "predicted", "neu", "hap", "ang", "sad", "most", "weight"]
    assert [row.split()[0] for row in rows] == [str(folder / "b.wav"), str(folder / "deep" / "a.WAV")]
    item = EmotionRecogniser.load(trained, device="cpu").predict(files[0])[0]
    begin, end, share = item.strongest_second()
    assert rows[0].split()[1:] == [
        f"{item.duration_s:.2f}",
        item.predicted,
        *(f"{value:.4f}" for value in item.probabilities.values()),
        *f"{begin:.2f}-{end:.2f} s ({100 * share:.0f} %)".split(),
    ]


def test_names_of_classes_do_nothing_to_a_terminal(exported_with, some_test_files, trained, capsys) -> None:
    files, _ = some_test_files(trained, 1)
    assert exported_with(["\x1b[31mneu", "hap", "ang", "\u202esad"], files[0]) == 0
    printed = capsys.readouterr().out
    assert not {"\x1b", "\u202e"} & set(printed)
    assert "\\x1b[31mneu" in printed


def test_bad_files_are_named_and_the_others_go_on(predict, trained, some_test_files, tmp_path, capsys) -> None:
    files, _ = some_test_files(trained, 1)
    (tmp_path / "torn.wav").write_bytes(files[0].read_bytes()[:1000])
    (tmp_path / "text.wav").write_text("hello")
    out = tmp_path / "new" / "lines.jsonl"
    words = (files[0], tmp_path / "torn.wav", tmp_path / "text.wav", "nowhere.wav", files[1])
    assert predict("--format", "jsonl", "--out", out, *words) == 2
    assert [json.loads(line)["file"] for line in out.read_text().splitlines()] == [str(files[0]), str(files[1])]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.search(r"error: .*torn\.wav: cut off", captured.err)
    assert re.search(r"error: .*text\.wav: not readable as audio", captured.err)
    assert "error: nowhere.wav: no such audio file\n" in captured.err
    assert "3 of 5 files could not be used" in captured.err


def test_an_interruption_loses_nothing(predict, trained, some_test_files, tmp_path, monkeypatch, capsys) -> None:
    files, _ = some_test_files(trained, 1)
    out = tmp_path / "lines.jsonl"
    original, seen = EmotionRecogniser.recognise, []

    def third_is_interrupted(self, audio, text=None):
        seen.append(len(out.read_text().splitlines()))
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, audio, text)

    monkeypatch.setattr(EmotionRecogniser, "recognise", third_is_interrupted)
    assert predict("--format", "jsonl", "--out", out, *files) == 130
    assert seen == [0, 1, 2], "each line is in the file before the next recording is begun"
    assert "SIGINT: 2 of" in capsys.readouterr().err


def test_out_is_never_audio_nor_emptied_for_nothing(predict, trained, some_test_files, tmp_path, capsys) -> None:
    files, _ = some_test_files(trained, 1)
    audio = Path(shutil.copy(files[0], tmp_path / "speech.dat"))
    (tmp_path / "link.txt").symlink_to(audio)
    before = audio.read_bytes()
    earlier = tmp_path / "emotions.jsonl"
    earlier.write_text("from before")
    for out, words, message in [
        (audio, (audio,), "one of the audio files, which it would overwrite"),
        (tmp_path / "link.txt", (files[0], audio), "one of the audio files, which it would overwrite"),
        (tmp_path / "b.WAV", (audio,), "called like an audio file (.WAV)"),
        (tmp_path, (audio,), f"--out {tmp_path}: a folder; name a file"),
        (earlier, ("a.wav", "b.wav"), "not overwritten, because none of the audio files is there: a.wav"),
        (earlier, (audio, "-u", "hubert"), "-u hubert: the head was trained on"),
        (audio / "x.txt", (files[0],), "x.txt: cannot be written: "),
    ]:
        assert predict("--out", out, *words) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert audio.read_bytes() == before
    assert earlier.read_text() == "from before"
    assert not (tmp_path / "b.WAV").exists()
    assert predict("--out", earlier, audio) == 0
    assert "speech.dat" in earlier.read_text()


def test_mistakes(predict, tmp_path, capsys) -> None:
    for words, message in [
        ((tmp_path,), "no audio files in this folder"),
        (("a.wav", "-u", "hubert"), "-u hubert: the head was trained on hf_auto_custom"),
        (("a.wav", "-k", tmp_path), "its SHA-256 is"),
        (("a.wav", "--fold", "9"), "--fold 9: not finished, or no fold of"),
    ]:
        assert predict(*words) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (np.zeros(16000), "silent, all 16000 samples are zero"),
        (np.full(16000, 0.5), "silent, all 16000 samples are the same, 0.5"),
        (np.random.default_rng(0).integers(-1, 2, 16000) / 32768, "as good as silent, all samples lie between"),
        (0.4 + 0.001 * np.random.default_rng(0).standard_normal(16000), "a constant of 0.4 with little sound"),
        (3000 * np.random.default_rng(0).standard_normal(16000), "Integers of 16 bits are divided by 32768"),
        (3 * np.random.default_rng(0).uniform(-1, 1, 16000), "samples up to ±3, where full scale is ±1"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_what_is_no_speech_is_said(predict, trained, made, says, capsys) -> None:
    """The columns stay as they are: the warning goes to standard error. Arrays are looked at as files are."""
    soundfile.write("a.wav", made, 16000, subtype="FLOAT")
    assert predict("--format", "jsonl", "a.wav") == 0
    captured = capsys.readouterr()
    assert set(json.loads(captured.out)) == {"file", "predicted", "probabilities", "duration_s"}
    assert "a.wav: " in captured.err
    assert says in captured.err
    assert ": what is recognised in it may mean nothing" in captured.err
    EmotionRecogniser.load(trained, fold=1, device="cpu").predict(made.astype(np.float32))
    said = capsys.readouterr().err
    assert "the array: " in said
    assert says in said


def test_speech_is_not_commented_on(predict, trained, some_test_files, capsys) -> None:
    files, _ = some_test_files(trained, 1)
    assert predict("--fold", "1", *files[:2]) == 0
    assert "may mean nothing" not in capsys.readouterr().err


def test_samples_without_a_header_are_one_error(predict, trained, some_test_files, capsys) -> None:
    files, _ = some_test_files(trained, 1)
    Path("a.raw").write_bytes(bytes(range(256)) * 99)
    assert predict("a.raw", files[0]) == 2
    captured = capsys.readouterr()
    assert "error: a.raw: not readable as audio: samples without a header" in captured.err
    assert "1 of 2 files could not be used" in captured.err
    assert "Traceback" not in captured.err
    assert len(captured.out.splitlines()) == 2
