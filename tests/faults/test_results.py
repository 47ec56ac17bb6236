"""Run folders whose results, predictions or folds are not what a run leaves behind, given to what reads them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faults.campaign import Fault, hold, table

pytestmark = pytest.mark.slow

EVALUATE = ("evaluate", "{here}/run")
COMPARE = ("compare", "{here}/run")
AUDIT = ("audit", "{here}/run")
DEEP = "[" * 100_000 + "]" * 100_000

Make = Callable[[Path], object]


def text(name: str, change: Callable[[str], str]) -> Make:
    """Change the text of a file of the run."""

    def make(here: Path) -> None:
        path = here / "run" / name
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    return make


def cell(column: str, value: str | Callable[[dict[str, str]], str], row: int = 1) -> Make:
    """Change one cell of the predictions; rows count from 1."""

    def make(here: Path) -> None:
        path = here / "run" / "predictions.csv"
        rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
        cells = dict(zip(rows[0], rows[row], strict=True))
        rows[row][rows[0].index(column)] = value if isinstance(value, str) else value(cells)
        path.write_text("\n".join(",".join(line) for line in rows) + "\n", encoding="utf-8")

    return make


def rows(change: Callable[[list[str]], list[str]]) -> Make:
    """Change the list of lines of the predictions."""
    return text("predictions.csv", lambda content: "\n".join(change(content.splitlines())) + "\n")


def key(path: str, value: Any, name: str = "results.json") -> Make:
    """Set a dotted key of a JSON file; numbers in it are positions."""

    def make(here: Path) -> None:
        file = here / "run" / name
        content = place = json.loads(file.read_text(encoding="utf-8"))
        *outer, last = (int(part) if part.isdigit() else part for part in path.split("."))
        for part in outer:
            place = place[part]
        place[last] = value
        file.write_text(json.dumps(content), encoding="utf-8")

    return make


def results_with(**values: Any) -> Make:
    """Set several keys of ``results.json``."""

    def make(here: Path) -> None:
        for name, value in values.items():
            key(name, value)(here)

    return make


def without(path: str, name: str = "results.json") -> Make:
    """Take a key out of a JSON file."""

    def make(here: Path) -> None:
        file = here / "run" / name
        content = json.loads(file.read_text(encoding="utf-8"))
        del content[path]
        file.write_text(json.dumps(content), encoding="utf-8")

    return make


def binary(name: str) -> Make:
    return lambda here: (here / "run" / name).write_bytes(bytes(range(256)) * 9)


def folder_instead(name: str) -> Make:
    def make(here: Path) -> None:
        (here / "run" / name).unlink()
        (here / "run" / name).mkdir()

    return make


def twin(change: Make | None = None) -> Make:
    """A second run beside the first, without its folds and manifest, and changed."""

    def make(here: Path) -> None:
        if change is not None:
            change(here)
        shutil.move(here / "run", here / "runs" / "b")
        for name in ("folds.json", "manifest.jsonl"):
            (here / "runs" / "b" / name).unlink()
        shutil.copytree(here / "spare", here / "runs" / "a")

    return make


def begun(here: Path) -> None:
    (here / "begun").mkdir()
    (here / "begun" / "run.json").write_text("{}")


PREDICTIONS = "run/predictions.csv"
RESULTS = "run/results.json"


@table(
    # predictions.csv
    Fault(
        "predictions: an empty file",
        EVALUATE,
        (PREDICTIONS, "the file is empty"),
        text("predictions.csv", lambda _: ""),
    ),
    Fault("predictions: a header alone", EVALUATE, ("has no rows of folds [1, 2]",), rows(lambda lines: lines[:1])),
    Fault("predictions: no text", EVALUATE, (PREDICTIONS, "not a CSV file in UTF-8"), binary("predictions.csv")),
    Fault("predictions: a folder", EVALUATE, ("holds no predictions.csv",), folder_instead("predictions.csv")),
    Fault(
        "predictions: JSON",
        EVALUATE,
        ("row 1: column 'fold' is missing",),
        text("predictions.csv", lambda _: '{"fold": 1}'),
    ),
    Fault(
        "predictions: another separator",
        EVALUATE,
        ("row 1: column 'fold' is missing",),
        text("predictions.csv", lambda s: s.replace(",", ";")),
    ),
    Fault(
        "predictions: no speakers",
        EVALUATE,
        ("row 1: column 'speaker' is missing",),
        rows(lambda lines: [lines[0].replace("speaker", "talker"), *lines[1:]]),
    ),
    Fault(
        "predictions: a strange column",
        EVALUATE,
        ("row 1: unknown column 'note'",),
        rows(lambda lines: [f"{lines[0]},note", *(f"{line},x" for line in lines[1:])]),
    ),
    Fault(
        "predictions: a column twice",
        EVALUATE,
        ("row 1: column 'fold' occurs 2 times",),
        rows(lambda lines: [f"{lines[0]},fold", *(f"{line},1" for line in lines[1:])]),
    ),
    Fault(
        "predictions: a fold in words",
        EVALUATE,
        ("row 2, column 'fold': expected a whole number, found 'one'",),
        cell("fold", "one"),
    ),
    Fault(
        "predictions: a negative fold",
        EVALUATE,
        ("row 2, column 'fold': expected a whole number from 0 upwards",),
        cell("fold", "-1"),
    ),
    Fault(
        "predictions: a fold of 5000 digits",
        EVALUATE,
        ("row 2, column 'fold': expected a whole number",),
        cell("fold", "9" * 5000),
    ),
    Fault("predictions: a fold of 300 digits", EVALUATE, ("has folds [999", "does not list"), cell("fold", "9" * 300)),
    Fault(
        "predictions: a foreign fold",
        EVALUATE,
        ("predictions.csv has folds [9], which results.json does not list",),
        cell("fold", "9"),
    ),
    Fault(
        "predictions: fold 2 of an utterance of fold 1",
        EVALUATE,
        ("fold 1 of predictions.csv does not hold exactly",),
        cell("fold", "2"),
    ),
    Fault(
        "predictions: NaN",
        EVALUATE,
        ("row 2, column 'p_", "expected a number in [0, 1], found nan"),
        cell("p_neu", "nan"),
    ),
    Fault(
        "predictions: infinity",
        EVALUATE,
        ("row 2, column 'p_neu': expected a number in [0, 1], found inf",),
        cell("p_neu", "inf"),
    ),
    Fault(
        "predictions: beyond any float",
        EVALUATE,
        ("row 2, column 'p_neu': expected a number in [0, 1], found inf",),
        cell("p_neu", "1e999"),
    ),
    Fault(
        "predictions: a negative probability",
        EVALUATE,
        ("row 2, column 'p_neu': expected a number in [0, 1], found -0.5",),
        cell("p_neu", "-0.5"),
    ),
    Fault(
        "predictions: percent",
        EVALUATE,
        ("row 2, column 'p_neu': expected a number in [0, 1], found 97.0",),
        cell("p_neu", "97"),
    ),
    Fault(
        "predictions: a probability in words",
        EVALUATE,
        ("row 2, column 'p_neu': expected a number in [0, 1], found 'high'",),
        cell("p_neu", "high"),
    ),
    Fault("predictions: a probability left out", EVALUATE, ("row 2, column 'p_neu'",), cell("p_neu", "")),
    Fault(
        "predictions: probabilities that sum to more",
        EVALUATE,
        ("row 2", "the probabilities sum to", "expected 1 within"),
        cell("p_neu", lambda cells: str(min(1.0, float(cells["p_neu"]) + 0.3))),
    ),
    Fault(
        "predictions: an unknown truth",
        EVALUATE,
        ("row 2, column 'truth': 'bored' is not one of the labels",),
        cell("truth", "bored"),
    ),
    Fault(
        "predictions: an unknown guess",
        EVALUATE,
        ("row 2, column 'predicted': 'bored' is not one of the labels",),
        cell("predicted", "bored"),
    ),
    Fault(
        "predictions: no utterance",
        EVALUATE,
        ("row 2, column 'utterance': expected a name, found nothing",),
        cell("utterance", ""),
    ),
    Fault(
        "predictions: an utterance twice",
        EVALUATE,
        ("row 3, column 'utterance'", "occurs twice in fold 1"),
        rows(lambda lines: [*lines[:2], lines[1], *lines[2:]]),
    ),
    Fault(
        "predictions: an utterance of another corpus",
        EVALUATE,
        ("fold 1 of predictions.csv does not hold exactly", "2 differ"),
        cell("utterance", "elsewhere"),
    ),
    Fault(
        "predictions: a short row",
        EVALUATE,
        ("row 2, column 's_sad': missing; the row has 12 of 13 columns",),
        rows(lambda lines: [lines[0], lines[1].rpartition(",")[0], *lines[2:]]),
    ),
    Fault(
        "predictions: a long row",
        EVALUATE,
        ("row 2: has", "is too much"),
        rows(lambda lines: [lines[0], lines[1] + ",1", *lines[2:]]),
    ),
    Fault("predictions: a stray quote", EVALUATE, (PREDICTIONS,), cell("speaker", '"x')),
    Fault("predictions: a zero byte", EVALUATE, ("predictions.csv",), cell("speaker", "x\0")),
    Fault(
        "predictions: a field of a megabyte",
        EVALUATE,
        (PREDICTIONS, "field larger than field limit"),
        cell("speaker", "x" * 1_000_000),
    ),
    Fault("predictions: a row lost", EVALUATE, ("does not hold exactly", "1 differ"), rows(lambda lines: lines[:-1])),
    Fault(
        "predictions: a fold lost",
        EVALUATE,
        ("has no rows of folds [2], which results.json lists",),
        rows(lambda lines: [line for line in lines if not line.startswith("2,")]),
    ),
    Fault("predictions: another speaker", EVALUATE, ("manifest.jsonl", "Restore the file"), cell("speaker", "nobody")),
    Fault(
        "predictions: another truth",
        EVALUATE,
        ("predictions.csv has truth", "Restore the file"),
        cell("truth", lambda cells: "ang" if cells["truth"] == "neu" else "neu"),
    ),
    Fault(
        "predictions: a label renamed",
        EVALUATE,
        ("they are not from the same run",),
        text("predictions.csv", lambda s: s.replace("neu", "neutral")),
    ),
    Fault(
        "predictions: probabilities of two classes exchanged",
        EVALUATE,
        ("they are not from the same run",),
        rows(
            lambda lines: [
                lines[0].replace("p_neu", "p_x").replace("p_ang", "p_neu").replace("p_x", "p_ang"),
                *lines[1:],
            ]
        ),
    ),
    Fault(
        "predictions: a guess that is not the most probable",
        EVALUATE,
        ("in 1 rows of predictions.csv the predicted class is not the most probable one",),
        cell("predicted", lambda cells: min(("neu", "ang"), key=lambda name: float(cells[f"p_{name}"]))),
        status=0,
    ),
    Fault("predictions: of a run that is compared", COMPARE, (PREDICTIONS, "row 2"), cell("p_neu", "nan")),
    # results.json
    Fault("results: an empty file", EVALUATE, (RESULTS, "not JSON in UTF-8"), text("results.json", lambda _: "")),
    Fault(
        "results: cut off",
        EVALUATE,
        (RESULTS, "not JSON in UTF-8", "Restore the file"),
        text("results.json", lambda s: s[: len(s) // 2]),
    ),
    Fault("results: no text", COMPARE, (RESULTS, "not JSON in UTF-8"), binary("results.json")),
    Fault("results: a folder", COMPARE, ("holds no results.json",), folder_instead("results.json")),
    Fault(
        "results: a list",
        EVALUATE,
        ("expected a mapping of keys to values, found list",),
        text("results.json", lambda s: f"[{s}]"),
    ),
    Fault(
        "results: null",
        EVALUATE,
        ("expected a mapping of keys to values, found None",),
        text("results.json", lambda _: "null"),
    ),
    Fault("results: nested deeply", EVALUATE, (RESULTS, "not JSON"), text("results.json", lambda _: DEEP)),
    Fault(
        "results: a number of 5000 digits",
        EVALUATE,
        (RESULTS,),
        text("results.json", lambda s: s.replace('"seed": 1337', f'"seed": {"9" * 5000}')),
    ),
    Fault(
        "results: another schema", COMPARE, ("has schema 2, this version reads and writes schema 1",), key("schema", 2)
    ),
    Fault("results: the schema true", COMPARE, ("has schema True",), key("schema", True)),
    Fault("results: no schema", EVALUATE, ("has schema None",), without("schema")),
    Fault("results: no protocol", EVALUATE, ("missing protocol of schema 1",), without("protocol")),
    Fault("results: the protocol a text", EVALUATE, ("protocol: expected a mapping",), key("protocol", "strict")),
    Fault(
        "results: the protocol's name a number",
        COMPARE,
        ("protocol.name: expected a text, found 7",),
        key("protocol.name", 7),
    ),
    Fault(
        "results: labels in a text",
        EVALUATE,
        ("protocol.labels: expected a list of texts",),
        key("protocol.labels", "neu,ang"),
    ),
    Fault(
        "results: labels that are lists",
        EVALUATE,
        ("protocol.labels: expected a list of texts",),
        key("protocol.labels", [["neu"], ["ang"]]),
    ),
    Fault(
        "results: a label twice",
        EVALUATE,
        ("protocol.labels: expected different texts",),
        key("protocol.labels", ["neu", "neu"]),
    ),
    Fault(
        "results: other labels", EVALUATE, ("confusion: expected 2 rows of 2",), key("protocol.labels", ["neu", "ang"])
    ),
    Fault(
        "results: transductive in words",
        COMPARE,
        ("protocol.transductive: expected true or false, found 'no'",),
        key("protocol.transductive", "no"),
    ),
    Fault(
        "results: an order that is none",
        COMPARE,
        ("protocol.order: expected a text or null",),
        key("protocol.order", [1]),
    ),
    Fault("results: lacking in words", COMPARE, ("protocol.lacking: expected a list",), key("protocol.lacking", "sad")),
    Fault(
        "results: lacking without classes",
        COMPARE,
        ("protocol.lacking[0]: missing classes",),
        key("protocol.lacking", [{"fold": 1, "part": "dev"}]),
    ),
    Fault("results: no folds", EVALUATE, ("folds: expected a list with at least one fold",), key("folds", [])),
    Fault(
        "results: folds in a mapping",
        EVALUATE,
        ("folds: expected a list with at least one fold",),
        key("folds", {"1": {}}),
    ),
    Fault(
        "results: a fold in words",
        EVALUATE,
        ("folds[0].fold: expected a whole number, found 'one'",),
        key("folds.0.fold", "one"),
    ),
    Fault("results: a fold twice", EVALUATE, ("folds: expected each fold once",), key("folds.1.fold", 1)),
    Fault(
        "results: a step in words",
        EVALUATE,
        ("folds[0].step: expected a whole number or null",),
        key("folds.0.step", "last"),
    ),
    Fault(
        "results: percent",
        EVALUATE,
        ("folds[0].ua: expected a fraction in [0, 1], found 63.2",),
        key("folds.0.ua", 63.2),
    ),
    Fault(
        "results: a mean that is NaN",
        EVALUATE,
        (RESULTS, "NaN is no number in JSON"),
        key("ua.mean", float("nan")),
    ),
    Fault(
        "results: an interval of one number",
        EVALUATE,
        ("wa.ci95: expected two numbers or null, found list [0.5]",),
        key("wa.ci95", [0.5]),
    ),
    Fault(
        "results: a confusion matrix that is not square", EVALUATE, ("confusion: expected",), key("confusion", [[1, 2]])
    ),
    Fault(
        "results: negative counts",
        EVALUATE,
        ("confusion: expected whole numbers from 0 upwards",),
        key("confusion.0.0", -3),
    ),
    Fault("results: a seed in words", COMPARE, ("seed: expected a whole number, found 'first'",), key("seed", "first")),
    Fault("results: a seed that is NaN", COMPARE, (RESULTS, "NaN is no number in JSON"), key("seed", float("nan"))),
    Fault(
        "results: an upstream that is null", COMPARE, ("upstream: expected a text, found None",), key("upstream", None)
    ),
    Fault("results: a corpus in a list", COMPARE, ("corpus: expected a text",), key("corpus", ["demo"])),
    Fault("results: versions in a list", COMPARE, ("versions: expected a mapping",), key("versions", ["3"])),
    Fault("results: settings in a list", COMPARE, ("settings: expected a mapping or null",), key("settings", [1])),
    Fault(
        "results: deviations in a text",
        COMPARE,
        ("settings.deviations: expected a list of texts",),
        key("settings.deviations", "none"),
    ),
    Fault(
        "results: folds expected in words",
        COMPARE,
        ("folds_expected: expected a list of whole numbers",),
        key("folds_expected", ["all"]),
    ),
    Fault(
        "results: fewer folds expected than scored",
        EVALUATE,
        ("fold 2, which is not one of the expected folds [1]",),
        key("folds_expected", [1]),
    ),
    Fault(
        "results: percent in the mean",
        EVALUATE,
        ("ua.mean: expected a fraction in [0, 1], found 63.2",),
        key("ua.mean", 63.2),
    ),
    Fault(
        "results: a headline of something else",
        COMPARE,
        ("headline.of: expected mean or pooled, found 'best'",),
        key("headline.of", "best"),
    ),
    Fault(
        "results: a pooled headline without pooled rates",
        EVALUATE,
        ("headline.of: expected mean, since pooled rates are missing",),
        results_with(headline={"of": "pooled", "reason": "edited"}, pooled=None),
    ),
    Fault(
        "results: a pooled rate in words",
        EVALUATE,
        ("pooled.ua.value: expected a number, found 'high'",),
        key("pooled.ua.value", "high"),
    ),
    Fault("results: a demo in words", COMPARE, ("settings.demo: expected true or false",), key("settings.demo", "no")),
    Fault(
        "results: a recall in percent",
        COMPARE,
        ("recalls.neu: expected a fraction in [0, 1] or null, found 70",),
        key("recalls.neu", 70),
    ),
    Fault(
        "results: an interval over folds in words",
        COMPARE,
        ("macro_f1.ci95_folds: expected two numbers or null",),
        key("macro_f1.ci95_folds", "wide"),
    ),
    Fault("results: chance in words", COMPARE, ("chance: expected a fraction",), key("chance", "a quarter")),
    Fault(
        "results: half a character", COMPARE, ("upstream: expected a text, found '\\ud800'",), key("upstream", "\ud800")
    ),
    Fault(
        "results: half a character in a label",
        EVALUATE,
        ("protocol.labels: expected a list of texts",),
        key("protocol.labels.0", "\udfff"),
    ),
    # folds.json and what lies beside
    Fault("folds: cut off", EVALUATE, ("run/folds.json: not a file of folds",), text("folds.json", lambda s: s[:100])),
    Fault("folds: a list", EVALUATE, ("run/folds.json",), text("folds.json", lambda _: "[1]")),
    Fault("folds: nested deeply", EVALUATE, ("run/folds.json",), text("folds.json", lambda _: DEEP)),
    Fault(
        "folds: made again",
        EVALUATE,
        ("run/folds.json: the folds were changed after they were written",),
        key("sha256", "00", "folds.json"),
    ),
    Fault("folds: in words", EVALUATE, ("run/folds.json: not a file of folds",), key("folds", "five", "folds.json")),
    Fault(
        "folds: training sets that are numbers",
        COMPARE,
        ("run/folds.json: not a file of folds",),
        key("folds.0.train", 300, "folds.json"),
    ),
    Fault(
        "folds: test sets in one text",
        COMPARE,
        ("run/folds.json: the folds were changed after they were written",),
        key("folds.0.test", "abc", "folds.json"),
    ),
    Fault(
        "folds: ids that are lists",
        COMPARE,
        ("run/folds.json: the folds were changed after they were written",),
        key("folds.0.test.0", ["abc"], "folds.json"),
    ),
    Fault(
        "folds: a strange record of what is lacking",
        AUDIT,
        ("run/folds.json: key 'part' is missing",),
        key("lacking", [{"fold": 1}], "folds.json"),
    ),
    Fault(
        "folds: another schema",
        AUDIT,
        ("run/folds.json: key 'schema': this version reads 1, found 9",),
        key("schema", 9, "folds.json"),
    ),
    Fault(
        "folds: an utterance taken out",
        AUDIT,
        ("run/folds.json: the folds were changed after they were written",),
        key("folds.0.train", [], "folds.json"),
    ),
    Fault(
        "folds: lacking in a number", AUDIT, ("run/folds.json: not a file of folds",), key("lacking", 3, "folds.json")
    ),
    Fault("run.json cut off", COMPARE, ("run/run.json: not valid JSON",), text("run.json", lambda s: s[:40])),
    Fault("run.json nested deeply", COMPARE, ("run/run.json",), text("run.json", lambda _: DEEP)),
    Fault("a manifest cut off", EVALUATE, ("run/manifest.jsonl",), text("manifest.jsonl", lambda s: s[: len(s) // 2])),
    # what is given
    Fault("a run that is not there", ("evaluate", "{here}/nothing"), ("nothing: holds no predictions.csv",)),
    Fault("a file for a run", ("evaluate", "{here}/run/results.json"), ("results.json: holds no predictions.csv",)),
    Fault("compare: a folder that is not there", ("compare", "{here}/nothing"), ("nothing: no such folder",)),
    Fault("compare: a file for a folder", ("compare", "{here}/run/results.json"), ("no such folder",)),
    Fault(
        "compare: a folder without runs",
        ("compare", "{here}/run/fold1"),
        ("holds no results.json, nor does any folder below it",),
    ),
    Fault(
        "compare: a run that has no result yet",
        ("compare", "{here}/begun"),
        ("no run in it is finished yet", "begun"),
        begun,
    ),
    Fault(
        "compare: a baseline above the runs",
        (*COMPARE, "--baseline", "{here}"),
        ("the baseline must be the folder of one run",),
    ),
    Fault("compare: a metric that is none", (*COMPARE, "--metric", "eer"), ("invalid choice: 'eer'",)),
    Fault("compare: a format that is none", (*COMPARE, "--format", "pdf"), ("invalid choice: 'pdf'",)),
    Fault("compare: a folder for --out", (*COMPARE, "--out", "{here}/run"), ("is a folder, expected a file",)),
    Fault(
        "compare: --out over a run's file",
        (*COMPARE, "--out", "{here}/run/predictions.csv"),
        ("a file of a run, which it would overwrite",),
    ),
    Fault("compare: nothing", ("compare",), ("compare what? Name run folders", "--fuse")),
    Fault(
        "compare: a division with one utterance less",
        ("compare", "{here}/runs"),
        ("not over the same utterances: 1 are in one only",),
        twin(rows(lambda lines: lines[:-1])),
    ),
    Fault(
        "compare: a division with another truth",
        ("compare", "{here}/runs"),
        ("has the truth",),
        twin(cell("truth", lambda cells: "ang" if cells["truth"] == "neu" else "neu")),
    ),
    Fault(
        "compare: a division with another speaker",
        ("compare", "{here}/runs"),
        ("and the speaker",),
        twin(cell("speaker", "nobody")),
    ),
)
def test_results(fault: Fault, tmp_path: Path, finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("*.ckpt", "events.*"))
    if "runs" in fault.argv[-1]:
        shutil.copytree(tmp_path / "run", tmp_path / "spare")
    before = (tmp_path / "run" / "results.json").read_bytes()
    hold(fault, tmp_path, capsys)
    path = tmp_path / "run" / "results.json"
    if fault.status == 2 and fault.name.startswith(("predictions", "folds")):
        assert path.read_bytes() == before, "a record was written from faulty input"
