"""A whole run: what it learns, what it leaves behind, and that it goes on where it stopped, as if it never had."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from s3prl_emotion.errors import RunError
from s3prl_emotion.s3prl_runner.checkpoints import load_checkpoint

FBANK = ("-u", "fbank", "-d", "emotion_mean_std")


def _head(path: Path) -> dict[str, torch.Tensor]:
    state = load_checkpoint(path)["Downstream"]
    return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}


def _same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_learnable_problem_is_learned(run, tmp_path, capsys) -> None:
    """Weights move, training accuracy rises, and five folds end well above chance: nothing of this can pass by luck."""
    more = "config.downstream_expert.datarc.train_batch_size=32,,config.optimizer.lr=3e-3"
    assert run(*FBANK, steps=60, every=20, more=more) == 0
    folder = tmp_path / "run"
    results = json.loads((folder / "results.json").read_text())
    assert results["complete"]
    assert results["ua"]["mean"] > 0.45
    assert [fold["n"] for fold in results["folds"]] == [16] * 5
    assert results["protocol"]["name"] == "superb"
    assert results["protocol"]["selection"] == "dev accuracy"
    for fold in range(1, 6):
        early, late = (_head(folder / f"fold{fold}" / f"states-{step}.ckpt") for step in (40, 60))
        moved = [name for name in early if name.startswith("head") and not torch.equal(early[name], late[name])]
        assert len(moved) == 4, f"only {moved} moved"
        train = [
            line for line in (folder / f"fold{fold}" / "log.log").read_text().splitlines() if line.startswith("train")
        ]
        accuracy = [float(line.split("wa ")[1].split(",")[0]) for line in train]
        assert accuracy[-1] > max(0.5, accuracy[0])
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 80
    assert {row["fold"]: row["speaker"][:5] for row in rows} == {str(n): f"Ses0{n}" for n in range(1, 6)}
    correct = sum(row["truth"] == row["predicted"] for row in rows)
    assert abs(correct / 80 - results["wa"]["mean"]) < 1e-9
    printed = capsys.readouterr().out
    assert "SUPERB" in printed
    assert printed.rstrip().endswith(f"run folder: {folder}")


def test_predictions_belong_to_the_dev_best_checkpoint(run, tmp_path) -> None:
    assert run(*FBANK, "--fold", "2", steps=12, every=2) == 0
    fold = tmp_path / "run" / "fold2"
    best = load_checkpoint(fold / "dev-best.ckpt")
    done = json.loads((fold / "fold.json").read_text())
    assert done["step"] == best["Step"]
    lines = (fold / "log.log").read_text().splitlines()
    news = [line for line in lines if line.startswith("New best")]
    assert f"step {done['step']}:" in news[-1]
    assert sum(line.startswith("test") for line in lines) == 1
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert not results["complete"]
    assert [entry["fold"] for entry in results["folds"]] == [2]


def test_an_interrupted_run_goes_on_as_the_same_run(run, tmp_path, monkeypatch, capsys) -> None:
    """Bit for bit: batches, channel dropout, optimiser and selection, with an epoch (2 batches) cut in the middle."""
    from s3prl_emotion.downstream.expert import DownstreamExpert

    options = ("-u", "fbank", "-d", "emotion_corr", "--fold", "1")
    more = "config.downstream_expert.datarc.train_batch_size=16"
    assert run(*options, steps=10, every=5, more=more, folder=tmp_path / "whole") == 0

    original, seen = DownstreamExpert.forward, []

    def interrupt(self, split, *args, **kwargs):
        seen.append(split)
        if seen.count("train") == 8:
            raise KeyboardInterrupt
        return original(self, split, *args, **kwargs)

    monkeypatch.setattr(DownstreamExpert, "forward", interrupt)
    assert run(*options, steps=10, every=5, more=more, folder=tmp_path / "cut") == 130
    assert "goes on from there" in capsys.readouterr().err
    monkeypatch.setattr(DownstreamExpert, "forward", original)
    assert run(*options, steps=10, every=5, more=more, folder=tmp_path / "cut") == 0
    whole, cut = tmp_path / "whole" / "fold1", tmp_path / "cut" / "fold1"
    assert _same(_head(whole / "states-10.ckpt"), _head(cut / "states-10.ckpt"))
    assert (whole / "test_predictions.csv").read_text() == (cut / "test_predictions.csv").read_text()


def test_evaluation_does_not_disturb_training(run, tmp_path) -> None:
    options = ("-u", "fbank", "-d", "emotion_attn_corr", "--fold", "1")
    save = "config.runner.save_step=8"
    assert run(*options, steps=8, every=8, more=save, folder=tmp_path / "rarely") == 0
    assert run(*options, steps=8, every=1, more=save, folder=tmp_path / "often") == 0
    rarely, often = (_head(tmp_path / name / "fold1" / "states-8.ckpt") for name in ("rarely", "often"))
    rarely.pop("best_score")
    often.pop("best_score")
    assert _same(rarely, often)


def test_a_finished_run_is_not_trained_again(run, tmp_path) -> None:
    assert run(*FBANK, "--fold", "1") == 0
    fold = tmp_path / "run" / "fold1"
    before = {path.name: path.stat().st_mtime_ns for path in fold.iterdir() if path.name != ".lock"}
    assert run(*FBANK, "--fold", "1") == 0
    assert {path.name: path.stat().st_mtime_ns for path in fold.iterdir() if path.name != ".lock"} == before


def test_another_run_in_the_same_folder_is_refused(run, tmp_path, capsys) -> None:
    assert run(*FBANK, "--fold", "1") == 0
    results = (tmp_path / "run" / "results.json").read_text()
    assert run(*FBANK, "--fold", "1", "--seed", "7") == 2
    assert "seed was 1337 and is 7" in capsys.readouterr().err
    assert run(*FBANK, "--fold", "1", more="config.runner.gradient_clipping=2") == 2
    assert "config.runner.gradient_clipping was 1.0 and is 2.0" in capsys.readouterr().err
    assert (tmp_path / "run" / "results.json").read_text() == results


def test_a_fold_has_one_worker(run, tmp_path, capsys) -> None:
    import filelock

    (tmp_path / "run" / "fold1").mkdir(parents=True)
    with filelock.FileLock(tmp_path / "run" / "fold1" / ".lock"):
        assert run(*FBANK, "--fold", "1") == 2
    assert "another process is working on this fold" in capsys.readouterr().err


@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_a_nan_gradient_stops_the_run(run, tmp_path, monkeypatch, capsys, bad: str) -> None:
    from s3prl_emotion.downstream.objectives.losses import CrossEntropy

    original = CrossEntropy.forward
    monkeypatch.setattr(  # in training alone: an objective that gives such numbers by itself is refused before
        CrossEntropy,
        "forward",
        lambda self, logits, labels: original(self, logits, labels) * (float(bad) if logits.requires_grad else 1.0),
    )
    assert run(*FBANK, "--fold", "1") == 2
    message = capsys.readouterr().err
    assert "the gradient is not finite at optimiser step 1, first in DownstreamExpert.head" in message
    assert not (tmp_path / "run" / "fold1" / "dev-best.ckpt").exists()


def test_mean_pooling_of_normalised_features_is_explained(run, capsys) -> None:
    assert run("-u", "fbank", "-d", "emotion_mean", "--fold", "1") == 0
    assert "mean pooling sees nothing" in capsys.readouterr().err


def test_layer_and_metric_logs(run, tmp_path, tiny_hubert) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert run("-u", "hf_auto_custom", "-k", str(tiny_hubert), "-d", "emotion_mean", "--fold", "1") == 0
    fold = tmp_path / "run" / "fold1"
    weights = [line.split(",") for line in (fold / "layer_weights.csv").read_text().splitlines()]
    assert [row[0] for row in weights] == ["2", "4"]
    assert all(abs(sum(map(float, row[1:])) - 1) < 1e-4 and len(row) == 4 for row in weights)
    assert weights[0] != weights[1]
    events = EventAccumulator(str(fold))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    for split in ("train", "dev"):
        for figure in ("loss", "ua", "wa", "macro_f1"):
            assert f"emotion_mean-fold1/{split}-{figure}" in tags
    assert "emotion_mean-fold1/layer-weight-02" in tags


def test_folds_share_a_folder(run, tmp_path) -> None:
    for fold in ("1", "3"):
        assert run(*FBANK, "--fold", fold) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [entry["fold"] for entry in results["folds"]] == [1, 3]


def test_a_torn_checkpoint_costs_its_steps_only(run, tmp_path, monkeypatch, capsys) -> None:
    from s3prl_emotion.downstream.expert import DownstreamExpert

    original, seen = DownstreamExpert.forward, []

    def interrupt(self, split, *args, **kwargs):
        seen.append(split)
        if seen.count("train") == 7:
            raise RunError("stop here")
        return original(self, split, *args, **kwargs)

    monkeypatch.setattr(DownstreamExpert, "forward", interrupt)
    assert run(*FBANK, "--fold", "1", steps=8) == 2
    monkeypatch.setattr(DownstreamExpert, "forward", original)
    fold = tmp_path / "run" / "fold1"
    assert sorted(path.name for path in fold.glob("states-*")) == ["states-4.ckpt", "states-6.ckpt"]
    torn = fold / "states-6.ckpt"
    torn.write_bytes(torn.read_bytes()[:1000])
    assert run(*FBANK, "--fold", "1", steps=8) == 0
    assert "an earlier one is used" in capsys.readouterr().err
    assert (fold / "fold.json").is_file()
