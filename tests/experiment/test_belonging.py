"""A run folder is for one request, and what it consists of belongs together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from s3prl_emotion.cli import main
from s3prl_emotion.errors import RunError
from s3prl_emotion.experiment import jobs
from s3prl_emotion.inference.sources import read_parts
from s3prl_emotion.locks import LOCK, shared
from s3prl_emotion.runs.folder import USERS, RunFolder

FBANK = ("-u", "fbank", "-d", "emotion_mean_std", "--fold", "1")


def test_a_claim_is_compared_again_when_it_is_made(tmp_path: Path, demo_manifest) -> None:
    """Another process claims the folder between the first look and the claim; nobody has computed anything yet."""
    from s3prl_emotion.protocols.split import make_folds

    folds = make_folds(demo_manifest, "strict")
    mine, other = ({**_identity(), "seed": seed} for seed in (1, 2))
    with RunFolder(tmp_path).claimed(mine, lambda known: (demo_manifest, folds, known)) as (_, _, known):
        assert not known
        refused = pytest.raises(RunError, match=r"seed was 1 and is 2\. Another process is computing it at this moment")
        with refused, RunFolder(tmp_path).claimed(other, lambda known: (demo_manifest, folds, known)):
            pass
        with RunFolder(tmp_path).claimed(mine, lambda known: (demo_manifest, folds, known)) as (_, _, again):
            assert again, "the same request may compute other folds there"
    assert not RunFolder(tmp_path).is_for(other), "nothing was computed, and nobody is there any more"
    with RunFolder(tmp_path).claimed(other, lambda known: (demo_manifest, folds, known)):
        assert json.loads((tmp_path / "run.json").read_text())["seed"] == 2


def test_looking_at_a_claim_does_not_take_it_away(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({**_identity(), "seed": 1}))
    with shared(tmp_path / USERS), pytest.raises(RunError, match="seed was 1 and is 2"):
        RunFolder(tmp_path).is_for({**_identity(), "seed": 2})
    assert not RunFolder(tmp_path).is_for({**_identity(), "seed": 2})
    assert (tmp_path / "run.json").is_file()


def test_a_start_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(known: bool):
        raise RunError("no such corpus")

    with pytest.raises(RunError, match="no such corpus"), RunFolder(tmp_path / "a" / "b").claimed(_identity(), fail):
        pass
    assert not (tmp_path / "a").exists()
    (tmp_path / "notes").touch()
    with pytest.raises(RunError, match="no such corpus"), RunFolder(tmp_path).claimed(_identity(), fail):
        pass
    assert (tmp_path / "notes").exists()


def test_labels_in_another_order_are_refused(run, tmp_path, demo_root, capsys) -> None:
    """Before, predict named other classes, and a repeated run permuted the probabilities."""
    assert run(*FBANK) == 0
    manifest = tmp_path / "run" / "manifest.jsonl"
    before = (tmp_path / "run" / "predictions.csv").read_bytes()
    head, _, rest = manifest.read_text().partition("\n")
    header = json.loads(head)
    header["labels"].reverse()
    manifest.write_text(f"{json.dumps(header)}\n{rest}")
    audio = str(next(demo_root.rglob("*.wav")))
    fold = str(tmp_path / "run" / "fold1")
    for command in (
        ["predict", "--run", str(tmp_path / "run"), audio, "--device", "cpu"],
        ["predict", "--run", fold, audio, "--device", "cpu"],
        ["evaluate", str(tmp_path / "run")],
        ["run", "-m", "evaluate", "-e", fold, "--device", "cpu"],
    ):
        assert main(command) == 2
        assert "manifest.jsonl" in capsys.readouterr().err
    assert run(*FBANK) == 2
    assert (tmp_path / "run" / "predictions.csv").read_bytes() == before


def test_a_fold_that_was_copied_elsewhere_names_its_own_classes(run, tmp_path, demo_root, capsys) -> None:
    assert run(*FBANK) == 0
    expected = read_parts(tmp_path / "run")
    shutil.copytree(tmp_path / "run" / "fold1", tmp_path / "lone" / "best")
    parts = read_parts(tmp_path / "lone" / "best")
    assert (parts.labels, parts.corpus) == (expected.labels, expected.corpus)
    assert "without the run.json of its run" in capsys.readouterr().err
    foreign = json.dumps(
        {"schema": 1, "corpus": "other", "labels": ["a", "b", "c", "d"], "root": "/", "count": 0, **{}}
    )
    (tmp_path / "lone" / "manifest.jsonl").write_text(foreign + "\n")
    with pytest.raises(RunError, match=r"is not the manifest that .*dev-best\.ckpt was trained with"):
        read_parts(tmp_path / "lone" / "best")


def test_a_fold_of_another_run_is_refused(run, tmp_path, capsys) -> None:
    assert run(*FBANK) == 0
    assert run(*FBANK, "--seed", "7", folder=tmp_path / "other") == 0
    shutil.rmtree(tmp_path / "run" / "fold1")
    shutil.copytree(tmp_path / "other" / "fold1", tmp_path / "run" / "fold1")
    assert run(*FBANK) == 2
    assert "the fold is of a run with other settings" in capsys.readouterr().err


def test_the_checkpoint_of_k_stands_in_the_record_and_may_be_moved(run, tmp_path, tiny_hubert) -> None:
    shutil.copytree(tiny_hubert, tmp_path / "first")
    options = ("-u", "hf_auto_custom", "-d", "emotion_mean", "--fold", "1", "-k")
    assert run(*options, str(tmp_path / "first")) == 0
    record = (tmp_path / "run" / "run.json").read_text()
    assert json.loads(record)["checkpoint"] == str(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "second")
    assert run(*options, str(tmp_path / "second")) == 0
    assert (tmp_path / "run" / "run.json").read_text() == record


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("CUDA error: device-side assert"), "RuntimeError: CUDA error: device-side assert"),
        (MemoryError(), "the machine's memory is used up"),
        (OSError(28, "No space left on device", "x.ckpt"), "x.ckpt: the disk is full. Make room there"),
        (KeyError("weights"), "KeyError: 'weights'"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_sweep_goes_on_whatever_one_point_fails_by(error, told, tmp_path, monkeypatch, capsys) -> None:
    ran = []

    def run_or_fail(request, prepared, statistics):
        ran.append(request.s3prl["seed"])
        if request.s3prl["seed"] == 1:
            raise error
        return tmp_path / str(request.s3prl["seed"]), {}

    monkeypatch.setattr(jobs, "run", run_or_fail)
    assert main(["sweep", "-u", "fbank", "-d", "emotion_mean", "--corpus", "demo", "--seeds", "0,1,2"]) == 2
    assert ran == [0, 1, 2]
    said = capsys.readouterr().err
    assert "error: 1 of 3 points failed; the others are kept, and the same command tries again:" in said
    assert f"\n  fbank emotion_mean, seed 1: {told}" in said
    assert "Traceback" not in said


def test_a_sweep_that_is_interrupted_stops(tmp_path, monkeypatch) -> None:
    def interrupted(request, prepared, statistics):
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "run", interrupted)
    assert main(["sweep", "-u", "fbank", "-d", "emotion_mean", "--corpus", "demo", "--seeds", "0,1"]) == 130


def _identity() -> dict[str, object]:
    return {
        "upstream": "fbank",
        "checkpoint": None,
        "checkpoint_sha256": None,
        "downstream": "emotion_mean",
        "config": {"runner": {}, "downstream_expert": {}},
        "seed": 1,
        "corpus": {"name": "demo"},
        "protocol": "strict",
        "settings": {"deviations": []},
    }


def test_results_are_put_together_by_one_at_a_time(run, tmp_path, monkeypatch) -> None:
    """Who collects last has seen every finished fold: otherwise an early look could overwrite a later one."""
    from s3prl_emotion.experiment import aggregation
    from s3prl_emotion.locks import is_held

    seen = []
    original = aggregation._collected
    monkeypatch.setattr(aggregation, "_collected", lambda run: seen.append(is_held(run.path / LOCK)) or original(run))
    assert run(*FBANK) == 0
    assert seen == [True]
