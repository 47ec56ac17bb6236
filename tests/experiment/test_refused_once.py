"""A corpus that cannot be used stops a list of runs once: it is the same for all of them."""

from __future__ import annotations

import shutil

import pytest

from s3prl_emotion.cli import main
from s3prl_emotion.experiment import preparation


@pytest.mark.parametrize("command", ["classical", "sweep"])
@pytest.mark.parametrize("fault", ["leak", "bad audio", "speakers"])
def test_a_corpus_that_is_refused_stops_a_list_once(command, fault, tmp_path, demo_manifest, monkeypatch, capsys):
    """Neither decoded anew nor refused anew for each of three."""
    decoded = []
    real = preparation.validate
    monkeypatch.setattr(preparation, "validate", lambda *given: decoded.append(1) or real(*given))
    rows = [(demo_manifest.path_of(item), item.label, item.speaker) for item in demo_manifest.utterances]
    speakers = list(dict.fromkeys(speaker for *_, speaker in rows))
    if fault == "leak":
        shutil.copy(rows[0][0], tmp_path / "copy.wav")
        rows += [(tmp_path / "copy.wav", rows[0][1], speaker) for speaker in speakers[1:2]]
    elif fault == "bad audio":
        (tmp_path / "bad.wav").write_bytes(b"RIFF")
        rows.append((tmp_path / "bad.wav", rows[0][1], rows[0][2]))
    else:
        rows.append((rows[0][0], rows[0][1], speakers[0].upper() + "_"))
    lines = [f"u{k},{path},{label},{speaker}" for k, (path, label, speaker) in enumerate(rows)]
    (tmp_path / "t.csv").write_text("\n".join(["id,path,label,speaker", *lines]) + "\n")
    given = [
        "--corpus",
        "table",
        "--data",
        str(tmp_path / "t.csv"),
        "--root",
        str(tmp_path / "r"),
        "-u",
        "fbank_no_cmvn",
    ]
    several = (
        ["--classifier", "logistic,svm,mlp"] if command == "classical" else ["-d", "emotion_mean", "--seeds", "0,1,2"]
    )
    assert main([command, *given, *several]) == 2
    said = capsys.readouterr().err
    word = {
        "leak": "the division leaks",
        "bad audio": "1 of 81 utterances cannot be used",
        "speakers": "keeps speakers",
    }
    assert said.count(word[fault]) == 1
    assert "points failed" not in said
    assert len(decoded) == (fault != "speakers")
