"""Run folders whose files were lost, torn, edited or copied, through every command that reads them."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from faults.campaign import Fault, hold, table
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.corpora.manifest import Utterance
from s3prl_emotion.protocols.split import Folds

pytestmark = pytest.mark.slow

OVERRIDE = "config.runner.total_steps=4,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.log_step=2"
AUDIO = "{demo}/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
COMMANDS: dict[str, tuple[str, ...]] = {
    "again": (
        *("run", "-u", "fbank", "-d", "emotion_mean_std", "--corpus", "demo", "--data", "{demo}", "--device", "cpu"),
        *("--fold", "1,2", "--cache-root", "{cache}", "-p", "{here}/run", "-o", OVERRIDE),
    ),
    "evaluate": ("evaluate", "{here}/run"),
    "predict": ("predict", "--run", "{here}/run", "--device", "cpu", AUDIO),
    "export": ("export", "{here}/run", "--device", "cpu", "--out", "{here}/head"),
    "compare": ("compare", "{here}/run"),
    "-e": ("run", "-m", "evaluate", "-e", "{here}/run/fold1/dev-best.ckpt", "-t", "dev", "--device", "cpu"),
    "resume": ("run", "-e", "{here}/run/fold1", "--device", "cpu", "--cache-root", "{cache}"),
}
READS = {
    "run.json": ("again", "evaluate", "predict", "export", "compare", "-e"),
    "fold1/fold.json": ("again", "predict", "export"),
    "manifest.jsonl": ("again", "evaluate", "predict", "export", "compare", "-e"),
    "folds.json": ("again", "evaluate", "predict", "export", "compare", "-e"),
    "results.json": ("evaluate", "predict", "export", "compare"),
}
"""What reads which JSON file. What a command only writes, it writes again: a broken audit.json does no harm."""

MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "a list": b"[]",
    "pairs": b'[["upstream", "fbank"]]',
    "null": b"null",
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "NaN": b'{"seed": NaN, "dev_score": NaN, "schema": NaN}',
    "nested deeply": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number too long": b'{"a": ' + b"9" * 5000 + b"}",
    "an empty object": b"{}",
    "a key twice": b'{"a": 1, "a": 2}',
    "a shell's error": b"cat: no such file\n",
}


def _write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda here: (here / "run" / name).write_bytes(content)


def _edit(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Change the object of a JSON file, or the first line of a file of JSON lines."""

    def edit(here: Path) -> None:
        path = here / "run" / name
        head, newline, rest = path.read_text().partition("\n") if name.endswith("l") else (path.read_text(), "", "")
        content = json.loads(head)
        change(content)
        path.write_text(json.dumps(content) + newline + rest)

    return edit


def _set(name: str, value: object, *keys: str) -> Callable[[Path], object]:
    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return _edit(name, change)


def _drop(name: str, *keys: str) -> Callable[[Path], object]:
    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return _edit(name, change)


def _half(name: str) -> Callable[[Path], object]:
    def cut(here: Path) -> None:
        path = here / "run" / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return cut


def _gone(name: str) -> Callable[[Path], object]:
    return lambda here: (here / "run" / name).unlink()


def _copied(source: str, target: str) -> Callable[[Path], object]:
    def copy(here: Path) -> None:
        shutil.rmtree(here / "run" / target, ignore_errors=True)
        shutil.copytree(here / "run" / source, here / "run" / target)

    return copy


def _labels_in_another_order(here: Path) -> None:
    _edit("manifest.jsonl", lambda header: header["labels"].reverse())(here)


def _another_corpus(here: Path) -> None:
    """A manifest of other classes, under ids that are in the folds."""
    own = Manifest.read(here / "run" / "manifest.jsonl")
    names = dict(zip(own.labels, ("calm", "joyful", "cross", "blue"), strict=True))
    items = [Utterance(u.id, u.path, names[u.label], u.speaker, fold=u.fold) for u in own.utterances]
    Manifest("other", tuple(names.values()), own.root, tuple(items)).write(here / "run" / "manifest.jsonl")


def _other_audio(here: Path) -> None:
    path = here / "run" / "manifest.jsonl"
    path.write_text(path.read_text().replace("Ses01F_impro01_F000.wav", "Ses01F_impro01_F001.wav"))


def _another_division(here: Path) -> None:
    """Folds that hold together, but are not those of the run: dev and train change places."""
    folds = Folds.read(here / "run" / "folds.json")
    turned = tuple(dataclasses.replace(fold, train=fold.train[::-1]) for fold in folds.folds)
    Folds(folds.protocol, turned).write(here / "run" / "folds.json")


def _pickled(here: Path) -> None:
    torch.save({"Step": 1}, here / "run" / "fold1" / "dev-best.ckpt")


def _all(name: str, make: Callable[[Path], object], *says: str, commands: tuple[str, ...]) -> list[Fault]:
    return [Fault(f"{name}: {command}", COMMANDS[command], says, make) for command in commands]


