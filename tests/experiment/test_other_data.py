"""What must not be mixed or lost: other data in a run folder, files of a run, options given twice."""

from __future__ import annotations

import pytest

from s3prl_emotion.cli import main
from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.protocols import make_folds

SHORT = "config.runner.total_steps=2,,config.runner.eval_step=1"


@pytest.fixture
def table(tmp_path, demo_root, demo_manifest):
    path = tmp_path / "table.csv"
    rows = [f"{demo_root / item.path},{item.label},{item.speaker},{item.fold}" for item in demo_manifest.utterances]
    path.write_text("path,label,speaker,fold\n" + "\n".join(rows) + "\n")
    return path


def test_a_table_that_was_edited_is_another_corpus(table, capsys):
    command = ["run", "-u", "fbank", "-d", "emotion_mean_std", "--corpus", "table", "--data", str(table), "-o", SHORT]
    assert main([*command, "--device", "cpu", "--fold", "1"]) == 0
    assert "run folder: result/downstream/fbank/emotion_mean_std/table_table-strict" in capsys.readouterr().out
    table.write_text(table.read_text().replace(",neu,", ",sad,", 1))
    assert main([*command, "--device", "cpu", "--fold", "2"]) == 2
    assert "holds a run with other settings: corpus.table_sha256 was" in capsys.readouterr().err


def test_prepare_does_not_write_into_a_run_folder(run, tmp_path, demo_root, capsys):
    assert run("-u", "fbank", "-d", "emotion_mean_std", "--fold", "1") == 0
    before = (tmp_path / "run" / "manifest.jsonl").read_bytes()
    assert main(["prepare", "--corpus", "demo", "--data", str(demo_root), "--out", str(tmp_path / "run")]) == 2
    assert "is the folder of a run, whose manifest and folds must stay" in capsys.readouterr().err
    assert (tmp_path / "run" / "manifest.jsonl").read_bytes() == before
    assert (
        main(["prepare", "--corpus", "demo", "--data", str(demo_root), "--out", str(tmp_path / "run" / "fold1")]) == 2
    )


def test_inference_takes_a_folds_folder(run, tmp_path, demo_root, demo_manifest, capsys):
    assert run("-u", "fbank", "-d", "emotion_mean_std", "--fold", "1") == 0
    audio = str(demo_manifest.path_of(demo_manifest.utterances[0]))
    folder = str(tmp_path / "run" / "fold1")
    capsys.readouterr()
    assert main(["run", "-m", "inference", "-e", folder, "-t", audio, "--device", "cpu"]) == 0
    assert '"probabilities"' in capsys.readouterr().out


def test_an_option_given_twice(capsys):
    words = ["prepare", "--corpus", "combined", "--data", ".", "--out", "x"]
    assert main([*words, "--corpus-option", "parts=a", "--corpus-option", "parts=b"]) == 2
    assert "--corpus-option 'parts=b': parts is given twice" in capsys.readouterr().err


def test_seeds_that_are_no_numbers(capsys):
    with pytest.raises(SystemExit):
        main(["run", "-u", "fbank", "-d", "emotion_mean", "--seeds", "a"])
    assert "expected whole numbers with commas, such as 0,1,2, got 'a'" in capsys.readouterr().err


def test_a_fold_with_next_to_nothing_to_test_is_named(caplog):
    items = [
        Utterance(f"{s}{label}{n}", "a.wav", label, str(s), fold=s + 1)
        for s in range(4)
        for label in ("neu", "ang")
        for n in range(8)
        if s or (label == "neu" and n == 0)
    ]
    make_folds(Manifest("mine", ("neu", "ang"), ".", tuple(items)), "superb")
    (line,) = [record.message for record in caplog.records]
    assert line.startswith("mine, protocol superb, fold 1: tests on 1 utterances only, none of them ang")
