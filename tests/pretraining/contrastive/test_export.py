"""From clusters to a folder that a run starts from: stages after each other, their records, and labels unseen."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.corpora.manifest import UNLABELLED
from s3prl_emotion.downstream.pretrained import read_about
from s3prl_emotion.errors import ConfigError, ProtocolError, RunError
from s3prl_emotion.experiment import Request
from s3prl_emotion.experiment.run import run
from s3prl_emotion.pretraining.contrastive import clustering, embed, export, training
from s3prl_emotion.pretraining.contrastive.clusters import ROWS
from s3prl_emotion.pretraining.contrastive.plan import ContrastivePlan, ContrastiveRequest, make_plan
from s3prl_emotion.pretraining.contrastive.settings import ContrastiveSettings
from s3prl_emotion.pretraining.settings import read_settings
from s3prl_emotion.s3prl_runner.cache import CacheOptions
from tests.conftest import SHORT

SMALL = {
    "speech": {"min_s": 0.1},
    "embed": {"encoder": {"name": "upstream", "upstream": "fbank_no_cmvn", "layer": 0}},
    "cluster": {"clusters": 2},
    "model": {"projector_dim": 6, "head": [6, 4]},
    "batches": {"speakers": 4, "utterances": 2},
    "training": {
        "steps": 4,
        "optimiser": {"lr": 1e-2, "warmup_steps": 1},
        "eval_every": 2,
        "save_every": 2,
        "log_every": 1,
        "dev": {"of": "speakers", "share": 0.2},
    },
}


def plan_of(folder: Path, cache: Path, speech: str, settings: Any = None, **given: Any) -> ContrastivePlan:
    read = read_settings(ContrastiveSettings, "contrastive", None, SMALL, settings or {})
    options = CacheOptions(cache)
    wanted = ContrastiveRequest(
        upstream="fbank_no_cmvn",
        settings=read,
        speech=(speech,),
        folder=folder,
        device="cpu",
        cache_options=options,
        **given,
    )
    return make_plan(wanted)


def finished(plan: ContrastivePlan, fold: int | None) -> Path:
    embed.run(plan)
    clustering.run(plan, fold)
    training.train(plan, fold)
    return export.export(plan, fold)


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory, demo_root: Path, cache_root: Path
) -> tuple[ContrastivePlan, Path]:
    """A head for fold 1 of the demo corpus."""
    plan = plan_of(tmp_path_factory.mktemp("plan") / "run", cache_root, f"demo={demo_root}", folds=(1,))
    return plan, finished(plan, 1)


def test_what_is_exported(exported: tuple[ContrastivePlan, Path]) -> None:
    plan, folder = exported
    assert folder == plan.folder / "head" / "fold1"
    names = {path.name for path in folder.iterdir()}
    assert names == {"head.json", "head.safetensors", "pretraining.json", "pretraining.jsonl", "README.md"}
    record = json.loads((folder / "pretraining.json").read_text())
    assert [item["stage"] for item in record["lineage"]] == ["embed", "cluster", "pretrain"]
    assert record["lineage"][-1]["inputs"]["clusters"] == hash_of(plan.place(1) / "cluster" / ROWS)
    assert json.loads((folder.parent / "pretraining.json").read_text())["per_fold"] is True
    heard = {item.id.partition("/")[2] for item in Manifest.read(folder / "pretraining.jsonl").utterances}
    assert plan.folds is not None
    assert heard
    assert not heard & set(plan.folds[1].test), "inductive: test audio was not heard"
    assert read_about(folder).projector_dim == 6
    card = (folder / "README.md").read_text()
    assert "It did not hear what fold 1 of protocol `superb` tests on." in card
    assert "Pairs come from clusters of each speaker's embeddings." in card


def test_finished_stages_are_not_done_again(
    exported: tuple[ContrastivePlan, Path], caplog: pytest.LogCaptureFixture
) -> None:
    plan, folder = exported
    before = {path: path.stat().st_mtime_ns for path in plan.folder.rglob("*") if path.is_file()}
    with caplog.at_level(logging.INFO):
        assert finished(plan, 1) == folder
    after = {path: path.stat().st_mtime_ns for path in plan.folder.rglob("*") if path.is_file()}
    changed = [path.name for path in after if before.get(path) != after[path] and path.name != ".lock"]
    assert not changed
    assert "pretrain, fold 1: finished already" in caplog.text


@pytest.mark.parametrize("name", ["head.safetensors", "pretraining.jsonl", "head.json"])
def test_a_damaged_export_is_mended(exported: tuple[ContrastivePlan, Path], name: str) -> None:
    plan, folder = exported
    whole = hash_of(folder / name)
    (folder / name).unlink()  # pretrain's own file may be the same one on disk
    (folder / name).write_text("x\n")
    assert finished(plan, 1) == folder
    assert hash_of(folder / name) == whole


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"x"), Path.unlink])
def test_pretrained_weights_that_were_changed_are_named(
    tmp_path: Path, exported: tuple[ContrastivePlan, Path], change: Callable[[Path], object]
) -> None:
    plan, _ = exported
    shutil.copytree(plan.folder, tmp_path / "run")
    copy = dataclasses.replace(plan, folder=tmp_path / "run")
    change(tmp_path / "run/fold1/pretrain/head/head.safetensors")
    with pytest.raises(RunError, match=r"head: is not what stage pretrain, fold 1 left there. Remove .*/pretrain,"):
        finished(copy, 1)


def test_a_run_starts_from_it(
    exported: tuple[ContrastivePlan, Path], tmp_path: Path, demo_root: Path, cache_root: Path
) -> None:
    """The audit passes: the fold's test audio was not heard. Another fold is named; a wrong upstream is refused."""
    plan, folder = exported
    override = "config.downstream_expert.modelrc.projector_dim=6,," + SHORT.format(steps=2, every=2)
    s3prl = {"upstream": "fbank_no_cmvn", "downstream": "emotion_contrastive", "device": "cpu", "override": override}
    request = Request(
        {**s3prl, "expdir": str(tmp_path / "run")},
        "demo",
        demo_root,
        folds=(1,),
        cache_options=CacheOptions(cache_root),
        pretrained=export.root_of(plan),
    )
    _, results = run(request)
    assert results.settings is not None
    told = results.settings.further["pretrained"]
    assert (told["recipe"], told["speech"], told["inductive"]) == ("contrastive", ["demo"], True)
    assert told["settings"]["pretrain"]["loss"]["objective"]["name"] == "infonce"
    record = json.loads((tmp_path / "run" / "fold1" / "fold.json").read_text())["pretrained"]
    assert record["heard_sha256"] == hash_of(folder / "pretraining.jsonl")
    assert [item["stage"] for item in record["lineage"]] == ["embed", "cluster", "pretrain"]
    other = dataclasses.replace(
        request, folds=(2,), pretrained=folder, s3prl={**s3prl, "expdir": str(tmp_path / "other")}
    )
    with pytest.raises(ProtocolError, match=r"fold 2.*pretraining"):
        run(other)


