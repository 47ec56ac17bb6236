"""Faulty speech, settings and folders of ``pretrain contrastive``."""

# ruff: noqa: E501  (one row, one line)

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from faults.campaign import Fault, hold, payload, table
from s3prl_emotion.cli import main

pytestmark = pytest.mark.slow

PRE = (
    "pretrain",
    "contrastive",
    "-u",
    "fbank_no_cmvn",
    "--device",
    "cpu",
    "--cache-root",
    "{cache}",
    "-p",
    "{here}/run",
)
SMALL = (
    "embed.encoder.name=upstream,,embed.encoder.upstream=fbank_no_cmvn,,embed.encoder.layer=0,,cluster.clusters=2,,speech.min_s=0.3,,"
    "training.steps=4,,training.optimiser.warmup_steps=1,,training.eval_every=2,,batches.speakers=2,,"
    "batches.utterances=2,,training.dev.of=speakers,,training.dev.share=0.2,,cluster.shuffles=20"
)
DEMO = (*PRE, "--speech", "demo={demo}", "-o", SMALL)


def _clips(here: Path, speakers: int = 3, of_each: int = 4, samples: int = 16000) -> None:
    rng = np.random.default_rng(0)
    for speaker in range(speakers):
        for number in range(of_each):
            path = here / "talks" / f"s{speaker}" / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * rng.standard_normal(samples), 16000)


def _same(here: Path) -> None:
    """Every speaker says one thing, again and again."""
    _clips(here)
    for path in sorted((here / "talks").rglob("*.wav")):
        shutil.copy(here / "talks" / path.parent.name / "0.wav", here / "copy.wav")
        shutil.move(here / "copy.wav", path)


def _torn(here: Path) -> None:
    _clips(here)
    (here / "talks/s1/2.wav").write_bytes(b"RIFF")


def _text(name: str, content: str) -> Callable[[Path], object]:
    return lambda here: (here / name).write_text(content)


TALKS = ("--speech", "{here}/talks/{{speaker}}/{{utterance}}.wav")


