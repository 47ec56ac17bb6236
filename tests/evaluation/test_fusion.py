"""Late fusion: against values computed by hand, and what it refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from reporting.runs import make_run

from s3prl_emotion.cli import main
from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation import summarise
from s3prl_emotion.evaluation.comparison import compare
from s3prl_emotion.evaluation.fusion import fuse, fuse_systems, write_fusion
from s3prl_emotion.evaluation.runs import read_run
from s3prl_emotion.runs.prediction import Prediction, read_predictions, write_predictions
from s3prl_emotion.runs.results import write_results


def run_of(folder: Path, rows: list[tuple[float, float] | None], **changes: object) -> Path:
    """A run of one fold, classes a and b, in which a is always true; ``rows`` are its probabilities."""
    predictions = [
        Prediction(1, f"u{n}", f"s{n % 2}", "a", "a" if row is None or row[0] >= 0.5 else "b", row)
        for n, row in enumerate(rows)
    ]
    about = {"name": "strict", "split_sha256": "ab", "dev": "d", "selection": "dev ua", "transductive": False}
    given = {"upstream": "x", "downstream": "head", "corpus": "c", "protocol": about, "steps": {1: 5}, "seed": 1}
    results = summarise(predictions, ["a", "b"], checkpoint_sha256=None, versions={}, **{**given, **changes})  # type: ignore[arg-type]
    folder.mkdir(parents=True)
    write_predictions(folder / "predictions.csv", predictions, ["a", "b"])
    write_results(folder / "results.json", results)
    return folder


def test_by_hand(tmp_path: Path) -> None:
    """Geometric means: sqrt(.9 * .2) and sqrt(.1 * .8); sqrt(.6 * .3) and sqrt(.4 * .7)."""
    first = run_of(tmp_path / "1", [(0.9, 0.1), (0.6, 0.4)])
    second = run_of(tmp_path / "2", [(0.2, 0.8), (0.3, 0.7)], upstream="y")
    fused = fuse([read_run(first), read_run(second)])
    one = math.sqrt(0.18) / (math.sqrt(0.18) + math.sqrt(0.08))
    two = math.sqrt(0.18) / (math.sqrt(0.18) + math.sqrt(0.28))
    given = [item.probabilities for item in fused.predictions]
    assert given == [pytest.approx((one, 1 - one)), pytest.approx((two, 1 - two))]
    assert [item.predicted for item in fused.predictions] == ["a", "b"]
    assert (fused.results.upstream, fused.results.downstream) == ("x+y", "fusion(head)")
    assert fused.results.rates["wa"].mean == 0.5
    assert fused.sources == [str(first), str(second)]


def test_a_zero_does_not_decide_alone(tmp_path: Path) -> None:
    """ln of .001 and .999 against ln of the floor and 1: (ln .999 + ln 1e-6) / 2 against (ln .001 + 0) / 2."""
    first = run_of(tmp_path / "1", [(0.999, 0.001)])
    second = run_of(tmp_path / "2", [(0.0, 1.0)], upstream="y")
    (item,) = fuse([read_run(first), read_run(second)]).predictions
    a, b = math.sqrt(0.999e-6), math.sqrt(0.001)
    assert item.probabilities == pytest.approx((a / (a + b), b / (a + b)))


def test_equal_probabilities_give_the_first_class(tmp_path: Path) -> None:
    first = run_of(tmp_path / "1", [(0.75, 0.25)])
    second = run_of(tmp_path / "2", [(0.25, 0.75)], upstream="y")
    (item,) = fuse([read_run(first), read_run(second)]).predictions
    assert item.predicted == "a"
    assert item.probabilities == pytest.approx((0.5, 0.5))


def test_a_system_like_any_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", upstream="fbank", rng=9)
    assert main(["compare", "--fuse", str(tmp_path / "a"), str(tmp_path / "b"), "--metric", "wa"]) == 0
    out = capsys.readouterr().out
    assert "C: hubert+fbank fusion(emotion_mean)" in out
    assert "late fusion, mean of the log-probabilities of hubert emotion_mean and fbank emotion_mean" in " ".join(
        out.split()
    )
    comparison = compare([], None, "ua", [[tmp_path / "a", tmp_path / "b"]])
    (block,) = comparison["blocks"]
    assert [item["key"] for item in block["differences"]] == ["B", "C"]
    assert block["systems"][2]["source"] == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert block["systems"][2]["copy_of"] is None


def test_deviations_that_all_share_are_said_once(tmp_path: Path) -> None:
    make_run(tmp_path / "a", settings={"deviations": ["--trim-zeros", "5 steps"]})
    make_run(tmp_path / "b", upstream="fbank", settings={"deviations": ["--trim-zeros"]})
    fused = fuse([read_run(tmp_path / "a"), read_run(tmp_path / "b")])
    assert fused.results.deviations == ("--trim-zeros", "hubert emotion_mean: 5 steps")


def test_seeds_are_fused_one_by_one(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        make_run(tmp_path / "a" / str(seed), seed=seed)
        if seed > 1:
            make_run(tmp_path / "b" / str(seed), seed=seed, upstream="fbank", rng=seed + 10)
    fused = fuse_systems([tmp_path / "a", tmp_path / "b"])
    assert [run.results.seed for run in fused] == [2, 3]
    (block,) = compare([], None, "ua", [[tmp_path / "a", tmp_path / "b"]])["blocks"]
    assert [system["seeds"] for system in block["systems"]] == [[1, 2, 3], [2, 3], [2, 3]]


def test_a_saved_fusion_is_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", upstream="fbank", rng=9)
    command = ["compare", "--fuse", str(tmp_path / "a"), str(tmp_path / "b"), "--save-fused", str(tmp_path / "fused")]
    assert main(command) == 0
    first = capsys.readouterr().out
    assert main(command) == 0  # written again, the same
    assert capsys.readouterr().out == first
    folder = tmp_path / "fused" / "hubert+fbank" / "fusion(emotion_mean)" / "iemocap-superb-seed1337"
    assert str(folder) in first.replace("\n  ", "")
    saved, fused = read_run(folder), fuse([read_run(tmp_path / "a"), read_run(tmp_path / "b")])
    assert saved.predictions == fused.predictions
    assert not saved.stale
    assert saved.train_sizes == fused.train_sizes
    assert [item["upstream"] for item in json.loads((folder / "results.json").read_text())["fusion"]] == [
        "hubert",
        "fbank",
    ]
    assert main(["evaluate", str(folder)]) == 0
    assert read_predictions(folder / "predictions.csv")[0] == list(saved.predictions)
    capsys.readouterr()
    needing = (["predict", "--run"], ["run", "-m", "evaluate", "-e"], ["run", "-m", "train", "-e"], ["evaluate"])
    for command in needing:
        options = ["--with", "noise"] if command == ["evaluate"] else []
        options += ["a.wav"] if command[0] == "predict" else []
        assert main([*command, str(folder), *options]) == 2
        assert "a late fusion has no model of its own; those are in" in capsys.readouterr().err, command
    (folder / "run.json").write_text("{}")
    with pytest.raises(RunError, match="a run is there already, which is no fusion"):
        write_fusion(fused, tmp_path / "fused")


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "a")
    make_run(tmp_path / "other", corpus="emodb")
    make_run(tmp_path / "many" / "x", rng=3)
    make_run(tmp_path / "many" / "y", rng=4, upstream="fbank")
    make_run(tmp_path / "seed" / "1", seed=1)
    make_run(tmp_path / "seeds" / "2", seed=2, upstream="fbank")
    make_run(tmp_path / "seeds" / "3", seed=3, upstream="fbank")
    run_of(tmp_path / "p" / "1", [(0.9, 0.1)])
    run_of(tmp_path / "p" / "2", [None], upstream="y")
    rows = {
        "a a": "is named twice",
        "a": "needs at least two runs",
        "a other": "is not comparable with",
        "a many": "holds 2 systems",
        "seed seeds": "no seed in common",
        "p/1 p/2": "has no probabilities",
        "a missing": "no such folder",
    }
    for members, message in rows.items():
        paths = [str(tmp_path / name) for name in members.split()]
        assert main(["compare", "--fuse", *paths]) == 2, members
        assert message in capsys.readouterr().err
    assert main(["compare"]) == 2
    assert "compare what?" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "a"), "--save-fused", str(tmp_path / "f")]) == 2
    assert "nothing to fuse" in capsys.readouterr().err