def relabelled(manifest: Manifest, how: str) -> Manifest:
    given = [item.label for item in manifest.utterances]
    if how == "shuffled":
        random.Random(1).shuffle(given)
    items = zip(manifest.utterances, given, strict=True)
    if how == "true":
        return manifest
    utterances = tuple(
        dataclasses.replace(item, label=UNLABELLED if how == "absent" else label, soft=None) for item, label in items
    )
    labels = [UNLABELLED] if how == "absent" else list(manifest.labels)
    return dataclasses.replace(manifest, utterances=utterances, labels=tuple(labels), train_order={}, dev_order={})


def test_labels_are_never_read(
    exported: tuple[ContrastivePlan, Path], tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """True, shuffled and absent labels give the same clusters and the same weights, byte by byte."""
    plan, _ = exported
    assert plan.manifest is not None
    made = {}
    for how in ("true", "shuffled", "absent"):
        given = relabelled(plan.manifest, how)
        if how == "shuffled":
            assert [item.label for item in given.utterances] != [item.label for item in plan.manifest.utterances]
        given.write(tmp_path / how / "manifest.jsonl")
        own = plan_of(tmp_path / f"run-{how}", cache_root, f"talk={tmp_path / how / 'manifest.jsonl'}")
        assert own.numbers == (None,)
        folder = finished(own, None)
        made[how] = hash_of(folder / "head.safetensors"), hash_of(own.place(None) / "cluster" / ROWS)
    assert made["true"] == made["shuffled"] == made["absent"]


def test_stages_come_after_each_other(tmp_path: Path, cache_root: Path, demo_root: Path) -> None:
    plan = plan_of(tmp_path / "run", cache_root, f"demo={demo_root}", folds=(1,))
    embed.run(plan)
    with pytest.raises(RunError, match=r"pretrain: stage cluster, fold 1 is not finished: run it first"):
        training.train(plan, 1)
    clustering.run(plan, 1)
    with pytest.raises(RunError, match=r"export: stage pretrain, fold 1 is not finished: run it first"):
        export.export(plan, 1)


def test_other_settings_are_refused(exported: tuple[ContrastivePlan, Path], cache_root: Path, demo_root: Path) -> None:
    plan, _ = exported
    other = plan_of(plan.folder, cache_root, f"demo={demo_root}", {"training": {"steps": 6}}, folds=(1,))
    with pytest.raises(RunError, match=r"holds stage pretrain with other settings.*training.steps was 4 and is 6"):
        training.train(other, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": {"objective": {"name": "infonec"}}}, r"loss.objective: unknown contrastive loss 'infonec'.*infonce"),
        ({"loss": {"objective": {"name": "triplet", "margin": -1}}}, r"margin must be a finite number above 0, got -1"),
        ({"model": {"pooling": {"name": "maen"}}}, r"model.pooling: unknown pooling 'maen'.*mean"),
        ({"model": {"pooling": {"name": "attentive_correlation", "heads": 0}}}, r"heads must be a whole number"),
    ],
)
def test_wrong_parts_are_named_before_anything_is_read(settings: Any, message: str) -> None:
    read = read_settings(ContrastiveSettings, "contrastive", None, SMALL, settings)
    with pytest.raises(ConfigError, match=message):
        training.check_settings(read)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batches": {"clusters": 1}}, r"batches: clusters must be at least 2, got 1"),
        ({"batches": {"per_step": 0}}, r"batches: per_step must be at least 1, got 0"),
        ({"loss": {"negatives": "speaker"}}, r"unknown negatives 'speaker'.*speakers"),
        ({"loss": {"reverse": True}}, r"reverse turns the speaker task around, and speaker_weight 0 leaves it out"),
        ({"loss": {"speaker_weight": float("inf")}}, r"speaker_weight: expected a finite number"),
        ({"loss": {"objective": {}}}, None),
        ({"loss": {"objective": "infonce"}}, r"loss.objective: expected a mapping"),
        ({"training": {"dev": {"share": 1.0}}}, r"share must be in \(0, 1\), got 1"),
        ({"training": {"dev": {"of": "speaker"}}}, r"unknown of 'speaker'.*speakers"),
        ({"training": {"step": 3}}, r"unknown key 'step'.*steps"),
        ({"training": {"precision": "fp8"}}, r"unknown precision 'fp8'"),
        ({"model": {"head": []}}, r"every width in head must be at least 1"),
        ({"model": {"projector_dim": 0}}, r"projector_dim and every width in head must be at least 1, got 0"),
        ({"model": {"dropout": 1.0}}, r"dropout must be in \[0, 1\)"),
    ],
)
def test_wrong_settings(settings: Any, message: str | None) -> None:
    if message is None:  # nothing is changed below a key
        assert read_settings(ContrastiveSettings, "contrastive", None, SMALL, settings)
        return
    with pytest.raises(ConfigError, match=message):
        read_settings(ContrastiveSettings, "contrastive", None, SMALL, settings)


def test_random_and_labelled_clusters_are_told(tmp_path: Path, cache_root: Path, demo_root: Path) -> None:
    """A head pretrained on labels says so, and lists what it heard with labels."""
    plan = plan_of(tmp_path / "run", cache_root, f"demo={demo_root}", {"cluster": {"by": "labels"}}, folds=(1,))
    folder = finished(plan, 1)
    assert (folder / "pretraining-labelled.jsonl").is_file()
    assert "an upper bound, no pretraining without labels" in (folder / "README.md").read_text()
    assert np.isfinite(json.loads((folder / "pretraining.json").read_text())["lineage"][-1]["metrics"]["dev"]["loss"])