@table(
    # --- the command ---------------------------------------------------------------------------------------------------
    Fault("no recipe", ("pretrain",), ("RECIPE",)),
    Fault("an unknown recipe", ("pretrain", "contrast"), ("invalid choice: 'contrast'",)),
    Fault("an option of the other recipe", (*DEMO, "--grid", "layers=1"), ("--grid",)),
    Fault("speech for the other recipe", ("pretrain", "flea", "--demo", "--speech", "x"), ("--speech",)),
    Fault(
        "no upstream", ("pretrain", "contrastive", "--speech", "demo={demo}"), ("-u is missing: whose hidden states",)
    ),
    Fault(
        "an unknown upstream",
        ("pretrain", "contrastive", "-u", "fbnk", "--speech", "demo={demo}", "--device", "cpu", "-p", "{here}/run"),
        ("-u 'fbnk' is not",),
    ),
    Fault("an unknown stage", (*DEMO, "--stage", "clusters"), ("invalid choice: 'clusters'",)),
    Fault("a stage of a study", (*DEMO, "--study", "--stage", "embed"), ("--study runs all stages",)),
    Fault("a stage too early", (*DEMO, "--stage", "cluster"), ("stage embed is not finished", "--stage embed")),
    Fault("an export too early", (*DEMO, "--stage", "export"), ("is not finished",)),
    Fault("two folders", (*DEMO, "-n", "x"), ("both name the folder",)),
    Fault("a fold that is none", (*DEMO, "--fold", "9"), ("--fold 9: demo has folds 1, 2, 3, 4, 5",)),
    # --- speech --------------------------------------------------------------------------------------------------------
    Fault("no speech", PRE, ("--speech is missing",)),
    Fault("empty speech", (*PRE, "--speech", ""), ("names nothing",)),
    Fault("a corpus without its place", (*PRE, "--speech", "emodb4"), ("where is this corpus?",)),
    Fault("a place that is none", (*PRE, "--speech", "{here}/nowhere"), ("no such file or folder",)),
    Fault(
        "a folder and no pattern", (*PRE, "--speech", "{here}/talks"), ("which of its files, and who speaks?",), _clips
    ),
    Fault(
        "a pattern that matches nothing",
        (*PRE, "--speech", "{here}/talks/{{speaker}}/*/*.wav"),
        ("matches none of 12 audio files",),
        _clips,
    ),
    Fault(
        "a pattern of another ending",
        (*PRE, "--speech", "{here}/talks/{{speaker}}/*.flac"),
        ("matches none of 0 audio files",),
        _clips,
    ),
    Fault(
        "a pattern that names no speaker",
        (*PRE, "--speech", "{here}/talks/*/{{utterance}}.wav"),
        ("does not say where the speaker's name is",),
        _clips,
    ),
    Fault(
        "a pattern with an unknown part",
        (*PRE, "--speech", "{here}/talks/{{who}}/*.wav"),
        ("unknown part {who}",),
        _clips,
    ),
    Fault(
        "a pattern that is code", (*PRE, "--speech", "{here}/{{speaker.__class__}}/*.wav"), ("unknown part",), _clips
    ),
    Fault(
        "a table without speakers",
        (*PRE, "--speech", "{here}/t.csv"),
        ("no column 'speaker'",),
        _text("t.csv", "path,label\na.wav,hap\n"),
    ),
    Fault(
        "a table with an empty speaker",
        (*PRE, "--speech", "{here}/t.csv"),
        ("not known who speaks in any of 1 utterances",),
        _text("t.csv", "path,speaker\na.wav,\n"),
    ),
    Fault(
        "a table of nothing",
        (*PRE, "--speech", "{here}/t.csv"),
        ("the table has no rows",),
        _text("t.csv", "path,speaker\n"),
    ),
    Fault(
        "a manifest that is cut off",
        (*PRE, "--speech", "{here}/m.jsonl"),
        ("its header says 2 utterances, found 0",),
        _text("m.jsonl", '{"schema": 1, "corpus": "x", "labels": ["a"], "root": "/", "count": 2}\n'),
    ),
    Fault(
        "a manifest without speakers",
        (*PRE, "--speech", "{here}/m.jsonl"),
        ("not known who speaks in any of 1",),
        _text(
            "m.jsonl",
            '{"schema": 1, "corpus": "x", "labels": ["a"], "root": "/", "count": 1}\n{"id": "u", "path": "u.wav", "label": "a", "speaker": ""}\n',
        ),
    ),
    Fault(
        "the same source twice",
        (*PRE, "--speech", "demo={demo}", "--speech", "demo={demo}"),
        ("two sources are called demo",),
    ),
    Fault(
        "the same recordings twice",
        (*PRE, "--speech", "emodb=/x", "--speech", "emodb4=/x"),
        ("are the same recordings",),
    ),
    Fault("one speaker only", (*PRE, *TALKS), ("one speaker only (talks:s0)",), lambda here: _clips(here, 1)),
    Fault(
        "clips that are too short",
        (*PRE, *TALKS),
        ("no utterance of 1 s or more",),
        lambda here: _clips(here, samples=8000),
    ),
    Fault("a torn clip", (*PRE, *TALKS), ("1 of 12 utterances cannot be used", "talks/s1/2.wav"), _torn),
    Fault(
        "identical clips",
        (*PRE, *TALKS, "-o", SMALL),
        ("none of 3 speakers gives pairs", "all 4 vectors are the same"),
        _same,
    ),
    Fault(
        "too few clips of each",
        (*PRE, *TALKS, "-o", SMALL),
        ("none of 3 speakers gives pairs", "3 utterances: two clusters of 2 need more"),
        lambda here: _clips(here, of_each=3),
    ),
    Fault("data without a corpus", (*PRE, *TALKS, "--data", "{here}"), ("of which corpus?",), _clips),
    Fault("a protocol without a corpus", (*PRE, *TALKS, "--protocol", "strict"), ("nothing is divided",), _clips),
    Fault(
        "test audio without the name for it",
        (*DEMO, "--no-inductive"),
        ("does not allow pretraining to hear test audio",),
    ),
    Fault(
        "a study without a corpus", (*PRE, *TALKS, "--study"), ("--study trains and tests heads on a corpus",), _clips
    ),
    # --- settings ------------------------------------------------------------------------------------------------------
    Fault(
        "an unknown encoder", (*DEMO, "--encoder", "ge2"), ("--encoder: unknown encoder 'ge2'", "Did you mean 'ge2e'?")
    ),
    Fault(
        "an encoder without its checkpoint",
        (*DEMO, "-o", "embed.encoder.name=ecapa,,embed.encoder.checkpoint={here}/no"),
        ("no embedding_model.ckpt there",),
    ),
    Fault("an unknown section", (*DEMO, "-o", "clusters.by=random"), ("unknown key 'clusters'", "'cluster'")),
    Fault("an unknown key", (*DEMO, "-o", "cluster.cluster=3"), ("unknown key 'cluster'",)),
    Fault("an unknown algorithm", (*DEMO, "-o", "cluster.algorithm=dbscan"), ("unknown algorithm 'dbscan'",)),
    Fault("one cluster", (*DEMO, "-o", "cluster.clusters=1"), ("clusters must be at least 2",)),
    Fault("most below fewest", (*DEMO, "-o", "cluster.fewest=5,,cluster.most=3"), ("expected 2 <= fewest <= most",)),
    Fault("code as a number", (*DEMO, "-o", f"cluster.clusters={payload('4')}"), ("cluster.clusters",)),
    Fault("an unknown pooling", (*DEMO, "-o", "model.pooling.name=men"), ("unknown pooling 'men'",)),
    Fault("an unknown loss", (*DEMO, "-o", "loss.objective.name=nce"), ("'nce'",)),
    Fault("a share above one", (*DEMO, "-o", "study.shares=[10]"), ("shares must be above 0 and at most 1",)),
    Fault("settings that are no file", (*DEMO, "-c", "{here}/no.yaml"), ("no such configuration file",)),
    Fault("settings of the other recipe", (*DEMO, "-c", "{flea}"), ("unknown key 'tapt'",)),
)
def test_requests(fault: Fault, tmp_path: Path, capsys, demo_root: Path, cache_root: Path) -> None:
    from s3prl_emotion.pretraining.settings import shipped

    hold(fault, tmp_path, capsys, demo=demo_root, cache=cache_root, flea=shipped("flea"))


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory, demo_root: Path) -> Path:
    """A folder with everything up to the clusters of fold 1."""
    here = tmp_path_factory.mktemp("clustered")
    for stage in ("embed", "cluster"):
        assert main([*_words(here, demo_root), "--stage", stage]) == 0
    return here


