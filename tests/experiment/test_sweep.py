"""A grid of runs: shared states, learning rates chosen on dev in each fold, failures that stop nothing else."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from s3prl_emotion import load
from s3prl_emotion.cli import main
from s3prl_emotion.errors import ConfigError, RunError
from s3prl_emotion.experiment.sweep import Grid, choose_rates
from s3prl_emotion.runs.prediction import read_predictions
from s3prl_emotion.runs.results import read_results

SHORT = "config.runner.total_steps=3,,config.runner.eval_step=1,,config.runner.save_step=3,,config.runner.log_step=3"


@pytest.fixture
def start(demo_root, cache_root):
    def sweep(*options, command="sweep"):
        return main(
            [
                command,
                *("--corpus", "demo", "--data", str(demo_root), "--device", "cpu", "--cache-root", str(cache_root)),
                *("-o", SHORT, *options),
            ]
        )

    return sweep


def test_a_grid_ends_in_a_comparison_and_is_not_run_twice(start, tmp_path, capsys):
    names = "emotion_mean,emotion_mean_std"
    options = ("-u", "fbank", "-d", names, "--seeds", "0,1", "--lr", "1e-2,1e-4", "--fold", "1,2")
    assert start(*options) == 0
    printed = capsys.readouterr().out
    assert "emotion_mean_std" in printed
    folder = tmp_path / "result/downstream/fbank/emotion_mean_std"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"demo-superb-lr{rate}-seed{seed}" for rate in ("0.0001", "0.01", "dev") for seed in (0, 1)
    ]
    times = {path: path.stat().st_mtime_ns for path in folder.glob("*/fold*/*.ckpt")}
    assert start(*options) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/fold*/*.ckpt")} == times
    assert printed.endswith(capsys.readouterr().out)  # the Runner printed before


def test_each_fold_takes_the_rate_that_its_own_dev_set_prefers(start, tmp_path):
    assert start("-u", "fbank", "-d", "emotion_mean_std", "--lr", "1e-2,1e-4", "--fold", "1,2") == 0
    folder = tmp_path / "result/downstream/fbank/emotion_mean_std"
    runs = {0.01: folder / "demo-superb-lr0.01", 0.0001: folder / "demo-superb-lr0.0001"}
    for number, (high, low) in {1: (0.5, 0.6), 2: (0.7, 0.7)}.items():  # of equals, the larger rate
        for rate, score in ((0.01, high), (0.0001, low)):
            path = runs[rate] / f"fold{number}" / "fold.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), "dev_score": score}))
    chosen = choose_rates(runs)
    table = json.loads((chosen / "learning_rates.json").read_text())
    assert table["chosen"] == {"1": 0.0001, "2": 0.01}
    assert table["dev"] == {"1": {"0.01": 0.5, "0.0001": 0.6}, "2": {"0.01": 0.7, "0.0001": 0.7}}
    rows, _ = read_predictions(chosen / "predictions.csv")
    expected = [
        row
        for number, rate in ((1, 0.0001), (2, 0.01))
        for row in read_predictions(runs[rate] / f"fold{number}" / "predictions.csv")[0]
    ]
    assert rows == expected
    results = read_results(chosen / "results.json")
    assert results.settings.further["lr"] == "chosen in each fold on its dev set from 0.0001, 0.01"
    steps = [
        json.loads((runs[rate] / f"fold{n}" / "fold.json").read_text())["step"] for n, rate in ((1, 1e-4), (2, 1e-2))
    ]
    assert [fold.step for fold in results.folds] == steps
    recogniser = load(chosen, device="cpu")
    assert recogniser.folds == (1, 2)
    for part, (number, rate) in zip(recogniser.parts.folds, ((1, 0.0001), (2, 0.01)), strict=True):
        own = load(runs[rate], fold=number, device="cpu").parts.folds[0]
        assert all(torch.equal(value, part.head[name]) for name, value in own.head.items())
    with pytest.raises(RunError, match=r"fold=3: .* holds fold 1, 2"):
        load(chosen, fold=3)
    shutil.rmtree(runs[0.01])
    with pytest.raises(
        RunError, match=r"its checkpoints are in the runs that it chose from, and .*lr0\.01 is not there"
    ):
        load(chosen)


def test_dev_scores_are_those_of_the_log(start, tmp_path):
    assert start("-u", "fbank", "-d", "emotion_mean_std", "--fold", "3", command="run") == 0
    folder = tmp_path / "result/downstream/fbank/emotion_mean_std/demo-superb/fold3"
    best = [line for line in (folder / "log.log").read_text().splitlines() if line.startswith("New best")][-1]
    assert json.loads((folder / "fold.json").read_text())["dev_score"] == pytest.approx(
        float(best.split()[-1]), abs=1e-6
    )


def test_runs_with_other_folds_finished_are_not_put_together(start, tmp_path):
    assert start("-u", "fbank", "-d", "emotion_mean_std", "--lr", "1e-2", "--fold", "1") == 0
    assert start("-u", "fbank", "-d", "emotion_mean_std", "--lr", "1e-4", "--fold", "1,2") == 0
    folder = tmp_path / "result/downstream/fbank/emotion_mean_std"
    with pytest.raises(RunError, match=r"has the folds \[1, 2\], others \[1\]: finish them first"):
        choose_rates({0.01: folder / "demo-superb-lr0.01", 0.0001: folder / "demo-superb-lr0.0001"})


def test_a_point_that_fails_stops_no_other(start, tmp_path, capsys, monkeypatch):
    assert start("-u", "fbank,no_such_upstream", "-d", "emotion_mean_std", "--fold", "1") == 2
    assert "-u 'no_such_upstream' is not an upstream" in capsys.readouterr().err  # before anything is trained
    assert not (tmp_path / "result/downstream").exists()
    monkeypatch.setattr("s3prl.hub.mfcc", lambda **_: 1 / 0)
    assert start("-u", "mfcc,fbank", "-d", "emotion_mean_std", "--fold", "1") == 2
    assert "1 of 2 points failed; the others are kept" in capsys.readouterr().err
    assert (tmp_path / "result/downstream/fbank/emotion_mean_std/demo-superb/results.json").is_file()


def test_seeds_of_a_run(start, tmp_path, capsys):
    assert (
        start("-u", "fbank", "-d", "emotion_mean_std", "--seeds", "1,2", "--fold", "1", "-n", "x", command="run") == 0
    )
    assert sorted(path.name for path in (tmp_path / "result/downstream").iterdir()) == ["x-seed1", "x-seed2"]
    assert start("-u", "fbank", "-d", "emotion_mean_std", "--seeds", "1,2", "--seed", "3", command="run") == 2
    assert "--seed 3 and --seeds both name seeds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-u", "fbank,fbank", "-d", "emotion_mean"), "-u fbank,fbank: something is named twice"),
        (("-u", ",", "-d", "emotion_mean"), "-u: expected at least one"),
        (("-u", "fbank", "-d", "emotion_mean", "--lr", "fast"), "--lr 'fast': expected numbers with commas, or superb"),
        (("-u", "fbank", "-d", "emotion_mean", "--lr", "0"), "--lr: expected different numbers above 0"),
        (("-u", "fbank", "-d", "emotion_mean", "--lr", "1", "-o", "config.optimizer.lr=1"), "both name learning rates"),
        (("-u", "fbank", "-d", "emotion_mean", "-n", "x"), "sweep names its run folders itself"),
        (("-u", "fbank", "-d", "emotion_mean", "-m", "evaluate"), "sweep trains: -e and -m belong to"),
    ],
)
def test_wrong_options(start, options, message, capsys):
    assert start(*options) == 2
    assert message in capsys.readouterr().err


def test_superbs_rates_are_accepted():
    from s3prl_emotion.cli.sweep import _rates

    assert _rates("superb") == (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
    with pytest.raises(ConfigError, match="--seeds 1,1: something is named twice"):
        Grid(("fbank",), ("emotion_mean",), (1, 1))


def test_the_corpus_is_read_once_for_the_whole_grid(start, monkeypatch):
    from s3prl_emotion.experiment import splits as module

    made = []
    original = module.prepare
    monkeypatch.setattr(module, "prepare", lambda *args, **kwargs: made.append(1) or original(*args, **kwargs))
    assert start("-u", "fbank", "-d", "emotion_mean", "--seeds", "5,6,7", "--fold", "1") == 0
    assert len(made) == 1
