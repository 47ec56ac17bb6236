"""The ladder of arXiv 2312.11503: its rows are the paper's, and the whole of it runs at tiny sizes."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from five_corpora import make_five
from text.models import tiny_bert

from s3prl_emotion.classical import PREFIX, classifier_of
from s3prl_emotion.cli import main
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.experiment import jobs
from s3prl_emotion.experiment.paper_table import RUNGS, SOURCE, select_rows
from s3prl_emotion.published import _table, paper_rows
from s3prl_emotion.s3prl_runner.registration import downstream_configs


def test_every_published_row_is_a_rung() -> None:
    published = {row["pooling"] for row in _table("papers.csv") if row["source"] == SOURCE}
    named = [rung.published[0] for rung in RUNGS.values() if rung.published is not None]
    assert len(set(named)) == len(named)
    assert set(named) == published
    for rung in RUNGS.values():
        if rung.published is not None:
            rows = [row for row in paper_rows(None, rung.published[1]) if row.downstream == rung.published[0]]
            assert {row.metric for row in rows} == {"UA", "WA"}
            assert {row.corpus for row in rows} == {"five"}


def test_every_rung_is_known() -> None:
    for rung in RUNGS.values():
        if rung.downstream.startswith(PREFIX):
            assert classifier_of(rung.downstream) is not None
        else:
            assert rung.downstream in downstream_configs()


def test_rows_are_named() -> None:
    assert select_rows(["cnn", "knn"]) == ["knn", "cnn"]
    assert select_rows([]) == list(RUNGS)
    with pytest.raises(ConfigError, match=r"--rows: unknown row 'knnn'\. Did you mean 'knn'"):
        select_rows(["knnn"])


@pytest.mark.slow
def test_the_whole_ladder(
    tmp_path: Path, tiny_hubert: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row under both protocols, one fold; repeated, nothing is run again; without a package its row is named."""
    five = make_five(tmp_path / "five", seconds=0.2)
    tiny = "config.runner.total_steps=2,,config.runner.eval_step=1,,config.runner.save_step=2,,config.runner.log_step=2"
    tiny += ",,config.scheduler=None"  # its 500 warm-up steps are more than these two
    speech = ["-u", "hf_auto_custom", "-k", str(tiny_hubert)]
    reads = ["--text-encoder", str(tiny_bert(tmp_path / "bert")), "--allow-empty-text"]
    command = ["ladder", "--data", str(five), "--fold", "1", "--device", "cpu"]
    command += [*speech, *reads, "-o", tiny]
    assert main(command) == 0
    printed = capsys.readouterr().out
    for protocol in ("paper-d", "strict"):
        assert f"Protocol {protocol}\n" in printed
    for rung in RUNGS.values():
        assert sum(line.startswith(f"{rung.title}  ") for line in printed.splitlines()) == 2, rung.title
    knn = next(line for line in printed.splitlines() if line.startswith("k nearest neighbours")).split()
    assert knn[-3:] == ["56.72", "62.94", "119.66"]
    assert "this run is marked: speakers shared between train and test" in " ".join(printed.split())
    assert max(map(len, printed.splitlines())) <= 100
    times = {path: path.stat().st_mtime_ns for path in Path("result/studies").rglob("fold.json")}
    assert main([*command, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {path: path.stat().st_mtime_ns for path in Path("result/studies").rglob("fold.json")} == times
    assert len(rows) == 2 * 3 * len(RUNGS)
    (fine_tuned,) = (
        row for row in rows if (row["protocol"], row["row"], row["metric"]) == ("strict", "HuBERT", "ua_plus_wa")
    )
    assert float(fine_tuned["published"]) == pytest.approx(1.5006)
    monkeypatch.setattr(jobs.Need, "is_met", property(lambda need: need.module != "torchvision"))
    assert main([*command, "--rows", "mobilenet,tree"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "MobileNetV2: skipped: torchvision is not installed: pip install 's3prl-emotion[mobilenet]'" in text
    assert "decision tree" in text