def _words(here: Path, demo: Path) -> list[str]:
    words = [*PRE, "--speech", f"demo={demo}", "--fold", "1"]
    return [word.replace("{here}", str(here)).replace("{cache}", str(here / "cache")) for word in words] + ["-o", SMALL]


def _rows(change: Callable[[list[str]], list[str]]) -> Callable[[Path], object]:
    def write(here: Path) -> None:
        path = here / "run/fold1/cluster/clusters.jsonl"
        path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")

    return write


def _of_other_speech(here: Path) -> None:
    path = here / "run/fold1/cluster/clusters.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**row, "utterance": f"other/{row['utterance']}"}) + "\n" for row in rows))


STAGE = ("--fold", "1", "--stage", "pretrain")


@table(
    Fault("clusters that are cut off", (*DEMO, *STAGE), ("says", "Cluster again"), _rows(lambda rows: rows[:-1])),
    Fault(
        "clusters that are no JSON",
        (*DEMO, *STAGE),
        ("clusters.jsonl, line 1: not JSON",),
        _rows(lambda rows: ["x", *rows[1:]]),
    ),
    Fault("clusters of another corpus", (*DEMO, *STAGE), ("clusters of other speech",), _of_other_speech),
    Fault(
        "clusters that are gone",
        (*DEMO, *STAGE),
        ("clusters.jsonl: no such file",),
        lambda here: (here / "run/fold1/cluster/clusters.jsonl").unlink(),
    ),
    Fault(
        "embeddings that are torn",
        (*DEMO, "--fold", "1", "--stage", "cluster"),
        ("inputs.embeddings was",),
        lambda here: (here / "run/embed/embeddings.npy").write_bytes(b"x"),
    ),
    Fault("another seed in the same folder", (*DEMO, *STAGE, "--seed", "7"), ("seed was 1337 and is 7",)),
    Fault(
        "another upstream in the same folder",
        (*DEMO, *STAGE, "-u", "fbank"),
        ("upstream.name was 'fbank_no_cmvn' and is 'fbank'",),
    ),
    Fault("a record that is no JSON", (*DEMO, *STAGE), ("recipe.json",), _text("run/recipe.json", "{")),
)
def test_folders(fault: Fault, tmp_path: Path, capsys, clustered: Path, demo_root: Path, cache_root: Path) -> None:
    shutil.copytree(clustered / "run", tmp_path / "run")
    hold(fault, tmp_path, capsys, demo=demo_root, cache=cache_root)


@table(
    Fault(
        "a share of nothing",
        ("run", "-u", "fbank", "-d", "emotion_mean", "--demo", "--device", "cpu", "--train-share", "0"),
        ("train_share must be above 0",),
    ),
    Fault(
        "a share above one",
        ("run", "-u", "fbank", "-d", "emotion_mean", "--demo", "--device", "cpu", "--train-share", "1.5"),
        ("train_share must be above 0 and at most 1",),
    ),
    Fault(
        "no number as a share",
        ("run", "-u", "fbank", "-d", "emotion_mean", "--demo", "--device", "cpu", "--train-share", "some"),
        ("--train-share",),
    ),
    Fault(
        "NaN as a share",
        ("run", "-u", "fbank", "-d", "emotion_mean", "--demo", "--device", "cpu", "--train-share", "nan"),
        ("train_share",),
    ),
    Fault(
        "a share for S3PRL's own",
        ("run", "-u", "fbank", "-d", "emotion", "--demo", "--device", "cpu", "--train-share", "0.5"),
        ("S3PRL's own expert",),
    ),
    Fault(
        "a share below the classes",
        (
            "run",
            "-u",
            "fbank",
            "-d",
            "emotion_mean",
            "--device",
            "cpu",
            "--corpus",
            "demo",
            "--data",
            "{demo}",
            "-p",
            "{here}/run",
            "--train-share",
            "0.01",
        ),
        ("fewer than the 4 classes",),
    ),
    Fault(
        "a share of a checkpoint",
        ("run", "-e", "{here}/x.ckpt", "--train-share", "0.5"),
        ("--train-share: with a checkpoint",),
    ),
)
def test_shares(fault: Fault, tmp_path: Path, capsys, demo_root: Path) -> None:
    hold(fault, tmp_path, capsys, demo=demo_root)
