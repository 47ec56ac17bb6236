"""Classical models: options that cannot be meant so, data that nothing can be learned from, models that were spoilt."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest

from faults.campaign import Fault, Touch, hold, table
from s3prl_emotion.cli import main

pytestmark = pytest.mark.slow

CLASSICAL = (
    "classical",
    "--corpus",
    "demo",
    "--data",
    "{demo}",
    "--device",
    "cpu",
    "--root",
    "{here}/runs",
    "--cache-root",
    "{cache}",
)
NO_CMVN = (*CLASSICAL, "-u", "fbank_no_cmvn")
RUN = (
    "run",
    "-u",
    "fbank_no_cmvn",
    "-d",
    "classical_knn",
    "--corpus",
    "demo",
    "--data",
    "{demo}",
    "--device",
    "cpu",
    "-p",
    "{here}/run",
    "--cache-root",
    "{cache}",
)
TABLE = (
    "classical",
    "-u",
    "fbank_no_cmvn",
    "--corpus",
    "table",
    "--data",
    "{here}/table.csv",
    "--device",
    "cpu",
    "--root",
    "{here}/runs",
    "--cache-root",
    "{cache}",
    "--protocol",
    "strict",
)
PREDICT = ("predict", "--run", "{here}/fitted", "--device", "cpu", "{wav}")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, demo_root: Path, cache_root: Path) -> Path:
    """A finished classical run of one fold. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("fitted") / "run"
    words = [
        "run",
        "-u",
        "fbank_no_cmvn",
        "-d",
        "classical_knn",
        "--corpus",
        "demo",
        "--data",
        str(demo_root),
        "--fold",
        "1",
    ]
    assert main([*words, "--device", "cpu", "-p", str(folder), "--cache-root", str(cache_root)]) == 0
    return folder


MODEL = Path("fitted/fold1/classical.safetensors")


def _rehash(here: Path) -> None:
    """As a careful forger would."""
    from s3prl_emotion.files import checkpoint_sha256

    path = here / "fitted/fold1/fold.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "checkpoint_sha256": checkpoint_sha256(str(here / MODEL))}))


def _pickled(here: Path) -> None:
    (here / MODEL).write_bytes(pickle.dumps(Touch()))
    _rehash(here)


def _torn(here: Path) -> None:
    (here / MODEL).write_bytes((here / MODEL).read_bytes()[:-10])
    _rehash(here)


def _table(here: Path, few: int) -> None:
    """Four speakers with two emotions, the second of which only few utterances have."""
    from s3prl_emotion.corpora.demo import make_demo_corpus

    root = make_demo_corpus(here / "corpus", utterances_per_speaker_and_emotion=2)
    files = sorted(root.rglob("*.wav"))[:40]
    rows = [f"{path},{'b' if index < few else 'a'},s{index % 4}" for index, path in enumerate(files)]
    (here / "table.csv").write_text("path,label,speaker\n" + "\n".join(rows) + "\n")


