"""What others print stays off the terminal, and is kept."""

from __future__ import annotations

import logging
import re

from s3prl_emotion.s3prl_runner.training_files import FILE, kept_output


def test_lines_of_others_go_to_a_file(tmp_path, capsys) -> None:
    with kept_output(tmp_path):
        print("first")
        print("no line break", end="")
        with kept_output(tmp_path):  # an evaluation within a training
            print("inner")
    print("ours")
    assert capsys.readouterr().out == "ours\n"
    assert (tmp_path / FILE).read_text() == "first\ninner\nno line break\n"


def test_a_batch_that_did_not_fit_is_said(tmp_path, caplog) -> None:
    with caplog.at_level(logging.WARNING), kept_output(tmp_path):
        print("[Runner] - CUDA out of memory at step 3")
        print("[Runner] - Save the checkpoint to:")
    assert [record.getMessage() for record in caplog.records] == ["[Runner] - CUDA out of memory at step 3"]


def test_a_run_prints_its_table_alone(run, tmp_path, capsys) -> None:
    assert run("-u", "fbank", "-d", "emotion_mean_std", "--fold", "1") == 0
    printed = capsys.readouterr()
    assert printed.out.lstrip().startswith("upstream fbank | downstream emotion_mean_std")
    assert "[Runner]" not in printed.out + printed.err
    assert re.search(r"fold 1: UA [\d.]+ %, WA [\d.]+ % on 16 test utterances \(\d+ s\)$", printed.err, re.MULTILINE)
    assert "Save the checkpoint" in (tmp_path / "run" / "fold1" / FILE).read_text()
