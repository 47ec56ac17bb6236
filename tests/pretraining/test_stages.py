"""Stages in files: what is finished is not done again, other settings are refused, labels fit their audio."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import ConfigError, RunError
from s3prl_emotion.pretraining.clustering import unigram_accuracy
from s3prl_emotion.pretraining.flea import grid
from s3prl_emotion.pretraining.flea.settings import FleaSettings
from s3prl_emotion.pretraining.frames import Framing
from s3prl_emotion.pretraining.labels import PseudoLabels, check_labels
from s3prl_emotion.pretraining.provenance import Stage
from s3prl_emotion.pretraining.settings import override_of, plain, read_settings


def _stage(folder: Path, **settings: object) -> Stage:
    return Stage(folder, "flea", "tapt", 1, {"steps": 3, **settings}, {"base": "abc"})


def test_a_finished_stage_keeps_its_record(tmp_path: Path) -> None:
    stage = _stage(tmp_path / "tapt")
    assert stage.finished() is None
    with stage.working():
        stage.finish({"loss": 1.5})
    found = stage.finished()
    assert found is not None
    assert found["metrics"] == {"loss": 1.5}
    assert found["inputs"] == {"base": "abc"}
    assert found["versions"]["torch"]


@pytest.mark.parametrize("is_finished", [False, True])
def test_other_settings_are_refused(tmp_path: Path, is_finished: bool) -> None:
    with _stage(tmp_path / "tapt").working():
        if is_finished:
            _stage(tmp_path / "tapt").finish({})
    with pytest.raises(
        RunError, match=r"tapt holds stage tapt with other settings or inputs: settings.steps was 3 and is 4"
    ):
        _stage(tmp_path / "tapt", steps=4).finished()


def test_a_stage_is_worked_on_by_one_process(tmp_path: Path) -> None:
    stage = _stage(tmp_path / "tapt")
    with stage.working(), pytest.raises(RunError, match="another process is working"), stage.working():
        pass


def _labels() -> PseudoLabels:
    return PseudoLabels(4, {"a": np.array([0, 1, 1], np.int32), "b": np.array([3, 1], np.int32)})


def test_labels_come_back(tmp_path: Path) -> None:
    _labels().write(tmp_path)
    found = PseudoLabels.read(tmp_path)
    assert found.classes == 4
    assert {name: values.tolist() for name, values in found.of.items()} == {"a": [0, 1, 1], "b": [3, 1]}
    assert unigram_accuracy(found, ["a"], ["b"]) == {"chance": 0.25, "unigram": 0.5}


def test_broken_labels_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no frame labels, labels.json is missing"):
        PseudoLabels.read(tmp_path)
    _labels().write(tmp_path)
    np.save(tmp_path / "labels.npy", np.zeros(4, np.int32))
    with pytest.raises(RunError, match=r"labels.npy holds 4 labels, labels.json promises 5"):
        PseudoLabels.read(tmp_path)
    (tmp_path / "labels.npy").write_bytes(b"torn")
    with pytest.raises(RunError, match="frame labels cannot be read"):
        PseudoLabels.read(tmp_path)
    with pytest.raises(RunError, match=r"labels of a: expected 0 to 1, found 0 to 3"):
        PseudoLabels(2, {"a": np.array([0, 3], np.int32)})


def test_labels_of_another_length_than_the_audio(demo_manifest: Manifest) -> None:
    name = demo_manifest.utterances[0].id
    labels = PseudoLabels(4, {name: np.zeros(50, np.int32)})
    samples = {name: 16000}
    with pytest.raises(
        RunError, match=rf"{name} has 50 frame labels, its 16000 samples .* have 49 frames: .* Cluster again"
    ):
        check_labels(labels, demo_manifest, [name], samples, Framing())
    check_labels(labels, demo_manifest, [name], {name: 16080}, Framing())
    with pytest.raises(RunError, match="1 of 1 utterances have no frame labels, first 'other'"):
        check_labels(labels, demo_manifest, ["other"], samples, Framing())


def test_the_shipped_settings_are_the_papers() -> None:
    settings = read_settings(FleaSettings, "flea", None)
    assert (settings.tapt.layer, settings.tapt.clusters) == (9, 500)
    assert (settings.cluster.layer, settings.cluster.clusters) == (9, 50)
    training = settings.cpt.training
    assert settings.tapt.training == training
    assert (training.steps, training.optimiser.warmup_steps, training.optimiser.lr) == (20000, 4000, 5e-4)
    assert (training.optimiser.beta2, training.optimiser.eps, training.optimiser.clip) == (0.98, 1e-6, 10.0)
    assert (training.mask.prob, training.mask.length, training.mask.min_masks) == (0.8, 10, 2)
    assert (training.batch.parts, training.batch.part_seconds) == (4, 87.5)
    assert (training.projection, training.temperature, training.penalty) == (256, 0.1, 10.0)
    assert plain(settings.cluster.kmeans) == {
        "n_init": 20,
        "max_iter": 100,
        "batch_size": 10000,
        "max_no_improvement": 100,
        "seed": 1337,
    }


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("cpt.training.stepz=3", r"flea.yaml.cpt.training: unknown key 'stepz'. Did you mean 'steps'"),
        ("cpt.training.steps=few", r"cpt.training.steps: expected int, found 'few'"),
        ("cpt", r"-o 'cpt': expected KEY=VALUE"),
        ("cpt.training.mask.rule=fairsek", r"unknown mask rule 'fairsek'. Did you mean 'fairseq'"),
        ("cpt.training.steps=100", r"warmup_steps 4000 must be below steps 100"),
        ("cpt.training.batch.part_seconds=3", r"expected 0.025 <= min_s <= max_s <= part_seconds <= seconds"),
        ("cpt.training.optimiser.lr=-1", r"lr must be above 0"),
        ("cluster.layer=0", r"layer must be at least 1, the output of the first transformer block"),
        ("finetune.downstream=emotion_atn_pool", r"unknown downstream 'emotion_atn_pool'. Did you mean"),
        ("cpt.training.precision=int8", r"unknown precision 'int8'"),
    ],
)
def test_wrong_settings(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_settings(FleaSettings, "flea", None, override)


def test_overrides_reach_their_place_alone() -> None:
    """The two trainings share their values in the file, not their overrides."""
    settings = read_settings(FleaSettings, "flea", None, "tapt.training.steps=5000,,tapt.kmeans=km.bin")
    assert (settings.tapt.training.steps, settings.cpt.training.steps) == (5000, 20000)
    assert settings.tapt.kmeans == "km.bin"
    assert override_of({"runner": {"total_steps": 5}, "optimizer": {"lr": 1e-3}}) == (
        "config.runner.total_steps=5,,config.optimizer.lr=0.001"
    )
    assert override_of({}) is None


def test_grids() -> None:
    assert grid.parse(["layers=1-3,6", "clusters=50,100"]) == ((1, 2, 3, 6), (50, 100))
    for texts, message in (
        (["layers=1-3"], "clusters=... is missing"),
        (["layers=3-1", "clusters=5"], "neither a number nor a span"),
        (["layers=0", "clusters=5"], "neither a number nor a span"),
        (["layer=1", "clusters=5"], "Did you mean 'layers'"),
        (["layers=1,1", "clusters=5"], "named twice"),
        (["layers=1", "layers=2", "clusters=5"], "given twice"),
    ):
        with pytest.raises(ConfigError, match=message):
            grid.parse(texts)


def test_records_are_plain_json(tmp_path: Path) -> None:
    with _stage(tmp_path / "s").working():
        _stage(tmp_path / "s").finish({"loss": 1.0})
    assert json.loads((tmp_path / "s" / "stage.json").read_text())["schema"] == 1
