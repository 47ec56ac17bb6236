"""A finished run on disturbed audio: undisturbed it is its record, what is scored is kept, nothing else changes."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from reporting.runs import make_run
from scipy import stats

from s3prl_emotion.audio.augmentation import effects
from s3prl_emotion.audio.conditions import UNDISTURBED, Condition, conditions, disturbed
from s3prl_emotion.audio.preparation import WHOLE
from s3prl_emotion.cli import main
from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.errors import ConfigError, RunError
from s3prl_emotion.evaluation.conditions import side_by_side
from s3prl_emotion.evaluation.runs import read_run
from s3prl_emotion.inference import robustness
from s3prl_emotion.inference.trained import EmotionRecogniser
from s3prl_emotion.runs.prediction import read_predictions

pytest.importorskip("audiomentations")
NOISE = Condition("noise", {"snr_db": 5.0})
NO_LEVELS: dict[str, None] = dict.fromkeys(("snr", "gain", "rt60", "semitones", "rate"))


def load(folder: Path, number: int) -> EmotionRecogniser:
    return EmotionRecogniser.load(folder, fold=number, device="cpu")


@pytest.fixture(scope="module")
def scored(trained: Path, tmp_path_factory) -> Path:
    """A copy of the run, scored undisturbed and under noise. Do not write into it."""
    folder = tmp_path_factory.mktemp("scored") / "run"
    shutil.copytree(trained, folder)
    robustness.score(read_run(folder), [UNDISTURBED, NOISE], load, 0, (1, 2))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name not in (".lock", ".users")}


def test_undisturbed_is_the_record_and_the_record_stays(scored: Path, trained: Path) -> None:
    run = read_run(scored)
    again, noisy = robustness.score(run, [UNDISTURBED, NOISE], load, 0, (1, 2))
    assert [item.utterance for item in again.predictions] == [item.utterance for item in run.predictions]
    for found, known in zip(again.predictions, run.predictions, strict=True):
        assert dataclasses.replace(found, probabilities=known.probabilities) == known
        assert found.probabilities == pytest.approx(known.probabilities, abs=1e-5)
    assert any(
        found.probabilities != pytest.approx(known.probabilities, abs=1e-4)
        for found, known in zip(noisy.predictions, run.predictions, strict=True)
    )
    before, after = content(trained), content(scored)
    new = {name for name in after if not name.startswith(f"{robustness.FOLDER}/")}
    assert new == set(before)
    assert all(after[name] == before[name] for name in before)


def test_a_fine_tuned_run_with_a_cut(tuned: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tuned, folder)
    run = read_run(folder)
    (again,) = robustness.score(run, [UNDISTURBED], load, 0, (2,))
    known = [item for item in run.predictions if item.fold == 2]
    for found, item in zip(again.predictions, known, strict=True):
        assert (found.utterance, found.predicted) == (item.utterance, item.predicted)
        assert found.probabilities == pytest.approx(item.probabilities, abs=1e-4)


def test_the_undisturbed_row_has_the_figures_of_the_results(scored: Path) -> None:
    run = read_run(scored)
    (found,) = robustness.score(run, [UNDISTURBED], load, 0, (1, 2))
    (row,) = side_by_side({"undisturbed": [found.predictions]}, run.results.labels, run.results.is_pooled)
    for name in ("ua", "wa", "macro_f1"):
        known = run.results.pooled[name].value if run.results.is_pooled else run.results.rates[name].mean
        assert row.values[name] == pytest.approx(known)
        bounds = run.results.pooled[name].ci95 if run.results.is_pooled else run.results.rates[name].ci95
        assert row.ci95[name] == pytest.approx(bounds)


def test_what_is_heard_is_the_effect_on_the_utterance(scored: Path) -> None:
    run = read_run(scored)
    (noisy,) = robustness.score(run, [NOISE], load, 0, (1, 2))
    manifest, row = Manifest.read(scored / "manifest.jsonl"), noisy.predictions[3]
    item = manifest.by_id[row.utterance]
    samples = WHOLE.waveform(manifest.path_of(item))
    heard = effects.build("noise", {"snr_db": 5.0})(samples, 16_000, 0, "noise", item.id).samples
    added = heard.astype(np.float64) - samples
    assert 10 * math.log10(np.mean(samples.astype(np.float64) ** 2) / np.mean(added**2)) == pytest.approx(5, abs=0.01)
    expected = load(scored, row.fold).recognise(heard)
    assert row.probabilities == pytest.approx(tuple(expected.probabilities.values()), abs=1e-6)


def test_an_infinite_ratio_is_no_disturbance_and_levels_share_their_noise() -> None:
    assert Condition("noise", {"snr_db": math.inf}).build() is None
    samples = np.sin(np.arange(4000) / 7).astype(np.float32)
    assert disturbed(samples, None, 0)[0] is samples
    loud, soft = (
        disturbed(samples, Condition("noise", {"snr_db": level}).build(), 0, "noise", "u")[0] - samples
        for level in (0.0, 20.0)
    )
    assert loud == pytest.approx(10 * soft, abs=1e-4)
    other = disturbed(samples, Condition("noise", {"snr_db": 0.0}).build(), 1, "noise", "u")[0] - samples
    assert not np.allclose(other, loud)


def test_what_was_scored_is_kept_and_what_is_lost_or_changed_is_scored_again(
    scored: Path, tmp_path: Path, monkeypatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(scored, folder)
    before = content(folder)
    loaded: list[int] = []

    def counting(path: Path, number: int) -> EmotionRecogniser:
        loaded.append(number)
        return load(path, number)

    def again() -> list[int]:
        loaded.clear()
        robustness.score(read_run(folder), [UNDISTURBED, NOISE], counting, 0, (1, 2))
        assert content(folder) == before
        return list(loaded)

    assert again() == []
    (noise,) = (folder / robustness.FOLDER).glob("noise-*")
    (noise / "fold2.json").unlink()  # killed before the record
    assert again() == [2]
    (noise / "fold1.csv").write_text("fold,utterance\n")
    assert again() == [1]
    (noise / "fold1.csv").unlink()
    (noise / "fold2.json").write_text("{")
    assert again() == [1, 2]
    record = json.loads((noise / "fold1.json").read_text())
    record["about"]["checkpoint_sha256"] = "0" * 64  # of another training
    (noise / "fold1.json").write_text(json.dumps(record))
    assert again() == [1]
    loaded.clear()
    robustness.score(read_run(folder), [NOISE], counting, 1, (1,))
    assert loaded == [1], "another seed is another disturbance"


def test_silence_is_left_as_it_is_and_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(8000, dtype=np.float32), 16_000)
    labels = ("sad", "glad")
    manifest = Manifest("c", labels, str(tmp_path), (Utterance("a", "a.wav", "sad", "x"),))
    row = dataclasses.replace(read_predictions_of_one(tmp_path), utterance="a", truth="sad", predicted="sad")

    class Recogniser:
        def recognise(self, samples, is_prepared):
            assert is_prepared
            assert not samples.any()
            return type("R", (), {"predicted": "sad", "probabilities": {"sad": 1.0, "glad": 0.0}})

    found = robustness._score([row], manifest, Recogniser(), NOISE, 0)
    assert found.silent == ("a",)
    assert found.predictions[0].probabilities == (1.0, 0.0)


def read_predictions_of_one(folder: Path):
    make_run(folder / "run")
    return read_predictions(folder / "run" / "predictions.csv")[0][0]


def test_differences_are_paired_by_speaker(tmp_path: Path) -> None:
    """With equal speakers and folds of WA, the paired interval is that of a t-test over speakers' differences."""
    for name, accuracy, draw in (("clean", 0.8, 1), ("noisy", 0.5, 2)):
        make_run(tmp_path / name, accuracy, rng=draw, per_speaker=16)
    runs = {name: read_run(tmp_path / name) for name in ("clean", "noisy")}
    rows = side_by_side({name: [run.predictions] for name, run in runs.items()}, runs["clean"].results.labels, True)
    by_speaker = {
        name: {
            speaker: np.mean([p.truth == p.predicted for p in run.predictions if p.speaker == speaker])
            for speaker in sorted({p.speaker for p in run.predictions})
        }
        for name, run in runs.items()
    }
    differences = np.array([by_speaker["noisy"][s] - by_speaker["clean"][s] for s in by_speaker["clean"]])
    known = stats.t.interval(0.95, 9, differences.mean(), differences.std(ddof=1) / np.sqrt(10))
    assert rows[1].differences["wa"] == pytest.approx(differences.mean())
    assert rows[1].paired["wa"].interval == pytest.approx(known, abs=0.02)
    assert rows[1].p_holm["wa"] == rows[1].paired["wa"].p
    assert not rows[0].differences


