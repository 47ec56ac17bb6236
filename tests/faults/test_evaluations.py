"""Evaluations that cannot be had: by what the corpus does not tell, on what cannot be disturbed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.campaign import Fault, hold, table

pytestmark = pytest.mark.slow

BY = ("evaluate", "{here}/run", "--by")
WITH = ("evaluate", "{here}/run", "--device", "cpu", "--with")
PREPARE = ("prepare", "--corpus", "table", "--data", "{here}/t.csv", "--out", "{here}/out", "--corpus-option")


def remove(*names: str) -> Callable[[Path], object]:
    def make(here: Path) -> None:
        for name in names:
            (here / "run" / name).unlink()

    return make


def attributes(change: Callable[[dict[str, str]], dict[str, str] | None]) -> Callable[[Path], object]:
    """Change the attributes of every utterance of the manifest."""

    def make(here: Path) -> None:
        path = here / "run" / "manifest.jsonl"
        head, *lines = path.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        for row in rows:
            row["attributes"] = change(row["attributes"])
        path.write_text("\n".join([head, *map(json.dumps, rows)]) + "\n", encoding="utf-8")

    return make


def label(here: Path) -> None:
    path = here / "run" / "manifest.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"path": "Session1', '"path": "Session9'), "utf-8")


def csv(*rows: str) -> Callable[[Path], object]:
    return lambda here: (here / "t.csv").write_text("\n".join(["path,label,speaker,sex,age", *rows]) + "\n")


def audio_gone(here: Path) -> None:
    """The corpus was moved: the manifest's root, which no hash holds, names another place."""
    path = here / "run" / "manifest.jsonl"
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([json.dumps({**json.loads(head), "root": "/nowhere"}), *lines]) + "\n", "utf-8")


def no_sounds(here: Path) -> None:
    (here / "sounds").mkdir()
    (here / "sounds" / "readme.txt").write_text("none")


