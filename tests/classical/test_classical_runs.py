"""Whole runs of classical models: from audio to results, prediction, comparison and sweep."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from s3prl_emotion.cli import main
from s3prl_emotion.protocols.split import Folds
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.prediction import read_predictions
from s3prl_emotion.runs.results import read_results


@pytest.fixture
def classical(tmp_path: Path, demo_root: Path, cache_root: Path, tiny_hubert: Path) -> Callable[..., int]:
    """``classical(*options)``: the command on the demo corpus and a tiny HuBERT, below ``tmp_path / "runs"``."""

    def start(*options: str, root: str = "runs") -> int:
        upstream = () if "-u" in options else ("-u", "hf_auto_custom", "-k", str(tiny_hubert))
        places = ("--root", str(tmp_path / root), "--cache-root", str(cache_root), "--device", "cpu")
        return main(["classical", *upstream, "--corpus", "demo", "--data", str(demo_root), *places, *options])

    return start


def folder_of(tmp_path: Path, classifier: str, tag: str = "", upstream: str = "hf_auto_custom-tiny_hubert") -> Path:
    return tmp_path / "runs" / upstream / f"classical_{classifier}" / f"demo-superb{tag}"


def states_of(tiny_hubert: Path, manifest) -> np.ndarray:
    """Mean and standard deviation over time, ``(utterances, layers, 2, width)``, by transformers."""
    from transformers import AutoFeatureExtractor, AutoModel

    from s3prl_emotion.audio.preparation import WHOLE

    model, extractor = AutoModel.from_pretrained(tiny_hubert).eval(), AutoFeatureExtractor.from_pretrained(tiny_hubert)
    found = []
    for item in manifest.utterances:
        samples = WHOLE.waveform(manifest.path_of(item))
        given = extractor([samples], sampling_rate=16000, return_tensors="pt")
        with torch.no_grad():
            output = model(given["input_values"], output_hidden_states=True)
        layers = torch.stack([*output.hidden_states[:-1], output.last_hidden_state])[:, 0].numpy()
        found.append(np.stack((layers.mean(axis=1), layers.std(axis=1)), axis=1))
    return np.stack(found)


@pytest.mark.parametrize(
    ("options", "tag", "vectors"),
    [
        ((), "", lambda x: x[:, :, 0].mean(axis=1)),
        (
            ("--statistics", "mean_std", "--layers", "concat"),
            "-mean_std-concat",
            lambda x: x.reshape(len(x), -1),
        ),
    ],
    ids=["averaged means", "all layers, both moments"],
)
def test_a_run_is_scikit_learn_called_by_hand(
    classical, tmp_path, tiny_hubert, demo_manifest, capsys, options, tag, vectors
) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    assert classical(*options) == 0
    folder = RunFolder(folder_of(tmp_path, "logistic", tag))
    manifest, folds = folder.division()
    x = vectors(states_of(tiny_hubert, manifest)).astype(np.float64)
    y = np.array([item.label for item in manifest.utterances])
    place = {item.id: index for index, item in enumerate(manifest.utterances)}
    rows, _ = read_predictions(folder.predictions)
    for fold in folds.folds:
        train, test = ([place[name] for name in part] for part in (fold.train, fold.test))
        scaler = StandardScaler().fit(x[train])
        model = LogisticRegression().fit(scaler.transform(x[train]), y[train])
        mine = {row.utterance: row for row in rows if row.fold == fold.number}
        probabilities = model.predict_proba(scaler.transform(x[test]))
        order = [list(model.classes_).index(label) for label in manifest.labels]
        assert [mine[name].predicted for name in fold.test] == model.predict(scaler.transform(x[test])).tolist()
        found = np.array([mine[name].probabilities for name in fold.test])
        assert found == pytest.approx(probabilities[:, order], abs=2e-3)
    results = read_results(folder.results)
    assert results.complete
    assert results.downstream == "classical_logistic"
    assert results.versions["scikit-learn"]
    assert "standardised on train; hyperparameters: the library's" in " ".join(capsys.readouterr().out.split())


def test_finished_folds_are_not_done_again(classical, tmp_path, capsys) -> None:
    assert classical("--fold", "1,2") == 0
    folder = RunFolder(folder_of(tmp_path, "logistic"))
    kept = {path: path.stat().st_mtime_ns for path in folder.path.glob("fold*/*") if path.is_file()}
    assert classical() == 0
    assert {path: path.stat().st_mtime_ns for path in kept if path.name != ".lock"} == {
        path: time for path, time in kept.items() if path.name != ".lock"
    }
    assert len(folder.finished()) == 5
    whole = folder.predictions.read_bytes()
    (folder.path / "fold3" / "fold.json").unlink()  # as if it had been killed there
    (folder.path / "fold3" / "predictions.csv").unlink()
    folder.predictions.unlink()
    assert classical() == 0
    assert folder.predictions.read_bytes() == whole
    capsys.readouterr()
    assert classical("-s", "last_hidden_state") == 2
    assert "holds a run with other settings: upstream_feature_selection was" in capsys.readouterr().err


def test_a_fold_that_another_process_fits_is_waited_for(classical, tmp_path) -> None:
    import threading
    import time

    import filelock

    run = RunFolder(folder_of(tmp_path, "logistic"))
    run.fold(2).path.mkdir(parents=True)
    lock = filelock.FileLock(run.fold(2).path / ".lock", thread_local=False)
    lock.acquire()

    def let_go() -> None:
        while not run.fold(1).is_finished and mine.is_alive():
            time.sleep(0.05)
        lock.release()

    mine = threading.current_thread()
    other = threading.Thread(target=let_go, daemon=True)
    other.start()
    assert classical("--fold", "1,2") == 0
    other.join()
    assert len(run.finished()) == 2


def test_predictions_of_files_are_those_of_the_run(classical, tmp_path, demo_manifest, capsys) -> None:
    """For each of them, the file's model is fitted again, and gives what was scored."""
    for classifier in ("knn", "xgboost"):
        if classifier == "xgboost":
            pytest.importorskip("xgboost")
        assert classical("--classifier", classifier, "--statistics", "mean_std", "--fold", "1", "--layers", "1") == 0
        folder = RunFolder(folder_of(tmp_path, classifier, "-mean_std-layer1"))
        manifest, _ = folder.division()
        rows = read_predictions(folder.predictions)[0][:3]
        files = [str(manifest.path_of(manifest.by_id[row.utterance])) for row in rows]
        for place in (folder.path, folder.path / "fold1", folder.path / "fold1" / "classical.safetensors"):
            capsys.readouterr()
            assert main(["predict", "--run", str(place), "--format", "jsonl", "--device", "cpu", *files]) == 0
            found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
            for row, item in zip(rows, found, strict=True):
                assert item["predicted"] == row.predicted
                assert list(item["probabilities"].values()) == pytest.approx(row.probabilities, abs=1e-6)
    assert main(["export", str(folder.path), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 2
    assert "a classical model is exported by copying its run folder" in capsys.readouterr().err


def test_functionals_are_one_vector_for_each_utterance(classical, tmp_path, demo_manifest, capsys) -> None:
    """The baseline of the field: what opensmile gives goes to the classifier as it is."""
    opensmile = pytest.importorskip("opensmile")
    from sklearn.naive_bayes import GaussianNB
    from sklearn.preprocessing import StandardScaler

    from s3prl_emotion.audio.preparation import WHOLE

    assert classical("-u", "egemaps_functionals", "--classifier", "bayes", "--fold", "1") == 0
    folder = RunFolder(folder_of(tmp_path, "bayes", upstream="egemaps_functionals"))
    manifest, folds = folder.division()
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    x = {
        item.id: smile.process_signal(WHOLE.waveform(manifest.path_of(item)), 16000).to_numpy()[0].astype(np.float64)
        for item in manifest.utterances
    }
    train, test = ([x[name] for name in part] for part in (folds[1].train, folds[1].test))
    scaler = StandardScaler().fit(train)
    model = GaussianNB().fit(scaler.transform(train), [manifest.by_id[name].label for name in folds[1].train])
    rows, _ = read_predictions(folder.predictions)
    assert [row.predicted for row in rows] == model.predict(scaler.transform(test)).tolist()
    file = str(manifest.path_of(manifest.by_id[rows[0].utterance]))
    capsys.readouterr()
    assert main(["predict", "--run", str(folder.path), "--format", "jsonl", "--device", "cpu", file]) == 0
    item = json.loads(capsys.readouterr().out)
    assert list(item["probabilities"].values()) == pytest.approx(rows[0].probabilities, abs=1e-6)


def test_functionals_have_no_frames(classical, tmp_path, demo_root, capsys) -> None:
    """A deviation over one vector is 0, and neural heads pool frames: both are refused before anything is read."""
    pytest.importorskip("opensmile")
    assert classical("-u", "egemaps_functionals", "--statistics", "mean_std") == 2
    assert "gives one vector for each utterance, and --statistics mean_std needs frames" in capsys.readouterr().err
    for head in ("emotion_mean", "emotion_attn_corr", "emotion"):
        words = ("-u", "compare_functionals", "-d", head, "--corpus", "demo", "--data", str(demo_root))
        assert main(["run", *words, "--device", "cpu", "-p", str(tmp_path / "run")]) == 2
        said = capsys.readouterr().err
        assert f"one vector for each utterance, and -d {head} needs frames" in said
        assert "s3prl-emotion classical -u compare_functionals" in said
    assert not (tmp_path / "run").exists()


def test_layer_by_layer(classical, tmp_path, capsys) -> None:
    out = tmp_path / "layers.csv"
    assert classical("--layers", "each", "--classifier", "bayes,tree", "--out", str(out)) == 0
    printed = capsys.readouterr().out
    rows = list(csv.DictReader(out.open(encoding="utf-8")))
    assert [(row["downstream"], row["layer"]) for row in rows] == [
        (f"classical_{name}", str(layer)) for name in ("bayes", "tree") for layer in range(3)
    ]
    for row in rows:
        results = read_results(Path(row["run"]) / "results.json")
        assert float(row["ua"]) == results.rates["ua"].mean
        assert (float(row["ua_low"]), float(row["ua_high"])) == results.rates["ua"].ci95
        assert f"{100 * results.rates['ua'].mean:.2f}" in printed
    assert len({row["ua"] for row in rows}) > 1
    assert "best on the test folds" in " ".join(printed.split())
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("fold.json")}
    assert len(times) == 2 * 3 * 5
    assert classical("--layers", "each", "--classifier", "bayes,tree") == 0
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert main(["compare", str(tmp_path / "runs")]) == 0
    assert "config.downstream_expert.layers 1" in " ".join(capsys.readouterr().out.split())


def test_tuning_is_recorded(classical, tmp_path, demo_manifest) -> None:
    assert classical("--classifier", "logistic", "--tune", "--fold", "2") == 0
    folder = RunFolder(folder_of(tmp_path, "logistic", "-tuned"))
    record = json.loads((folder.path / "fold2" / "fold.json").read_text())
    assert record["options"]["C"] in folder.about()["config"]["downstream_expert"]["grid"]["C"]
    assert "chosen on each fold's dev set" in folder.about()["settings"]["classical"]


def test_a_sweep_has_heads_and_classical_models_side_by_side(tmp_path, demo_root, cache_root, capsys) -> None:
    steps = "config.runner.total_steps=4,,config.runner.eval_step=2"
    words = ["sweep", "-u", "fbank_no_cmvn", "--corpus", "demo", "--data", str(demo_root), "--device", "cpu"]
    words += ["--cache-root", str(cache_root), "--root", str(tmp_path / "runs"), "--fold", "1"]
    assert main([*words, "-d", "classical_logistic,classical_knn", "--seeds", "0,1"]) == 0
    printed = capsys.readouterr().out
    assert "fbank_no_cmvn classical_knn, seeds 0, 1" in " ".join(printed.split())
    assert main(["run", *words[1:], "-d", "emotion_mean", "-o", steps]) == 0
    assert main(["run", *words[1:], "-d", "classical_bayes"]) == 0
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "runs")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for name in ("emotion_mean", "classical_bayes", "classical_knn", "classical_logistic"):
        assert f"fbank_no_cmvn {name}, seed" in printed
    assert main([*words, "-d", "classical_knn", "--lr", "1e-2,1e-3"]) == 2
    assert "--lr: -d classical_knn has no learning rate" in capsys.readouterr().err