def test_what_is_asked_for() -> None:
    found = conditions(["noise", "telephone", "gain"], {**NO_LEVELS, "gain": (-20.0, 10.0)}, {})
    assert [condition.title for condition in found] == [
        "undisturbed",
        *(f"noise, snr_db {level}" for level in (20, 10, 5, 0)),
        "telephone",
        "gain, gain_db -20",
        "gain, gain_db 10",
    ]


@pytest.mark.parametrize(
    ("names", "levels", "options", "message"),
    [
        (["nois"], {}, {}, "--with: unknown effect 'nois'. Did you mean 'noise'"),
        (["noise", "noise"], {}, {}, "'noise' is named twice"),
        (["gain"], {"snr": (1.0,)}, {}, "--snr is the level of noise: add it to --with"),
        (["noise"], {"snr": (300.0,)}, {}, "snr_db must be a number in -30 to 80"),
        (["noise"], {"snr": (-math.inf,)}, {}, "snr_db must be a number"),
        (["noise"], {}, {"foldr": "x"}, "unknown option 'foldr' of effect 'noise'. Did you mean 'folder'"),
        (["telephone"], {}, {"low_hz": 5000}, "expected 20 <= low_hz < high_hz"),
    ],
)
def test_what_cannot_be_had(names, levels, options, message) -> None:
    with pytest.raises(ConfigError) as caught:
        conditions(names, {**NO_LEVELS, **levels}, options)
    assert message in str(caught.value)


