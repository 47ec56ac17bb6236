"""A run folder: its names, what it is for, and what its finished folds must be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from s3prl_emotion.cli import main
from s3prl_emotion.errors import RunError
from s3prl_emotion.runs.folder import FoldFolder, RunFolder

FBANK = ("-u", "fbank", "-d", "emotion_mean_std", "--fold", "1")


def test_names_are_those_of_the_documentation(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.record == tmp_path / "run.json"
    assert run.fold(2).best == tmp_path / "fold2" / "dev-best.ckpt"
    assert run.fold(2).scored("dev") == tmp_path / "fold2" / "dev_predictions.csv"
    assert run.fold(2).run == run


def test_the_run_of_a_fold_that_is_the_working_folder(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "fold1").mkdir()
    monkeypatch.chdir(tmp_path / "fold1")
    assert FoldFolder(Path(".")).run.record == tmp_path / "run.json"


def test_a_run_folder_is_read_without_torch() -> None:
    code = "import s3prl_emotion.runs.folder, sys; print({'torch', 's3prl', 'transformers'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_predictions_that_were_edited_are_refused(run, tmp_path: Path, capsys) -> None:
    assert run(*FBANK) == 0
    result = (tmp_path / "run" / "results.json").read_bytes()
    place = RunFolder(tmp_path / "run")
    about, manifest, folds = place.whole()
    fold = place.fold(1)
    finished = fold.finished(1, about, manifest, folds)
    assert len(fold.read_predictions(finished, manifest.labels, folds[1].test)) == len(folds[1].test)
    lines = fold.predictions.read_text().splitlines(keepends=True)
    fold.predictions.write_text("".join([lines[0], *reversed(lines[1:])]))
    with pytest.raises(RunError, match=r"fold1/predictions\.csv was changed after the fold ended"):
        fold.read_predictions(finished, manifest.labels, folds[1].test)
    capsys.readouterr()
    assert run(*FBANK) == 2
    assert (
        "predictions.csv was changed after the fold ended: score it again with -m evaluate" in capsys.readouterr().err
    )
    assert (tmp_path / "run" / "results.json").read_bytes() == result


def test_settings_are_worded_by_the_version_that_wrote_them(run, tmp_path: Path, capsys) -> None:
    """They follow from what is compared; a folder of an earlier version, which told of other deviations, goes on."""
    assert run(*FBANK, more="config.downstream_expert.modelrc.projector_dim=16") == 0
    record = tmp_path / "run" / "run.json"
    about = json.loads(record.read_text())
    about["settings"]["deviations"] = ["as an earlier version said it"]
    record.write_text(json.dumps(about))
    capsys.readouterr()
    (tmp_path / "run" / "fold1" / "fold.json").unlink()
    assert run(*FBANK, more="config.downstream_expert.modelrc.projector_dim=16") == 0
    assert "with other settings" not in capsys.readouterr().err
    assert run(*FBANK, more="config.downstream_expert.modelrc.projector_dim=8") == 2
    assert "config.downstream_expert.modelrc.projector_dim was 16 and is 8" in capsys.readouterr().err


def test_prepare_does_not_write_into_a_run(tmp_path: Path, capsys) -> None:
    (tmp_path / "run.json").write_text("{}")
    assert main(["prepare", "--corpus", "demo", "--out", str(tmp_path / "prepared")]) == 2
    assert "is the folder of a run" in capsys.readouterr().err