@table(
    Fault("no upstream", CLASSICAL, ("-u is missing",)),
    Fault("an empty list of upstreams", (*CLASSICAL, "-u", ","), ("-u ','", "expected a name")),
    Fault("an unknown upstream", (*CLASSICAL, "-u", "fbnk"), ("-u 'fbnk' is not",)),
    Fault(
        "an unknown classifier",
        (*NO_CMVN, "--classifier", "logistc"),
        ("--classifier: unknown classifier 'logistc'. Did you mean 'logistic'",),
    ),
    Fault("an empty list of classifiers", (*NO_CMVN, "--classifier", ""), ("--classifier ''", "expected a name")),
    Fault("a classifier twice", (*NO_CMVN, "--classifier", "knn,knn"), ("something is named twice",)),
    Fault(
        "code as classifier",
        (*NO_CMVN, "--classifier", "__import__('os').system('touch EXECUTED')"),
        ("unknown classifier",),
    ),
    Fault("an unknown statistic", (*NO_CMVN, "--statistics", "median"), ("--statistics", "'median'")),
    Fault("an unknown layer", (*NO_CMVN, "--layers", "7"), ("--layers 7: the upstream has layers 0 to 0",)),
    Fault(
        "layers that are none",
        (*NO_CMVN, "--layers", "last"),
        ("--layers 'last': expected average, concat, each, or the number",),
    ),
    Fault("a negative layer", (*NO_CMVN, "--layers=-1"), ("--layers '-1'",)),
    Fault(
        "a table of layers that are not asked for",
        (*NO_CMVN, "--out", "{here}/x.csv"),
        ("--out is for the table of --layers each",),
    ),
    Fault(
        "a table of layers in the place of a folder",
        (*NO_CMVN, "--layers", "each", "--out", "{here}"),
        ("is a folder, expected a file",),
    ),
    Fault(
        "a table of layers over a run's file",
        (*NO_CMVN, "--layers", "each", "--out", "{here}/fitted/results.json"),
        ("a file of a run, which it would overwrite",),
    ),
    Fault("seeds twice", (*NO_CMVN, "--seed", "1", "--seeds", "2,3"), ("both name seeds",)),
    Fault(
        "a checkpoint for engineered features",
        (*CLASSICAL, "-u", "librosa94", "-k", "{here}/fitted/run.json"),
        ("computes its features and reads no checkpoint",),
    ),
    Fault("an unknown fold", (*NO_CMVN, "--fold", "9"), ("--fold 9: demo has folds 1, 2, 3, 4, 5",)),
    Fault("fine-tuning", (*RUN, "-f"), ("-f: -d classical_knn would ignore it",)),
    Fault("an override", (*RUN, "-o", "config.optimizer.lr=1"), ("-o: -d classical_knn would ignore it",)),
    Fault("S3PRL's layer option", (*RUN, "-l", "1"), ("use classical --layers N",)),
    Fault("without a store", (*RUN, "--no-cache"), ("--no-cache: -d classical_knn would ignore it",)),
    Fault(
        "scoring again", (*RUN, "-m", "evaluate"), ("-m evaluate: a classical model is fitted and scored in one go",)
    ),
    Fault(
        "another unknown classifier",
        ("run", "-u", "fbank", "-d", "classical_knm", "--device", "cpu"),
        ("-d classical_knm: unknown classifier 'knm'", "'knn'"),
    ),
    Fault(
        "learning rates",
        (
            "sweep",
            "-u",
            "fbank",
            "-d",
            "classical_knn",
            "--lr",
            "1e-2,1e-3",
            "--device",
            "cpu",
            "--corpus",
            "demo",
            "--data",
            "{demo}",
        ),
        ("--lr: -d classical_knn has no learning rate",),
    ),
    Fault(
        "time means that are zero",
        (*CLASSICAL, "-u", "fbank", "--fold", "1"),
        ("all 240 features are zero but for rounding", "fbank_no_cmvn"),
    ),
    Fault(
        "other settings in the folder of a run",
        (
            "run",
            "-u",
            "fbank_no_cmvn",
            "-d",
            "classical_tree",
            "--corpus",
            "demo",
            "--data",
            "{demo}",
            "--device",
            "cpu",
            "-p",
            "{here}/fitted",
        ),
        ("holds a run with other settings: downstream was 'classical_knn' and is 'classical_tree'",),
    ),
    Fault(
        "a class with few utterances",
        (*TABLE, "--classifier", "svm"),
        ("divides each class of the training part into 5", "utterances there. Use another classifier"),
        lambda here: _table(here, 4),
    ),
    Fault(
        "a class that train lacks",
        (*TABLE, "--classifier", "bayes"),
        ("nothing to train on for b",),
        lambda here: _table(here, 1),
    ),
    Fault(
        "a pickle in the place of a model", PREDICT, ("classical.safetensors: cannot be read as safetensors",), _pickled
    ),
    Fault("a torn model", PREDICT, ("classical.safetensors: cannot be read as safetensors",), _torn),
    Fault(
        "another model than the one that was scored",
        PREDICT,
        ("is missing, or not the one that fold 1 was scored with",),
        lambda here: (here / MODEL).write_bytes(b"x"),
    ),
    Fault(
        "a model that is gone",
        PREDICT,
        ("is missing, or not the one that fold 1 was scored with",),
        lambda here: (here / MODEL).unlink(),
    ),
    Fault(
        "scoring its checkpoint",
        ("run", "-m", "evaluate", "-e", "{here}/fitted/fold1", "--device", "cpu"),
        ("no such checkpoint: a classical model lies there",),
    ),
    Fault(
        "an export",
        ("export", "{here}/fitted", "--out", "{here}/out", "--device", "cpu"),
        ("a classical model is exported by copying its run folder",),
    ),
    Fault("no attention by another upstream", (*PREDICT, "-u", "fbank"), ("the head was trained on fbank_no_cmvn",)),
)
def test_classical(fault: Fault, tmp_path: Path, demo_root: Path, cache_root: Path, fitted: Path, capsys) -> None:
    shutil.copytree(fitted, tmp_path / "fitted")
    wav = next(demo_root.rglob("*.wav"))
    hold(fault, tmp_path, capsys, demo=demo_root, cache=cache_root, wav=wav)


NOT_A_NUMBER = """
import torch


def broken(ckpt=None, refresh=False, **kwargs):
    class Broken(torch.nn.Module):
        def get_downsample_rates(self, key=None):
            return 160

        def forward(self, wavs):
            frames = torch.stack([wav[: len(wav) // 160 * 160].reshape(-1, 160) for wav in wavs])
            if len(wavs[0]) not in (16000, 8000, 24000):  # those of the probe
                frames = frames / 0.0 * 0.0
            return {"hidden_states": (frames,), "last_hidden_state": frames}

    return Broken()
"""


def test_features_that_are_not_a_number(tmp_path: Path, demo_root: Path, monkeypatch, capsys) -> None:
    folder = tmp_path / "parts" / "upstream_patches"
    folder.mkdir(parents=True)
    (folder / "broken.py").write_text(NOT_A_NUMBER)
    monkeypatch.setenv("S3PRL_EMOTION_PLUGINS", str(tmp_path / "parts"))
    words = (*CLASSICAL[:-1], "{here}/cache", "-u", "broken")
    says = ("hidden states of broken are not finite: check the audio and the checkpoint",)
    hold(Fault("NaN", words, says), tmp_path, capsys, demo=demo_root)


@pytest.mark.parametrize(
    ("package", "words", "says"),
    [
        ("xgboost", ("-u", "fbank_no_cmvn", "--classifier", "xgboost"), "pip install xgboost-cpu"),
        ("lightgbm", ("-u", "fbank_no_cmvn", "--classifier", "lightgbm"), "pip install lightgbm"),
        ("librosa", ("-u", "librosa94"), "pip install librosa"),
        ("opensmile", ("-u", "egemaps"), "pip install opensmile"),
        ("opensmile", ("-u", "compare_functionals"), "pip install opensmile"),
    ],
)
def test_what_is_not_installed(package, words, says, tmp_path, demo_root, cache_root, monkeypatch, capsys) -> None:
    from importlib.util import find_spec

    for place in ("classical.options", "upstreams.requirements"):
        monkeypatch.setattr(
            f"s3prl_emotion.{place}.find_spec", lambda name: None if name == package else find_spec(name)
        )
    hold(Fault(package, (*CLASSICAL, *words), (says,)), tmp_path, capsys, demo=demo_root, cache=cache_root)
    assert not list(tmp_path.rglob("fold.json"))
