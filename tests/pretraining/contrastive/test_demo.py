"""The whole of it as a user starts it, on the demo corpus: pretraining, a head from it, and the study."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from s3prl_emotion.cli import main
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.results import read_results

pytestmark = pytest.mark.slow


def test_the_demo_and_a_head_from_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "contrastive", "--demo", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    folder = tmp_path / "result/pretraining/contrastive/fbank_no_cmvn/demo-superb"
    report = json.loads((folder / "analysis/analysis.json").read_text())
    assert report["facts"]["emotion"]["ami"]["p"] < 0.05, "the demo's voices are in their emotions' clusters"
    assert "demo settings" in printed
    command = next(line for line in printed.splitlines() if line.startswith("s3prl-emotion run "))
    assert main([*command.split()[1:], "--demo", "--device", "cpu", "-p", "run"]) == 0
    results = read_results(RunFolder(Path("run")).results)
    assert [fold.fold for fold in results.folds] == [1, 2]
    assert results.rates["ua"].mean > 0.3
    assert any("started from the pretrained head" in text for text in results.deviations)
    assert main(["pretrain", "contrastive", "--demo", "--device", "cpu"]) == 0
    again = capsys.readouterr()
    assert printed.splitlines()[-3:] == again.out.splitlines()[-3:]
    assert again.err.count("finished already") >= 6


def test_the_study_of_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "pretrain",
        "contrastive",
        "--demo",
        "--study",
        "--device",
        "cpu",
        "-p",
        "here",
        "-o",
        "study.shares=[0.5]",
    ]
    assert main(words) == 0
    printed = capsys.readouterr().out
    with Path("here/study/study.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["start"] for row in rows] == ["scratch", "pretrained", "random", "labels"]
    assert {row["folds"] for row in rows} == {"1 2"}
    assert "pretrained on emotion labels (upper bound, no method)" in printed
    assert "UA: mean over folds 1, 2 and seeds 1337, of each in this order" in printed
    together = " ".join(printed.split())
    assert "pretrained on emotion labels in place of clusters: an upper bound, no method;" in together
    assert "pretrained on random clusters: a control;" in together
    assert "modelrc.pretrained.sha256" not in together, "told in words"
    assert "p Holm" in printed
    heads = {name: Path("here", *place, "head/fold1") for name, place in _PLACES.items()}
    assert {name for name, path in heads.items() if (path / "pretraining-labelled.jsonl").is_file()} == {"labels"}
    for row in rows:
        results = read_results(RunFolder(Path("here") / row["run"]).results)
        assert float(row["ua"]) == results.rates["ua"].mean
        assert any("trained on 50 % of the training part" in text for text in results.deviations)
    before = {path: path.stat().st_mtime_ns for path in Path("here").rglob("predictions.csv")}
    assert main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in Path("here").rglob("predictions.csv")} == before


_PLACES = {"pretrained": (), "random": ("study", "random"), "labels": ("study", "labels")}
