"""The command ``compare``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reporting.runs import make_run

from s3prl_emotion.cli import main


def test_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = make_run(tmp_path / "a")
    make_run(tmp_path / "b", downstream="emotion_corr", rng=9)
    assert main(["compare", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Block 1: iemocap, protocol superb\n")
    assert f"{100 * results['ua']['mean']:.2f}" in out
    assert "minus A" in out


@pytest.mark.parametrize(("metric", "title"), [("ua", "UA"), ("wa", "WA"), ("macro_f1", "macro-F1")])
def test_metric_and_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str], metric: str, title: str) -> None:
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", downstream="emotion_corr", rng=9)
    assert main(["compare", str(tmp_path / "a"), "--baseline", str(tmp_path / "b"), "--metric", metric]) == 0
    out = capsys.readouterr().out
    assert f"{title}," in out
    assert "minus A" in out
    assert "A: hubert emotion_corr" in out


def test_a_file_in_each_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "runs" / "a")
    starts = {"table": "Block 1", "json": "{", "csv": "block,kind", "markdown": "## Block 1"}
    for form, start in starts.items():
        file = tmp_path / "out" / f"comparison.{form}"
        assert main(["compare", str(tmp_path / "runs"), "--format", form, "--out", str(file)]) == 0
        assert capsys.readouterr().out == f"{file}\n"
        text = file.read_text(encoding="utf-8")
        assert text.startswith(start)
        assert text.endswith("\n")
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["blocks"][0]["corpus"] == "iemocap"


def test_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path / "missing")]) == 2
    assert "missing: no such folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["compare", str(tmp_path / "empty")]) == 2
    assert "holds no results.json, nor does any folder below it" in capsys.readouterr().err
    make_run(tmp_path / "run")
    (tmp_path / "run" / "predictions.csv").unlink()
    assert main(["compare", str(tmp_path / "run")]) == 2
    assert "holds no predictions.csv" in capsys.readouterr().err
    (tmp_path / "run" / "results.json").write_text("{")
    (tmp_path / "run" / "predictions.csv").write_text("fold")
    assert main(["compare", str(tmp_path / "run")]) == 2
    assert "error: " in capsys.readouterr().err