ROWS = (
    Fault("a name nearly right", (*BY, "sxe"), ("--by sxe: the manifest of", "Did you mean 'sex'", "Known:")),
    Fault("case makes a difference", (*BY, "Sex"), ("Did you mean 'sex'",)),
    Fault("what this corpus does not tell", (*BY, "intensity"), ("tells no 'intensity'", "--corpus-option attributes")),
    Fault("one of two unknown", (*BY, "sex,intensty"), ("--by intensty",)),
    Fault("no name", (*BY, ""), ("expected different names with commas",)),
    Fault("an empty name", (*BY, "sex,"), ("expected different names with commas",)),
    Fault("a name twice", (*BY, "sex,sex"), ("expected different names with commas",)),
    Fault("no manifest", (*BY, "sex"), ("manifest.jsonl: is missing",), remove("manifest.jsonl")),
    Fault(
        "other attributes",
        (*BY, "sex"),
        ("the attributes are not those that", "run.json was made with"),
        attributes(lambda found: {**found, "sex": "female"}),
    ),
    Fault("attributes gone", (*BY, "speaker"), ("the attributes are not those",), attributes(lambda found: None)),
    Fault(
        "an attribute that is no text", (*BY, "sex"), ("attributes must hold names",), attributes(lambda _: {"a": 1})
    ),
    Fault(
        "an attribute called as a key",
        (*BY, "sex"),
        ("'label' is a key of its own",),
        attributes(lambda _: {"label": "x"}),
    ),
    Fault("another manifest", (*BY, "sex"), ("manifest.jsonl is not the one that",), label),
    Fault("a manifest alone", ("evaluate", "{here}/run", "--manifest", "m"), ("--manifest is of --by NAME",)),
    Fault("no such other manifest", (*BY, "sex", "--manifest", "{here}/m"), ("no such manifest",)),
    Fault("both at once", (*BY, "sex", "--with", "noise"), ("give one at a time",)),
    Fault("a folder for a file", (*BY, "sex", "--out", "{here}"), ("is a folder, expected a file",)),
    Fault("over a run's file", (*BY, "sex", "--out", "{here}/run/results.json"), ("a file of a run",)),
    Fault("a format alone", ("evaluate", "{here}/run", "--format", "csv"), ("--format is of --by and --with",)),
    Fault("a level alone", ("evaluate", "{here}/run", "--snr", "10"), ("--snr is of --with EFFECT",)),
    Fault("an effect nearly right", (*WITH, "nosie"), ("--with: unknown effect 'nosie'. Did you mean 'noise'",)),
    Fault("no effect", (*WITH, ""), ("expected names of effects",)),
    Fault("an effect twice", (*WITH, "noise,noise"), ("named twice",)),
    Fault(
        "a ratio that is no number", (*WITH, "noise", "--snr", "loud"), ("--snr 'loud': expected different numbers",)
    ),
    Fault("a ratio that is nan", (*WITH, "noise", "--snr", "nan"), ("--snr 'nan'",)),
    Fault("an empty list", (*WITH, "noise", "--snr", ""), ("--snr ''",)),
    Fault("a hole in the list", (*WITH, "noise", "--snr", "20,,5"), ("--snr '20,,5'",)),
    Fault("a ratio twice", (*WITH, "noise", "--snr", "20,20.0"), ("expected different numbers",)),
    Fault("a ratio beyond reason", (*WITH, "noise", "--snr", "1e9"), ("snr_db must be a number in -30 to 80",)),
    Fault("a level of another effect", (*WITH, "telephone", "--snr", "5"), ("--snr is the level of noise",)),
    Fault("an unknown option", (*WITH, "noise", "--effect-option", "foldr=x"), ("Did you mean 'folder'",)),
    Fault("an option without value", (*WITH, "noise", "--effect-option", "folder"), ("expected KEY=VALUE",)),
    Fault(
        "no folder of noise", (*WITH, "noise", "--effect-option", "folder={here}/none"), ("no such folder. Name one",)
    ),
    Fault(
        "a folder of noise without audio",
        (*WITH, "noise", "--effect-option", "folder={here}/sounds"),
        ("no audio file in this folder",),
        no_sounds,
    ),
    Fault("a fold that is not there", (*WITH, "noise", "--fold", "9"), ("has the finished folds 1, 2",)),
    Fault("another upstream", (*WITH, "noise", "-u", "hubert"), ("the head was trained on fbank",)),
    Fault("no checkpoint", (*WITH, "gain"), ("dev-best.ckpt is missing",), remove("fold1/dev-best.ckpt")),
    Fault(
        "another checkpoint",
        (*WITH, "gain"),
        ("not the one that fold 1 was scored with",),
        lambda here: (here / "run" / "fold1" / "dev-best.ckpt").write_bytes(b"other"),
    ),
    Fault("no folds", (*WITH, "gain"), ("holds no checkpoint of a finished fold",), remove("fold2/fold.json")),
    Fault(
        "no audio",
        (*WITH, "gain"),
        ("/nowhere/Session1", "no such audio file. Paths of the manifest start from /nowhere: --data DIR"),
        audio_gone,
    ),
    Fault("a column nearly right", (*PREPARE, "attributes=sx"), ("Did you mean 'sex'",), csv("a.wav,sad,x,f,3")),
    Fault(
        "a column without values",
        (*PREPARE, "attributes=sex"),
        ("column 'sex' holds nothing in any row",),
        csv("a.wav,sad,x,,3", "b.wav,glad,y,NaN,3"),
    ),
    Fault("a column of its own", (*PREPARE, "attributes=label"), ("a meaning of its own",), csv("a.wav,sad,x,f,3")),
    Fault("no column", (*PREPARE, "attributes="), ("expected different names of columns",), csv("a.wav,sad,x,f,3")),
)


@table(*ROWS)
def test_evaluations(fault: Fault, finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    record = (tmp_path / "run" / "results.json").read_bytes()
    hold(fault, tmp_path, capsys)
    assert (tmp_path / "run" / "results.json").read_bytes() == record