def test_the_command(scored: Path, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "run"
    shutil.copytree(scored, folder)
    argv = ["evaluate", str(folder), "--with", "noise", "--snr", "5,inf", "--device", "cpu"]
    assert main(argv) == 0
    printed = capsys.readouterr()
    assert "undisturbed: the record's class for each of" in printed.out
    assert max(map(len, printed.out.splitlines())) <= 100
    assert "6 of 6 parts were scored before" in printed.err, "no disturbance is the undisturbed audio"
    assert main([*argv, "--format", "csv", "--out", str(tmp_path / "r.csv"), "--fold", "1"]) == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text())))
    assert [row["condition"] for row in rows[:3]] == ["undisturbed", "noise, snr_db 5", "noise, snr_db inf"]
    assert {row["folds"] for row in rows} == {"1"}
    assert float(rows[2]["difference"]) == 0
    assert rows[0]["value"] == rows[2]["value"]
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["evaluate", "x", "--with", "gain", "--gain", "-x"])
    assert "--gain: expected one argument" in capsys.readouterr().err
    assert main(["evaluate", str(folder / "no"), "--with", "gain", "--gain", "-20,-10"]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main([*argv, "--format", "markdown"]) == 0
    assert "| undisturbed" in capsys.readouterr().out


def test_a_corpus_that_was_moved(scored: Path, tmp_path: Path) -> None:
    folder, noise = tmp_path / "run", [Condition("noise", {"snr_db": 9.0})]
    shutil.copytree(scored, folder)
    manifest = Manifest.read(folder / "manifest.jsonl")
    dataclasses.replace(manifest, root="/nowhere").write(folder / "manifest.jsonl")
    run = read_run(folder)
    with pytest.raises(RunError, match="--data DIR names the place"):
        robustness.score(run, noise, load, 0, (1,))
    assert robustness.score(run, noise, load, 0, (1,), Path(manifest.root))[0].predictions


def test_a_fold_without_its_checkpoint(scored: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(scored, folder)
    (folder / "fold1" / "dev-best.ckpt").unlink()
    run = read_run(folder)
    robustness.score(run, [UNDISTURBED, NOISE], load, 0, (1, 2))  # all of it is known
    with pytest.raises(RunError, match=r"dev-best\.ckpt is missing"):
        robustness.score(run, [NOISE], load, 7, (1,))
    shutil.rmtree(folder / "fold2")
    with pytest.raises(RunError, match=r"fold2: holds no checkpoint of a finished fold"):
        robustness.score(run, [NOISE], load, 7, (1, 2))