ROWS = [
    row
    for file, commands in READS.items()
    for kind, content in MALFORMED.items()
    for row in _all(f"{file} is {kind}", _write(file, content), file.rpartition("/")[2], commands=commands)
]
ROWS += [
    row
    for file, commands in READS.items()
    for row in _all(f"{file} is torn", _half(file), file.rpartition("/")[2], commands=commands)
]
EVERY = ("again", "evaluate", "predict", "export", "compare")
TRAINED = ("predict", "export")
ROWS += [
    *_all("labels in another order", _labels_in_another_order, "manifest.jsonl", commands=(*EVERY, "-e", "resume")),
    *_all("another corpus' manifest", _another_corpus, "manifest.jsonl", commands=(*EVERY, "-e", "resume")),
    *_all("other audio in the manifest", _other_audio, "manifest.jsonl", commands=(*EVERY, "-e", "resume")),
    *_all("another division", _another_division, "folds.json", commands=(*EVERY, "-e", "resume")),
    *_all("a manifest that is gone", _gone("manifest.jsonl"), "manifest.jsonl", commands=("again", "predict")),
    *_all("folds that are gone", _gone("folds.json"), "folds.json", commands=("again", "predict")),
    *_all("run.json that is gone", _gone("run.json"), "run.json", "is missing", commands=("again",)),
    *_all("a copied fold9", _copied("fold1", "fold9"), "fold9", "Take it away", commands=TRAINED),
    *_all("fold 1 as fold 2", _copied("fold1", "fold2"), "fold2", "copied or renamed", commands=("again", *TRAINED)),
    *_all("fold 1 as fold1 backup", _copied("fold1", "fold1-old"), "fold1-old", "Take it away", commands=TRAINED),
    *_all("a run of another seed", _set("run.json", 7, "seed"), "run.json", commands=TRAINED),
    *_all("a torn checkpoint", _half("fold1/dev-best.ckpt"), "dev-best.ckpt", commands=(*TRAINED, "-e")),
    *_all("another checkpoint", _pickled, "dev-best.ckpt", commands=(*TRAINED, "-e")),
    *_all("a checkpoint that is gone", _gone("fold1/dev-best.ckpt"), "dev-best.ckpt", commands=(*TRAINED, "-e")),
    *_all("predictions of the fold, gone", _gone("fold1/predictions.csv"), "predictions.csv", commands=("again",)),
    *_all("predictions of the fold, torn", _half("fold1/predictions.csv"), "predictions.csv", commands=("again",)),
    *_all("predictions, torn", _half("predictions.csv"), "predictions.csv", commands=("evaluate", "compare")),
    *_all("predictions, gone", _gone("predictions.csv"), "predictions.csv", commands=("evaluate",)),
]
for key, value in (
    ("upstream", 3),
    ("upstream", None),
    ("seed", "1337"),
    ("seed", True),
    ("config", []),
    ("settings", "none"),
    ("downstream", ["emotion_mean"]),
    ("corpus", "demo"),
    ("checkpoint_sha256", 7),
    ("protocol", {}),
    ("trim_zeros", "no"),
    ("made", []),
):
    ROWS += _all(
        f"run.json: {key} is {value!r}",
        _set("run.json", value, key),
        "run.json",
        key,
        commands=("again", "predict"),
    )
for keys, value in (
    (("settings", "deviations"), "none"),
    (("settings", "deviations"), [1]),
    (("config", "runner"), None),
    (("config", "downstream_expert"), 1),
):
    name = ".".join(keys)
    ROWS += _all(f"run.json: {name} is {value!r}", _set("run.json", value, *keys), name, commands=("again", "predict"))
for key in ("upstream", "seed", "config", "settings", "corpus", "protocol"):
    ROWS += _all(f"run.json without {key}", _drop("run.json", key), "run.json", key, commands=("again", "predict"))
for key, value in (
    ("step", "4"),
    ("step", 1.5),
    ("dev_score", None),
    ("dev_score", "high"),
    ("checkpoint_sha256", None),
    ("predictions_sha256", 1),
    ("differs", "nothing"),
    ("differs", [None]),
    ("fold", "1"),
    ("fold", 2),
    ("made", "x"),
    ("run_sha256", 1),
):
    ROWS += _all(
        f"fold.json: {key} is {value!r}",
        _set("fold1/fold.json", value, key),
        "fold.json",
        *(() if (key, value) == ("fold", 2) else (key,)),
        commands=("again", "predict"),
    )
for key in ("step", "dev_score", "checkpoint_sha256", "predictions_sha256", "differs"):
    ROWS += _all(f"fold.json without {key}", _drop("fold1/fold.json", key), key, commands=("again", "predict"))


@pytest.fixture
def places(finished_run: Path, demo_root: Path, tmp_path: Path) -> dict[str, Path]:
    logging.getLogger().handlers.clear()  # of the row before, to a stream that is closed
    shutil.copytree(finished_run, tmp_path / "run")
    return {"demo": demo_root, "cache": finished_run.parent / "cache"}


@table(*ROWS)
def test_run_folder(fault: Fault, places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("predictions.csv")}
    hold(fault, tmp_path, capsys, **places)
    if "predictions" not in fault.name and "fold 1 as fold" not in fault.name and "fold9" not in fault.name:
        assert {path: path.read_bytes() for path in before} == before, "what was computed is left alone"
    assert not list(tmp_path.rglob(".*.tmp"))


@pytest.mark.parametrize("command", EVERY)
def test_a_sound_run_folder(
    command: str, places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same commands on the folder as it is: what the rows above fail by is what was done to it."""
    hold(Fault(command, COMMANDS[command], (), None, 0), tmp_path, capsys, **places)


@pytest.mark.parametrize("command", ["again", "predict", "evaluate"])
def test_a_run_folder_of_an_earlier_version(
    command: str, places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without hashes it is read as it is, and that is said."""
    _drop("run.json", "made")(tmp_path)
    for fold in ("fold1", "fold2"):
        for key in ("made", "run_sha256", "fold"):
            _drop(f"{fold}/fold.json", key)(tmp_path)
    hold(Fault(command, COMMANDS[command], ("not checked",), None, 0), tmp_path, capsys, **places)