def test_only_statistics_are_stored(classical, tmp_path, cache_root) -> None:
    private = tmp_path / "cache"
    assert classical("--cache-root", str(private), "--fold", "1", "--statistics", "mean_std") == 0
    (store,) = private.glob("hf_auto_custom-mean_std-float32-*")
    entries = sum(path.read_bytes().count(b"\n") for path in store.glob("index-*.jsonl"))
    used = sum(path.stat().st_size for path in store.glob("data-*.bin"))
    assert used <= entries * (3 * 2 * 16 * 4 + 63)  # layers, rows, width, bytes; entries begin at multiples of 64
    shutil.rmtree(private)
    assert classical("--cache-root", str(private), "--fold", "1", "--statistics", "mean_std") == 0
    assert not private.exists(), "a finished run needs no states"


def test_folds_of_the_record_are_the_protocols(classical, tmp_path) -> None:
    assert classical("--protocol", "strict", "--classifier", "tree") == 0
    folder = RunFolder(folder_of(tmp_path, "tree").with_name("demo-strict"))
    folds = Folds.read(folder.folds)
    rows, _ = read_predictions(folder.predictions)
    assert {(row.fold, row.utterance) for row in rows} == {
        (fold.number, name) for fold in folds.folds for name in fold.test
    }
    results = read_results(folder.results)
    assert results.protocol.selection == "dev ua"
    assert all(fold.step is None for fold in results.folds)
