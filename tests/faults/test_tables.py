"""Tables and lists that are not what they should be: CSV, TSV, JSON lines, EmoBox' lists, S3PRL's metadata, folders."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from faults.campaign import Fault, hold, table

pytestmark = pytest.mark.slow

HEADER = "path,label,speaker"
GOOD = ("a.wav,sad,s1", "b.wav,glad,s1", "c.wav,sad,s2", "d.wav,glad,s2", "e.wav,sad,s3", "f.wav,glad,s3")


def wav(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    name = os.fsencode(path)
    with open(name, "wb") as file:
        samples = np.random.default_rng(zlib.crc32(os.path.basename(name))).uniform(-0.1, 0.1, 1600)
        soundfile.write(file, samples, 16000, format="WAV")


def csv(name: str, says: Sequence[str], *lines: str, head: str = HEADER, status: int = 2, file: str = "t.csv") -> Fault:
    """A table of such lines; whatever it names below ``a.wav`` to ``f.wav`` is there."""
    content = "\n".join((head, *lines)) + "\n"
    return raw(name, says, content.encode("utf-8", "surrogatepass"), status, file)


def raw(name: str, says: Sequence[str], content: bytes, status: int = 2, file: str = "t.csv", *more: str) -> Fault:
    def make(here: Path) -> None:
        (here / file).write_bytes(content)
        for letter in "abcdef":
            wav(here / f"{letter}.wav")

    argv = ("prepare", "--corpus", "table", "--data", "{here}/" + file, "--out", "{here}/p")
    return Fault(
        name, (*argv, *(word for option in more for word in ("--corpus-option", option))), tuple(says), make, status
    )


def jsonl(name: str, says: Sequence[str], *lines: str, status: int = 2) -> Fault:
    good = [json.dumps(dict(zip(HEADER.split(","), row.split(","), strict=True))) for row in GOOD]
    return raw(f"JSON: {name}", says, ("\n".join((*good, *lines)) + "\n").encode(), status, "t.jsonl")


def item(**changes: object) -> str:
    return json.dumps({"path": "g.wav", "label": "sad", "speaker": "s1", **changes})


def options(name: str, says: Sequence[str], *more: str) -> Fault:
    return raw(f"option: {name}", says, "\n".join((HEADER, *GOOD)).encode(), 2, "t.csv", *more)


@table(
    csv(
        "a stray quote, closed fifty rows later",
        ("t.csv: row 3", "is not closed"),
        "a.wav,sad,s1",
        '"b.wav,glad,s1',
        *("c.wav,sad,s2",) * 50,
        'd.wav,bye",s2',
    ),
    csv("a quote that is never closed", ("t.csv: row 2", "is not closed"), 'a.wav,"sad,s1', *GOOD[1:]),
    csv(
        "a text over two lines",
        ("row 2", "give texts with line breaks as .jsonl"),
        'a.wav,sad,s1,"one',
        'two"',
        head=HEADER + ",text",
    ),
    csv("a quote within a field", ("row 2", "a quotation mark within a field"), 'a.wav,sa"d,s1'),
    csv("a quote at a field's end", ("row 2", "a quotation mark within a field"), 'a.wav,sad",s1'),
    csv("a quoted field that goes on", ("row 2", "is not closed"), 'a.wav,"sad"x,s1'),
    csv("a lone quote", ("row 2", "is not closed"), 'a.wav,",s1'),
    csv("a quote in the header", ("row 1", "is not closed"), *GOOD, head='path,"label,speaker'),
    csv("typographic spaces around a quoted field are fine", (), 'a.wav, "sad" ,s1', *GOOD[1:], status=0),
    csv(
        "doubled quotes are fine",
        (),
        'a.wav,"sad",s1,"say ""yes"", then"',
        *(row + "," for row in GOOD[1:]),
        head=HEADER + ",text",
        status=0,
    ),
    csv("label nan", ("row 2, column 'label': 'nan' stands for a missing value", "labels=A,B"), "a.wav,nan,s1"),
    csv("label NaN", ("row 2, column 'label': 'NaN' stands for",), "a.wav,NaN,s1"),
    csv("label NULL", ("row 2, column 'label': 'NULL' stands for",), "a.wav,NULL,s1"),
    csv("label None", ("row 2, column 'label': 'None' stands for",), "a.wav,None,s1"),
    csv("label N/A", ("row 2, column 'label': 'N/A' stands for",), "a.wav,N/A,s1"),
    csv("label <NA>", ("row 2, column 'label': '<NA>' stands for",), "a.wav,<NA>,s1"),
    csv("label empty", ("row 2, column 'label': empty",), "a.wav,,s1"),
    csv("label of spaces", ("row 2, column 'label': empty",), "a.wav,   ,s1"),
    csv("speaker nan", ("1 of 1 utterances are not known, so protocol strict cannot",), "a.wav,sad,nan"),
    csv("speaker empty", ("1 of 1 utterances are not known, so protocol strict cannot",), "a.wav,sad,"),
    *(
        csv(
            f"speaker {name!r} beside known ones",
            (f"read as unknown: {name!r} (2)", "2 of 8 utterances, whose speakers are unknown, are left out of train"),
            *(f"{file}.wav,{label},{name},{file}{label}2" for file, label in (("a", "sad"), ("b", "glad"))),
            *(f"{row},{row[0]}" for row in GOOD),
            head=HEADER + ",id",
            status=0,
        )
        for name in ("Unknown", "UNK", "n/a", "NA", "NaN", "None", "NULL", "?", "-", "-1", "speaker_unknown", "<unk>")
    ),
    *(
        csv(
            f"speakers {one!r} and {two!r}: who is meant?",
            ("protocol strict keeps speakers apart", repr(one), repr(two), "speakers=merged", "speakers=distinct"),
            f"a.wav,sad,{one}",
            f"b.wav,glad,{two}",
            *GOOD[2:],
        )
        for one, two in (
            *(("1", "01"), ("A", "a"), ("spk1", "spk01"), ("spk-1", "spk_1"), ("1", "1e0"), ("Jos\u00e9", "Jose")),
            *(("A", "\u0410"), ("s 1", "S1"), ("spk1", "spk1.0")),
        )
    ),
    *(
        csv(
            f"speakers {one!r} and {two!r} are one",
            ("speakers that are one, and are read as the first",),
            f"a.wav,sad,{one}",
            f"b.wav,glad,{two}",
            *GOOD[2:],
            status=0,
        )
        for one, two in (
            *(("1", "1.0"), ("1", "+1"), ("1", "1e+00"), ("1", "\uff11"), ("Jos\u00e9", "\uff2aos\u00e9")),
            *(("Anna Maria", "Anna\u00a0Maria"), ("Anna", "Anna\u200b"), ("100000", "1e+05")),
        )
    ),
    csv(
        "a circle of sources",
        ("rows are made from each other in a circle: 'a' from 'b' from 'a'",),
        "a.wav,sad,s1,b",
        "b.wav,glad,s1,a",
        head=HEADER + ",source",
    ),
    csv(
        "a source by its own path",
        ("in a circle: 'a' from 'a'",),
        "a.wav,sad,s1,./a.wav",
        "b.wav,glad,s1,",
        head=HEADER + ",source",
    ),
    csv(
        "votes of exchanged columns",
        ("in all 6 rows with votes another class has more than the label", "Are the columns exchanged?"),
        *(row + (",0,1" if "sad" in row else ",1,0") for row in GOOD),
        head=HEADER + ",soft:sad,soft:glad",
    ),
    csv(
        "fold 1_0",
        ("row 2, column 'fold': expected a number, found '1_0'",),
        "a.wav,sad,s1,1_0",
        head=HEADER + ",fold",
    ),
    csv(
        "a time that is none",
        ("row 2, column 'end_s': expected a number",),
        "a.wav,x,s,1 days ago",
        head=HEADER + ",end_s",
    ),
    csv(
        "an end that is NaT is fine",
        (),
        *(row + ",NaT" for row in GOOD),
        head=HEADER + ",end_s",
        status=0,
    ),
    csv("path empty", ("row 2, column 'path': empty",), ",sad,s1"),
    csv(
        "id null",
        ("row 2, column 'id': 'null' stands for", "Leave the cell empty"),
        "a.wav,sad,s1,null",
        head=HEADER + ",id",
    ),
    csv("source NA", ("row 2, column 'source': 'NA' stands for",), "a.wav,sad,s1,NA", head=HEADER + ",source"),
    csv("session None", ("row 2, column 'session': 'None' stands for",), "a.wav,sad,s1,None", head=HEADER + ",session"),
    csv(
        "fold nan",
        ("row 2, column 'fold': expected a number that is not negative, found 'nan'",),
        "a.wav,sad,s1,nan",
        head=HEADER + ",fold",
    ),
    csv("fold 0", ("row 2, column 'fold': expected a whole number from 1",), "a.wav,sad,s1,0", head=HEADER + ",fold"),
    csv(
        "fold 1.5", ("row 2, column 'fold': expected a whole number from 1",), "a.wav,sad,s1,1.5", head=HEADER + ",fold"
    ),
    csv(
        "fold 1e300",
        ("row 2, column 'fold': expected a whole number from 1",),
        "a.wav,sad,s1,1e300",
        head=HEADER + ",fold",
    ),
    csv(
        "fold one", ("row 2, column 'fold': expected a number, found 'one'",), "a.wav,sad,s1,one", head=HEADER + ",fold"
    ),
    csv(
        "folds for some rows only",
        ("5 of 6 utterances have no fold, first 'b'",),
        "a.wav,sad,s1,1",
        *(row + "," for row in GOOD[1:]),
        head=HEADER + ",fold",
    ),
    csv(
        "start after the end",
        ("row 2, column 'end_s': 1 does not come after",),
        "a.wav,sad,s1,2,1",
        head=HEADER + ",start_s,end_s",
    ),
    csv(
        "start inf",
        ("row 2, column 'start_s': expected a number that is not negative, found 'inf'",),
        "a.wav,sad,s1,inf",
        head=HEADER + ",start_s",
    ),
    csv("start -1", ("row 2, column 'start_s'", "found '-1'"), "a.wav,sad,s1,-1", head=HEADER + ",start_s"),
    csv(
        "start with a decimal comma",
        ("row 2: expected 4 columns, found 5",),
        "a.wav,sad,s1,0,5",
        head=HEADER + ",start_s",
    ),
    csv(
        "a start behind the file's end",
        ("a@9.000-: ", "a.wav: segment 9 to 0.1 s lies outside"),
        "a.wav,sad,s1,9",
        *(row + "," for row in GOOD[1:]),
        head=HEADER + ",start_s",
    ),
    csv(
        "composed and decomposed letters are one class",
        ("1 texts are read in composed form (Unicode NFC), first row 2, column 'label': \u00c4rger",),
        "a.wav,A\u0308rger,s1",
        *(row.replace("sad", "\u00c4rger") for row in GOOD[1:]),
        status=0,
    ),
    csv(
        "a decomposed speaker",
        ("read in composed form (Unicode NFC), first row 2, column 'speaker': Jos\u00e9",),
        "a.wav,sad,Jose\u0301",
        *GOOD[1:],
        status=0,
    ),
    csv(
        "ids that are one in composed form",
        ("row 3, column 'id': 'J\u00f6rg' is already in row 2",),
        "a.wav,sad,s1,Jo\u0308rg",
        "b.wav,sad,s1,J\u00f6rg",
        head=HEADER + ",id",
    ),
    csv(
        "labels that differ by case",
        ("labels 'sad' and 'Sad' differ by case only and are two classes",),
        *GOOD[:5],
        "f.wav,Sad,s3",
    ),
    csv(
        "labels that differ by an invisible letter",
        ("labels that are one, and are read as the first: 'sad' (3) and",),
        *GOOD[:5],
        "f.wav,sa\u200bd,s3",
    ),
    csv(
        "a label with an escape",
        ("row 2, column 'label': 'sad\\x1b[31m' holds a control character (U+001B)",),
        "a.wav,sad\x1b[31m,s1",
    ),
    csv("a speaker with a bell", ("row 2, column 'speaker': 's\\x071' holds a control character",), "a.wav,sad,s\x071"),
    csv("a column twice", ("row 1: a column name appears twice: 'label'",), head="path,label,speaker,label"),
    csv(
        "a column twice, once with spaces",
        ("row 1: a column name appears twice: 'label'",),
        head="path,label,speaker, label ",
    ),
    csv("no speaker", ("row 1: no column 'speaker'",), head="path,label"),
    csv("a misspelt column", ("row 1: no column 'label'. Did you mean 'lable'",), head="path,lable,speaker"),
    csv("columns in capitals", ("row 1: no column 'path'. Did you mean 'Path'",), head="Path,Label,Speaker"),
    csv("no header", ("row 1: no column 'path'",), head="a.wav,sad,s1"),
    csv(
        "an unused column",
        ("column 'gender' is not used\n",),
        *(row + ",f" for row in GOOD),
        head=HEADER + ",gender",
        status=0,
    ),
    csv(
        "an unused column that is close",
        ("column 'sesion' is not used. Did you mean 'session'?",),
        *(row + ",f" for row in GOOD),
        head=HEADER + ",sesion",
        status=0,
    ),
    csv("no rows", ("the table has no rows",)),
    csv("a row with a field less", ("row 3: expected 3 columns, found 2",), GOOD[0], "b.wav,sad"),
    csv("a row with a field more", ("row 2: expected 3 columns, found 4",), "a.wav,sad,s1,x"),
    csv("the same file twice", ("row 3, column 'path': 'a' is already in row 2",), GOOD[0], GOOD[0]),
    csv(
        "an id twice",
        ("row 3, column 'id': 'k' is already in row 2",),
        "a.wav,sad,s1,k",
        "b.wav,sad,s1,k",
        head=HEADER + ",id",
    ),
    csv(
        "its own source", ("row 2, column 'source': 'a' is the row itself",), "a.wav,sad,s1,a", head=HEADER + ",source"
    ),
    csv("one class", ("one class only (sad)",), *(row.replace("glad", "sad") for row in GOOD)),
    csv("one speaker", ("need at least 2 speakers, found s1",), *(row[:-1] + "1" for row in GOOD)),
    csv(
        "every row another speaker",
        ("each of the 6 utterances has a speaker of its own ('s0', ...)",),
        *(f"{row[:-2]}s{k}" for k, row in enumerate(GOOD)),
        status=0,
    ),
    csv(
        "votes that are no numbers",
        ("row 2, column 'soft:sad': expected a number",),
        "a.wav,sad,s1,much",
        head=HEADER + ",soft:sad",
    ),
    csv("votes above 1", ("row 2, column 'soft:sad': expected a rate",), "a.wav,sad,s1,3", head=HEADER + ",soft:sad"),
    csv(
        "votes that sum to 0.9",
        ("row 2, columns 'soft:sad', 'soft:glad': expected rates that sum to 1",),
        "a.wav,sad,s1,.5,.4",
        head=HEADER + ",soft:sad,soft:glad",
    ),
    csv("votes for no class", ("column 'soft:': no class ''",), "a.wav,sad,s1,1", head=HEADER + ",soft:"),
    csv(
        "votes in two columns",
        ("two columns have the votes for '\u00c4'",),
        "a.wav,\u00c4,s1,1,0",
        head=HEADER + ",soft:\u00c4,soft:A\u0308",
    ),
    csv(
        "files that are not there",
        ("no such audio file", "Relative paths start from"),
        *(row.replace("a.wav", "x/a.wav") for row in GOOD),
    ),
    csv(
        "a file's name of 300 letters",
        (f"{'x' * 300}.wav: not readable as audio", "File name too long"),
        f"{'x' * 300}.wav,sad,s1",
        *GOOD[1:],
    ),
    csv("a Windows path", ("'path': the path 'C:", "a drive of Windows"), "C:\\data\\a.wav,sad,s1", *GOOD[1:]),
    csv("a drive and slashes", ("the path 'C:/data/a.wav' names a drive",), "C:/data/a.wav,sad,s1", *GOOD[1:]),
    csv("a share of Windows", ("a drive of Windows",), "\\\\server\\a.wav,sad,s1", *GOOD[1:]),
    csv("backslashes", ("has backslashes", "with slashes: 'data/a.wav'"), "data\\a.wav,sad,s1", *GOOD[1:]),
    csv("tabs in a .csv", ("row 1: columns are separated by tabs, expected commas",), head="path\tlabel\tspeaker"),
    csv(
        "semicolons",
        ("row 1: columns are separated by semicolons, expected commas",),
        "a.wav;sad;s1",
        head="path;label;speaker",
    ),
    csv("commas in a .tsv", ("row 1: columns are separated by commas, expected tabs",), *GOOD, file="t.tsv"),
    raw("UTF-16", ("t.csv: not UTF-8 text but UTF-16",), "\n".join((HEADER, *GOOD)).encode("utf-16")),
    raw("UTF-16 without a mark", ("row 1: holds a zero byte",), "\n".join((HEADER, *GOOD)).encode("utf-16-le")),
    raw(
        "Latin-1", ("t.csv: row 3: not UTF-8 text",), f"{HEADER}\na.wav,sad,s1\nb.wav,m\u00fcde,s1\n".encode("latin-1")
    ),
    raw("a zero byte", ("row 3: holds a zero byte",), f"{HEADER}\na.wav,sad,s1\nb.wav,\0,s1\n".encode()),
    raw("a byte-order mark is fine", (), b"\xef\xbb\xbf" + "\n".join((HEADER, *GOOD)).encode(), 0),
    raw("CR line ends are fine", (), "\r".join((HEADER, *GOOD)).encode(), 0),
    raw("CR LF line ends are fine", (), "\r\n".join((HEADER, *GOOD)).encode(), 0),
    raw("nothing", ("row 1: no column 'path'",), b""),
    raw("a zip archive", ("t.csv: row 1: holds a zero byte",), b"PK\x03\x04\0\0\0\0"),
    raw("a spreadsheet", ("unknown kind of table '.xlsx'",), b"PK\x03\x04", 2, "t.xlsx"),
    raw("a line of a million quotes", ("row 2",), f"{HEADER}\n{chr(34) * 1_000_001},sad,s1".encode()),
    jsonl("not JSON", ("t.jsonl: row 7: not JSON",), "{"),
    jsonl("a list", ("row 7: expected a JSON object, found list",), "[]"),
    jsonl("a text", ("row 7: expected a JSON object, found str",), '"x"'),
    jsonl("no label", ("row 7: no column 'label'",), '{"path": "a.wav", "speaker": "s"}'),
    jsonl("a list as label", ("row 7, column 'label': expected a text, found ['sad']",), item(label=["sad"])),
    jsonl("a number as label", ("row 7, column 'label': expected a text, found 3",), item(label=3)),
    jsonl("a bool as label", ("row 7, column 'label': expected a text, found True",), item(label=True)),
    jsonl("null as label", ("row 7, column 'label': empty",), item(label=None)),
    jsonl("an object as label", ("row 7, column 'label': expected a text, found {",), item(label={"a": 1})),
    jsonl("NaN as label", ("row 7: not JSON: NaN is no number in JSON",), item(label=float("nan"))),
    jsonl("a list as speaker", ("row 7, column 'speaker': expected a text, found ['s']",), item(speaker=["s"])),
    jsonl("a bool as speaker", ("row 7, column 'speaker': expected a text, found False",), item(speaker=False)),
    jsonl("a fraction as speaker", ("row 7, column 'speaker': expected a text, found 1.5",), item(speaker=1.5)),
    jsonl("a list as path", ("row 7, column 'path': expected a text",), item(path=["a.wav"])),
    jsonl("a list as id", ("row 7, column 'id': expected a text",), item(id=[1])),
    jsonl("a list as text", ("row 7, column 'text': expected a text",), item(text=[1])),
    jsonl("a bool as start", ("row 7, column 'start_s': expected a number, found True",), item(start_s=True)),
    jsonl("a list as start", ("row 7, column 'start_s': expected a number, found [1]",), item(start_s=[1])),
    jsonl(
        "Infinity as end",
        ("row 7: not JSON: Infinity is no number in JSON",),
        item(end_s=float("inf")),
    ),
    jsonl("a huge integer as fold", ("row 7, column 'fold': expected a number",), item(fold=10**400)),
    jsonl(
        "an integer of 5000 digits",
        ("row 7: not JSON",),
        '{"path": "g", "label": "sad", "speaker": "s", "fold": ' + "9" * 5000 + "}",
    ),
    jsonl(
        "half a surrogate pair as label",
        ("row 7, column 'label'", "half of a surrogate pair"),
        '{"path": "g.wav", "label": "\\ud800", "speaker": "s"}',
    ),
    jsonl(
        "half a surrogate pair as speaker",
        ("row 7, column 'speaker'", "half of a surrogate pair"),
        '{"path": "g.wav", "label": "sad", "speaker": "s\\udfff"}',
    ),
    jsonl(
        "half a surrogate pair as path",
        ("row 7, column 'path'", "cannot be a file's name"),
        '{"path": "\\udc80.wav", "label": "sad", "speaker": "s"}',
    ),
    jsonl("half a surrogate pair as text", ("row 7, column 'text': holds half",), item()[:-1] + ', "text": "\\ud83d"}'),
    jsonl(
        "half a surrogate pair as id",
        ("row 7, column 'id'", "half of a surrogate pair"),
        item()[:-1] + ', "id": "\\ud83d"}',
    ),
    jsonl("a zero byte in the path", ("row 7, column 'path'", "cannot be a file's name"), item(path="a\0.wav")),
    jsonl("a hundred thousand brackets", ("row 7: not JSON: nested too deeply",), "[" * 100_000),
    jsonl(
        "a key twice",
        ("row 7: not JSON: key 'label' is given twice",),
        '{"path": "g.wav", "label": "sad", "label": "glad", "speaker": "s"}',
    ),
    raw("JSON: one array", ("row 1: not JSON: '[' alone, expected a whole object",), b"[\n{}\n]\n", 2, "t.json"),
    options("an unknown one", ("corpus table: unknown option 'lables'. Did you mean 'labels'",), "lables=a"),
    options("labels without one", ("row 3, column 'label': 'glad' is not one of the labels given",), "labels=sad,bad"),
    options("labels twice", ("option labels: expected different class names",), "labels=sad,glad,sad"),
    options("an empty label", ("option labels: expected different class names",), "labels=sad,glad,"),
    options(
        "speakers that are neither",
        ("option speakers: expected named, unknown, merged, distinct or strangers, found 'none'",),
        "speakers=none",
    ),
    options(
        "speakers unknown under strict",
        ("6 of 6 utterances are not known, so protocol strict cannot keep speakers apart",),
        "speakers=unknown",
    ),
    options("speakers that are two things", ("merged and distinct contradict each other",), "speakers=merged,distinct"),
    options("a column that is not there", ("no column 'emotion', which the option label=emotion",), "label=emotion"),
    options("splits without a column", ("no rows of the splits train",), "splits=train"),
    options("empty splits", ("option splits: expected values of the column",), "splits=,"),
    options(
        "an audio root elsewhere", ("no such audio file", "Relative paths start from /nowhere"), "audio_root=/nowhere"
    ),
)
def test_table(fault: Fault, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hold(fault, tmp_path, capsys)


def folder(
    name: str, corpus: str, says: Sequence[str], make: Callable[[Path], object], *more: str, status: int = 2
) -> Fault:
    argv = ("prepare", "--corpus", corpus, "--data", "{here}/data/mine", "--out", "{here}/p", *more)

    def prepared(here: Path) -> None:
        (here / "data" / "mine").mkdir(parents=True)
        make(here / "data" / "mine")

    return Fault(f"{corpus}: {name}", argv, tuple(says), prepared, status)


def emobox(*lines: str, map_: str = '{"sad": "Sad", "glad": "Glad"}', stm: str = "") -> Callable[[Path], object]:
    """Two folds of two clips; ``lines`` are put before the first test list."""

    def make(root: Path) -> None:
        (root / "label_map.json").write_bytes(map_.encode("utf-8", "surrogatepass"))
        if stm:
            (root / "data.seg.wrd.stm").write_text(stm)
        rows = {
            k: [
                json.dumps({"key": f"k{k}{label}", "wav": f"{k}{label}.wav", "emo": label}) for label in ("sad", "glad")
            ]
            for k in (1, 2)
        }
        for k, other in ((1, 2), (2, 1)):
            (root / f"fold_{k}").mkdir()
            test = [*(lines if k == 1 else ()), *rows[k]]
            (root / f"fold_{k}" / f"mine_test_fold_{k}.jsonl").write_text("\n".join(test))
            (root / f"fold_{k}" / f"mine_train_fold_{k}.jsonl").write_text("\n".join(rows[other]))
            for label in ("sad", "glad"):
                wav(root.parent.parent / f"{k}{label}.wav")

    return make


def row(**changes: object) -> str:
    return json.dumps({"key": "new", "wav": "new.wav", "emo": "sad", **changes})


def then(make: Callable[[Path], object], more: Callable[[Path], object]) -> Callable[[Path], object]:
    def both(root: Path) -> None:
        make(root)
        more(root)

    return both


def metadata(change: Callable[[Path], object] = lambda root: None, **entry: object) -> Callable[[Path], object]:
    """S3PRL's metadata of two sessions; ``entry`` changes the first of session 1's test list."""

    def make(root: Path) -> None:
        labels = {"neu": 0, "sad": 1}
        lists = {
            k: [{"path": f"S{k}/{k}{label}.wav", "label": label, "speaker": f"s{k}"} for label in labels]
            for k in (1, 2)
        }
        for k, other in ((1, 2), (2, 1)):
            place = root / "meta_data" / f"Session{k}"
            place.mkdir(parents=True)
            test = [{**lists[k][0], **(entry if k == 1 else {})}, lists[k][1]]
            for part, items in (("test", test), ("train", lists[other])):
                (place / f"{part}_meta_data.json").write_text(json.dumps({"labels": labels, "meta_data": items}))
        change(root / "meta_data" / "Session1" / "test_meta_data.json")

    return make


def text(content: str | bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def iemocap(*lines: str) -> Callable[[Path], object]:
    def make(root: Path) -> None:
        place = root / "Session1" / "dialog" / "EmoEvaluation"
        place.mkdir(parents=True)
        (place / "a.txt").write_text("\n".join(lines))

    return make


def named(*names: bytes) -> Callable[[Path], object]:
    """Empty files with such names."""

    def make(root: Path) -> None:
        for name in names:
            place = os.path.join(os.fsencode(root), name)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "wb"):
                pass

    return make


FIRST = Path("fold_1") / "mine_test_fold_1.jsonl"
TURN = "[1.0 - 2.0]\tSes01F_impro01_F000\tneu\t[2.5, 2.5, 2.5]"
EMODB = (b"03a01Wa.wav", b"08a01Na.wav")
TESS = (b"OAF_back_angry.wav", b"YAF_back_sad.wav")


@table(
    folder("no lists", "emobox", ("no folders fold_<k>",), lambda root: None),
    folder("not JSON", "emobox", ("mine_test_fold_1.jsonl, line 1: not JSON",), emobox("{")),
    folder("a list", "emobox", ("line 1: expected a JSON object, found list",), emobox("[]")),
    folder("no key", "emobox", ("line 1: key 'key': expected a text",), emobox('{"wav": "a", "emo": "sad"}')),
    folder("a number as key", "emobox", ("line 1: key 'key': expected a text",), emobox(row(key=1))),
    folder("a list as label", "emobox", ("line 1: key 'emo' or 'label': expected a text",), emobox(row(emo=["sad"]))),
    folder("an utterance twice", "emobox", ("line 2: 'new' is there twice",), emobox(row(), row())),
    folder(
        "an end before its start",
        "emobox",
        ("line 1: end_s (1) must come after",),
        emobox(row(start_time=2, end_time=1)),
    ),
    folder(
        "a bool as time", "emobox", ("line 1: start_time: expected seconds, found True",), emobox(row(start_time=True))
    ),
    folder(
        "a list as time", "emobox", ("line 1: start_time: expected seconds, found [1]",), emobox(row(start_time=[1]))
    ),
    folder("a text as time", "emobox", ("line 1: could not convert string to float",), emobox(row(start_time="soon"))),
    folder("a huge integer as time", "emobox", ("line 1: int too large",), emobox(row(start_time=10**400))),
    folder(
        "half a surrogate pair as key",
        "emobox",
        ("no UTF-8 (half a surrogate pair)",),
        emobox('{"key": "\\ud800", "wav": "a.wav", "emo": "sad"}'),
    ),
    folder(
        "half a surrogate pair as file",
        "emobox",
        ("the file name '\\udc80.wav' is not UTF-8",),
        emobox('{"key": "k", "wav": "\\udc80.wav", "emo": "sad"}'),
    ),
    folder("deep JSON", "emobox", ("line 1: not JSON: nested too deeply",), emobox('{"key": ' + "[" * 100_000)),
    folder(
        "a label map of numbers",
        "emobox",
        ("label_map.json: key 'sad': expected the name of a class, found 1",),
        emobox(map_='{"sad": 1}'),
    ),
    folder(
        "a label map that is a list",
        "emobox",
        ("label_map.json: expected a JSON object, found list",),
        emobox(map_="[]"),
    ),
    folder("a label map that is not JSON", "emobox", ("label_map.json: not JSON",), emobox(map_="{")),
    folder("a label map without the labels", "emobox", ("no utterance of the classes",), emobox(map_='{"x": "X"}')),
    folder(
        "an unknown class asked for",
        "emobox",
        ("option labels: unknown class 'sda'",),
        emobox(),
        "--corpus-option",
        "labels=sda",
    ),
    folder(
        "an unknown fold asked for",
        "emobox",
        ("option fold: no fold '7'. Known: 1, 2",),
        emobox(),
        "--corpus-option",
        "fold=7",
    ),
    folder(
        "a suffix that is none",
        "emobox",
        ("option suffix: expected an ending such as .wav, found 'wav'",),
        emobox(),
        "--corpus-option",
        "suffix=wav",
    ),
    folder(
        "a list in Latin-1",
        "emobox",
        ("mine_test_fold_1.jsonl: not UTF-8 text",),
        then(emobox(), lambda root: (root / FIRST).write_bytes(b'{"key": "\xfc"}')),
    ),
    folder(
        "a list that is a pipe",
        "emobox",
        ("mine_test_fold_1.jsonl: not a regular file",),
        then(emobox(), lambda root: pipe(root / FIRST)),
    ),
    folder(
        "a list that is missing",
        "emobox",
        ("fold_1: no test list",),
        then(emobox(), lambda root: (root / FIRST).unlink()),
    ),
    folder(
        "the stm is a pipe",
        "emobox",
        ("4 of 4 utterances are not known",),
        then(emobox(), lambda root: os.mkfifo(root / "data.seg.wrd.stm")),
        "--protocol",
        "strict",
    ),
    folder(
        "speakers that are the utterances",
        "emobox",
        ("names another speaker for each of 4 clips", "4 of 4 utterances are not known, so protocol strict cannot"),
        emobox(
            stm="".join(
                f"k 1 k 0 1 <id=k{k}{e},lang=en,spk={k}{e},emotion={e}> {e}\n" for k in (1, 2) for e in ("sad", "glad")
            )
        ),
        "--protocol",
        "strict",
    ),
    folder(
        "no speakers under loso",
        "emobox",
        ("so protocol loso cannot keep speakers apart",),
        emobox(),
        "--protocol",
        "loso",
    ),
    folder(
        "no speakers under superb",
        "emobox",
        ("so protocol superb cannot keep speakers apart",),
        emobox(),
        "--protocol",
        "superb",
    ),
    folder(
        "audio that is not there",
        "emobox",
        ("no such audio file", "Relative paths start from /nowhere"),
        emobox(),
        "--corpus-option",
        "audio_root=/nowhere",
    ),
    folder("no sessions", "superb_metadata", ("expected Session<k>/train_meta_data.json",), lambda root: None),
    folder("not JSON", "superb_metadata", ("test_meta_data.json: not JSON",), metadata(text("{"))),
    folder(
        "deep JSON",
        "superb_metadata",
        ("test_meta_data.json: not JSON: nested too deeply",),
        metadata(text("[" * 100_000)),
    ),
    folder("not UTF-8", "superb_metadata", ("test_meta_data.json: not UTF-8",), metadata(text(b'{"\xff"}'))),
    folder("a list", "superb_metadata", ("expected a JSON object, found list",), metadata(text("[]"))),
    folder(
        "labels as a list",
        "superb_metadata",
        ("key 'labels': expected a dict",),
        metadata(text('{"labels": [], "meta_data": []}')),
    ),
    folder(
        "no labels",
        "superb_metadata",
        ("key 'labels': expected class indices",),
        metadata(text('{"labels": {}, "meta_data": []}')),
    ),
    folder(
        "indices as texts",
        "superb_metadata",
        ("key 'labels': expected class indices",),
        metadata(text('{"labels": {"neu": "0"}, "meta_data": []}')),
    ),
    folder(
        "indices as bools",
        "superb_metadata",
        ("key 'labels': expected class indices",),
        metadata(text('{"labels": {"neu": false, "sad": true}, "meta_data": []}')),
    ),
    folder(
        "other labels in one file",
        "superb_metadata",
        ("in another list",),
        metadata(text('{"labels": {"joy": 0}, "meta_data": []}')),
    ),
    folder(
        "an entry that is a text",
        "superb_metadata",
        ("entry 0: key 'path': expected a text",),
        metadata(text('{"labels": {"neu": 0, "sad": 1}, "meta_data": ["x"]}')),
    ),
    folder("a number as label", "superb_metadata", ("entry 0: key 'label': expected a text",), metadata(label=3)),
    folder(
        "an unknown label", "superb_metadata", ("entry 0: key 'label': unknown label 'sda'",), metadata(label="sda")
    ),
    folder("a number as speaker", "superb_metadata", ("entry 0: key 'speaker': expected a text",), metadata(speaker=7)),
    folder("an empty path", "superb_metadata", ("entry 0: key 'path': expected a text",), metadata(path="")),
    folder(
        "a zero byte in a path",
        "superb_metadata",
        ("entry 0: key 'path'", "cannot be a file's name"),
        metadata(path="a\0.wav"),
    ),
    folder("half a surrogate pair in a path", "superb_metadata", ("is not UTF-8",), metadata(path="\udc80.wav")),
    folder(
        "a path elsewhere in another list",
        "superb_metadata",
        ("in another list. Make the metadata again",),
        metadata(path="x/1neu.wav"),
    ),
    folder("a file that is a pipe", "superb_metadata", ("test_meta_data.json: not a regular file",), metadata(pipe)),
    folder("a file that is missing", "superb_metadata", ("test_meta_data.json: no such file",), metadata(Path.unlink)),
    folder("an empty folder", "iemocap", ("not an IEMOCAP folder",), lambda root: None),
    folder("no labels", "iemocap", ("no utterance labelled",), iemocap()),
    folder(
        "spaces for tabs",
        "iemocap",
        ("a.txt, line 1: expected [start - end], name and label between tabs",),
        iemocap(TURN.replace("\t", " ")),
    ),
    folder(
        "another kind of name",
        "iemocap",
        ("a.txt, line 1: expected a name like", "found 'clip7'"),
        iemocap(TURN.replace("Ses01F_impro01_F000", "clip7")),
    ),
    folder(
        "an utterance twice", "iemocap", ("1 utterance ids appear twice: Ses01F_impro01_F000",), iemocap(TURN, TURN)
    ),
    folder(
        "labels from a pipe",
        "iemocap",
        ("a.txt: not a regular file",),
        then(iemocap(TURN), lambda root: pipe(root / "Session1/dialog/EmoEvaluation/a.txt")),
    ),
    folder(
        "metadata that are not there",
        "iemocap",
        ("/nowhere: expected Session<k>",),
        iemocap(TURN),
        "--corpus-option",
        "metadata=/nowhere",
    ),
    folder(
        "metadata of another corpus",
        "iemocap",
        ("lists other utterances than",),
        then(metadata(), iemocap(TURN)),
        "--corpus-option",
        "metadata={here}/data/mine/meta_data",
    ),
    folder("an empty folder", "emodb", ("mine",), lambda root: None),
    folder("clips without bytes", "emodb", ("03a01Wa.wav: the file is empty (0 bytes)",), named(*EMODB)),
    folder(
        "a folder's name that is not UTF-8",
        "tess",
        ("the file name 'x\\udcff/", "is not UTF-8. Rename"),
        named(*(b"x\xff/" + name for name in TESS)),
    ),
    folder(
        "an escape in a folder's name",
        "tess",
        ("\\x1b[31m/OAF_back_angry.wav: the file is empty",),
        named(*(b"\x1b[31m/" + name for name in TESS)),
    ),
    folder("an empty folder", "cremad", ("mine",), lambda root: None),
    folder("an empty folder", "ravdess", ("mine",), lambda root: None),
    folder("an empty folder", "savee", ("mine",), lambda root: None),
    folder("an empty folder", "tess", ("not a TESS folder",), lambda root: None),
    folder("no parts", "combined", ("expected the option parts=A,B",), lambda root: None),
    folder(
        "a part that is missing",
        "combined",
        ("Expected the corpus emodb there",),
        lambda root: None,
        "--corpus-option",
        "parts=emodb,savee",
    ),
    folder(
        "a part twice",
        "combined",
        ("'emodb' is named twice",),
        lambda root: None,
        "--corpus-option",
        "parts=emodb,emodb",
    ),
    folder("parts that are missing", "five", ("Expected the corpus cremad there",), lambda root: None),
    folder("a folder that is no demo", "demo", ("mine",), lambda root: (root / "x").touch()),
)
def test_folder(fault: Fault, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hold(fault, tmp_path, capsys)


def test_no_escape_reaches_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fault = raw("", ("\\x1b]0;owned\\x07", "\\u202e"), f"{HEADER}\n\x1b]0;owned\x07\u202egnp.wav,sad,s1\n".encode())
    hold(fault, tmp_path, capsys)
    capsys.readouterr()
    from s3prl_emotion.cli import main

    assert main([word.format(here=tmp_path) for word in fault.argv]) == 2
    printed = capsys.readouterr()
    assert not {"\x1b", "\x07", "\u202e"} & {*printed.out, *printed.err}
