"""Pretrained heads that are damaged, of another run or none at all; settings and clusters that cannot be trained on."""

# ruff: noqa: E501  (one row, one line)

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from faults.campaign import Fault, Touch, hold, table
from s3prl_emotion.cli import main
from s3prl_emotion.downstream.pretrained import (
    FORMAT,
    NO_WEIGHTS,
    VERSION,
    HeadUpstream,
    PretrainedHead,
    read_weights,
    write_head,
)

pytestmark = pytest.mark.slow

SMALL = "config.downstream_expert.modelrc.projector_dim=6,,config.runner.total_steps=2,,config.runner.eval_step=2"
RUN = (
    "run",
    "-u",
    "fbank_no_cmvn",
    "--device",
    "cpu",
    "--corpus",
    "demo",
    "--data",
    "{demo}",
    "-p",
    "{here}/run",
    "--fold",
    "1",
)
START = (*RUN, "-d", "emotion_contrastive", "-o", SMALL, "--pretrained", "{here}/head")


def _head(here: Path) -> Path:
    folder = here / "head"
    folder.mkdir()
    about = PretrainedHead(FORMAT, VERSION, 1, 240, 6, {"name": "mean"}, HeadUpstream("fbank_no_cmvn", NO_WEIGHTS))
    write_head(folder, about, {"projector.weight": torch.zeros(6, 240), "projector.bias": torch.zeros(6)})
    return folder


def _changed(**values: Any) -> Callable[[Path], object]:
    """A head whose ``head.json`` has other values; None takes a key away."""

    def make(here: Path) -> None:
        path = _head(here) / "head.json"
        content = {**json.loads(path.read_text()), **values}
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return make


def _tensors(**values: Any) -> Callable[[Path], object]:
    """A head whose weights have others besides, or in their place."""

    def make(here: Path) -> None:
        folder = _head(here)
        tensors = {**read_weights(folder), **{key.replace("__", "."): value for key, value in values.items()}}
        save_file({key: value for key, value in tensors.items() if value is not None}, folder / "head.safetensors")

    return make


def _file(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda here: (_head(here) / name).write_bytes(content)


def _pickled(here: Path) -> None:
    torch.save(Touch(), _head(here) / "head.safetensors")


def _without(name: str) -> Callable[[Path], object]:
    return lambda here: (_head(here) / name).unlink()


def _per_fold(here: Path) -> None:
    folder = _head(here)
    (here / "other").mkdir()
    shutil.move(folder, here / "other" / "fold2")
    (here / "other").rename(folder)
    (folder / "pretraining.json").write_text('{"per_fold": true}')


@table(
    Fault(
        "no head named",
        (*RUN, "-d", "emotion_contrastive"),
        ("-d emotion_contrastive starts from a pretrained head", "--pretrained FOLDER"),
    ),
    Fault("a head that is not there", START, ("--pretrained", "head: no such folder")),
    Fault("a file in place of a head", START, ("head: no such folder",), lambda here: (here / "head").write_text("x")),
    Fault(
        "an empty folder", START, ("no pretrained head: head.json is missing",), lambda here: (here / "head").mkdir()
    ),
    Fault(
        "the folder of the pretraining",
        START,
        ("no pretrained head: head.json is missing. Did you mean", "head/head?"),
        lambda here: (here / "head" / "head").mkdir(parents=True),
    ),
    Fault("no head.json", START, ("head.json is missing",), _without("head.json")),
    Fault("no weights", START, ("head.safetensors: cannot be read", "Export it again"), _without("head.safetensors")),
    Fault("weights of no byte", START, ("head.safetensors: cannot be read",), _file("head.safetensors", b"")),
    Fault(
        "torn weights",
        START,
        ("head.safetensors: cannot be read",),
        _file("head.safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{"),
    ),
    Fault("a pickle as weights", START, ("head.safetensors: cannot be read",), _pickled),
    Fault("a json that is none", START, ("head.json: cannot be read",), _file("head.json", b"{")),
    Fault("a json that is no text", START, ("head.json: cannot be read",), _file("head.json", b"\xff\xfe\x00")),
    Fault(
        "a json with a key twice",
        START,
        ("head.json: cannot be read", "given twice"),
        _file("head.json", b'{"format": 1, "format": 2}'),
    ),
    Fault("a list as head", START, ("head.json: not a s3prl-emotion pretrained head",), _file("head.json", b"[]")),
    Fault("a later version", START, ("not a s3prl-emotion pretrained head of version 1",), _changed(version=2)),
    Fault("a missing key", START, ("head.json", "missing", "layers"), _changed(layers=None)),
    Fault("an unknown key", START, ("head.json", "unknown key 'lairs'", "layers"), _changed(lairs=1)),
    Fault("layers in words", START, ("head.json", "layers", "expected int, found 'one'"), _changed(layers="one")),
    Fault("a pooling without a name", START, ("pooling", "name"), _changed(pooling={"heads": 4})),
    Fault(
        "another pooling",
        START,
        ("modelrc.pooling is 'mean', the head in", "with 'mean_std'"),
        _changed(pooling={"name": "mean_std"}),
    ),
    Fault("another width", START, ("modelrc.projector_dim is 6, the head in", "with 8"), _changed(projector_dim=8)),
    Fault("more layers", START, ("gives 1 layers", "pretrained on 13"), _changed(layers=13)),
    Fault("wider frames", START, ("gives 240 features to a frame", "pretrained on 768"), _changed(width=768)),
    Fault(
        "another upstream",
        START,
        ("-u fbank_no_cmvn without weights", "pretrained on: hubert with weights abc"),
        _changed(upstream={"name": "hubert", "weights": "abc"}),
    ),
    Fault(
        "another upstream without weights",
        START,
        ("pretrained on: mel without weights",),
        _changed(upstream={"name": "mel", "weights": NO_WEIGHTS}),
    ),
    Fault(
        "another feature",
        START,
        ("-s is hidden_states", "with last_hidden_state"),
        _changed(upstream={"name": "fbank_no_cmvn", "weights": NO_WEIGHTS, "selection": "last_hidden_state"}),
    ),
    Fault(
        "a tensor of another shape",
        START,
        ("projector.bias has shape (7,), the head of this run shape (6,)",),
        _tensors(projector__bias=torch.zeros(7)),
    ),
    Fault(
        "a tensor too many",
        START,
        ("pooling.queries.weight has shape (2, 2), the head of this run no such parameter",),
        _tensors(pooling__queries__weight=torch.zeros(2, 2)),
    ),
    Fault(
        "a tensor too few",
        START,
        ("projector.bias has no such parameter, the head of this run shape (6,)",),
        _tensors(projector__bias=None),
    ),
    Fault(
        "layer weights where there is one layer",
        START,
        ("layer_weights has shape (13,), the head of this run no such parameter",),
        _tensors(layer_weights=torch.zeros(13)),
    ),
    Fault(
        "weights that are not finite",
        START,
        ("head.safetensors: projector.bias is not finite",),
        _tensors(projector__bias=torch.full((6,), float("nan"))),
    ),
    Fault("no head for the fold", START, ("holds no model for fold 1, which is missing (folds there: 2)",), _per_fold),
    Fault("an index that is none", START, ("pretraining.json: not valid JSON",), _file("pretraining.json", b"{")),
    Fault("heard speech that is none", START, ("pretraining.jsonl",), _file("pretraining.jsonl", b"x\n")),
    Fault(
        "S3PRL's own expert",
        (*RUN, "-d", "emotion", "--pretrained", "{here}/head"),
        ("S3PRL's own expert", "emotion_contrastive"),
        _head,
    ),
    Fault(
        "a place in the configuration",
        (*START, "-o", f"{SMALL},,config.downstream_expert.datarc.pretrained={{here}}/head"),
        ("datarc.pretrained is set by the launcher",),
        _head,
    ),
    Fault(
        "another hash in the configuration",
        (*START, "-o", f"{SMALL},,config.downstream_expert.modelrc.pretrained.sha256=abc"),
        ("its SHA-256 is", "modelrc.pretrained.sha256 is abc"),
        _head,
    ),
    Fault(
        "an unknown key of pretrained",
        (*START, "-o", f"{SMALL},,config.downstream_expert.modelrc.pretrained.frosen=True"),
        ("unknown key 'frosen'", "frozen"),
        _head,
    ),
    Fault(
        "frozen by a number",
        (*START, "-o", f"{SMALL},,config.downstream_expert.modelrc.pretrained.frozen=1"),
        ("frozen: expected bool, found 1",),
        _head,
    ),
    Fault(
        "a second task without weight",
        (*START, "-o", f"{SMALL},,config.downstream_expert.modelrc.auxiliary.speaker_weight=0"),
        ("auxiliary: speaker_weight must be a finite number above 0",),
        _head,
    ),
    Fault(
        "a second task of code",
        (
            *START,
            "-o",
            f"{SMALL},,config.downstream_expert.modelrc.auxiliary.speaker_weight=__import__('os').system('touch EXECUTED')",
        ),
        ("speaker_weight: expected a number",),
        _head,
    ),
    Fault(
        "a second task with an unknown key",
        (*START, "-o", f"{SMALL},,config.downstream_expert.modelrc.auxiliary.lambda=1"),
        ("unknown key 'lambda'",),
        _head,
    ),
    Fault(
        "a head that hears no speech",
        (*RUN, "-d", "emotion_text", "--pretrained", "{here}/head"),
        ("-d emotion_text: hears no speech (text.speech: false)",),
        _head,
    ),
    Fault(
        "a second task where nothing is heard",
        (*RUN, "-d", "emotion_text", "-o", "config.downstream_expert.modelrc.auxiliary.speaker_weight=1.0"),
        ("text.speech is false, so nothing is pooled that auxiliary could act on",),
    ),
)
def test_heads(fault: Fault, tmp_path: Path, demo_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One clear error each, before anything is trained."""
    hold(fault, tmp_path, capsys, demo=demo_root)
    assert not list(tmp_path.rglob("*.ckpt"))


PRETRAIN = (
    "pretrain",
    "contrastive",
    "--demo",
    "--fold",
    "1",
    "--device",
    "cpu",
    "-p",
    "{here}/run",
    "--cache-root",
    "{here}/cache",
)


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretraining up to its clusters."""
    here = tmp_path_factory.mktemp("clustered")
    for stage in ("embed", "cluster"):
        assert main([*(word.format(here=here) for word in PRETRAIN), "--stage", stage]) == 0
    return here


def _rows(change: Callable[[list[dict[str, Any]]], object]) -> Callable[[Path], object]:
    def make(here: Path) -> None:
        path = here / "run" / "fold1" / "cluster" / "clusters.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        change(rows)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    return make


def _in_rows(**values: Any) -> Callable[[Path], object]:
    return _rows(lambda rows: [row.update(values) for row in rows])


STAGE = (*PRETRAIN, "--stage", "pretrain")


@table(
    Fault(
        "export before pretrain",
        (*PRETRAIN, "--stage", "export"),
        ("stage pretrain, fold 1 is not finished: run it first",),
    ),
    Fault("no clusters", STAGE, ("cluster",), lambda here: (here / "run/fold1/cluster/clusters.jsonl").unlink()),
    Fault(
        "clusters of no line",
        STAGE,
        ("clusters.jsonl",),
        lambda here: (here / "run/fold1/cluster/clusters.jsonl").write_text(""),
    ),
    Fault(
        "clusters that are no JSON",
        STAGE,
        ("clusters.jsonl, line 1: not JSON",),
        lambda here: (here / "run/fold1/cluster/clusters.jsonl").write_text("x\n"),
    ),
    Fault("a cluster below zero", STAGE, ("clusters.jsonl, line 1: cluster must be 0 or more",), _in_rows(cluster=-1)),
    Fault("a cluster in words", STAGE, ("cluster: expected int, found 'first'",), _in_rows(cluster="first")),
    Fault("a cluster that is no number", STAGE, ("clusters.jsonl, line 1",), _in_rows(cluster=float("nan"))),
    Fault("clusters of other audio", STAGE, ("clusters of other speech",), _in_rows(content="0" * 32)),
    Fault("clusters of other speakers", STAGE, ("clusters of other speech",), _in_rows(speaker="demo:nobody")),
    Fault("everybody in one cluster", STAGE, ("no speaker gives pairs",), _in_rows(cluster=0)),
    Fault("nobody in a cluster", STAGE, ("no speaker gives pairs",), _in_rows(cluster=None)),
    Fault("a line twice", STAGE, ("has a line already",), _rows(lambda rows: rows.append(rows[0]))),
    Fault("a line less", STAGE, ("cluster.json says 96 utterances, found 95",), _rows(list.pop)),
    Fault(
        "an unknown loss",
        (*STAGE, "-o", "loss.objective.name=infonec"),
        ("unknown contrastive loss 'infonec'", "infonce"),
    ),
    Fault(
        "an option of another loss",
        (*STAGE, "-o", "loss.objective.margin=1"),
        ("unknown option 'margin' of contrastive loss 'infonce'", "temperature"),
    ),
    Fault(
        "a loss of code",
        (*STAGE, "-o", "loss.objective.name=__import__('os').system('touch EXECUTED')"),
        ("unknown contrastive loss",),
    ),
    Fault("an unknown pooling", (*STAGE, "-o", "model.pooling.name=maen"), ("model.pooling: unknown pooling 'maen'",)),
    Fault("one cluster in a batch", (*STAGE, "-o", "batches.clusters=1"), ("clusters must be at least 2, got 1",)),
    Fault(
        "one utterance of a cluster", (*STAGE, "-o", "batches.utterances=1"), ("utterances must be at least 2, got 1",)
    ),
    Fault("reversed without a weight", (*STAGE, "-o", "loss.reverse=True"), ("speaker_weight 0 leaves it out",)),
    Fault(
        "a rate that destroys everything",
        (*STAGE, "-o", "training.optimiser.lr=1e30,,training.optimiser.clip=1e30,,training.optimiser.warmup_steps=0"),
        ("the training diverges", "training.optimiser.lr=1e+29"),
    ),
    Fault(
        "a torn checkpoint",
        STAGE,
        ("checkpoint.pt: not a readable checkpoint",),
        lambda here: _put(here, b"PK\x03\x04 torn"),
    ),
    Fault(
        "a checkpoint of another training",
        STAGE,
        ("checkpoint.pt: does not fit this training",),
        lambda here: torch.save({"model": {}, "optimiser": {}, "progress": {}}, _place(here)),
    ),
    Fault(
        "a checkpoint of code",
        STAGE,
        ("checkpoint.pt: not a readable checkpoint",),
        lambda here: torch.save(Touch(), _place(here)),
    ),
)
def test_pretraining(fault: Fault, tmp_path: Path, clustered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One clear error each, and no head is left."""
    shutil.copytree(clustered / "run", tmp_path / "kept")
    try:
        hold(fault, clustered, capsys)
        assert not list(clustered.rglob("head.safetensors"))
    finally:
        shutil.rmtree(clustered / "run")
        shutil.copytree(tmp_path / "kept", clustered / "run")


def _place(here: Path) -> Path:
    place = here / "run" / "fold1" / "pretrain"
    place.mkdir()
    return place / "checkpoint.pt"


def _put(here: Path, content: bytes) -> None:
    _place(here).write_bytes(content)
