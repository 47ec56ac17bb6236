"""Tables as others write them: columns of other names, times of pandas, official splits, votes, sources."""

from __future__ import annotations

import json
import logging

import pytest

from s3prl_emotion.cli import main
from s3prl_emotion.corpora import Manifest, corpora
from s3prl_emotion.corpora.official import part_of
from s3prl_emotion.errors import CorpusError, ProtocolError
from s3prl_emotion.protocols import make_folds

HEADER = "path,label,speaker"


def read(tmp_path, *lines, name="t.csv", head=HEADER, **options):
    path = tmp_path / name
    path.write_text("\n".join((head, *lines) if head else lines) + "\n", encoding="utf-8")
    return corpora.get("table").read(path, **options)


# --- names of columns -------------------------------------------------------------------------------------------------


def test_columns_of_other_names(tmp_path, caplog):
    head = "FileName,EmoClass,SpkrID,Turn,label"
    options = {"path": "FileName", "label": "EmoClass", "speaker": "SpkrID", "text": "Turn"}
    with caplog.at_level(logging.INFO):
        manifest = read(tmp_path, "a.wav,x,1,Hello,ignored", head=head, **options)
    item = manifest.utterances[0]
    assert (item.path, item.label, item.speaker, item.text) == ("a.wav", "x", "1", "Hello")
    assert [record.getMessage().partition("row 1: ")[2] for record in caplog.records] == ["column 'label' is not used"]
    line = json.dumps(dict(zip(head.split(","), ("a.wav", "x", "1", "Hello", "-"), strict=True)))
    assert read(tmp_path, line, name="t.jsonl", head="", **options).utterances == manifest.utterances


def test_one_column_may_be_two_things(tmp_path):
    manifest = read(tmp_path, "a.wav,x,s", head="file,label,speaker", path="file", id="file", attributes=None)
    assert manifest.utterances[0].id == "a.wav"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"label": "emotoin"},
            "row 1: no column 'emotoin', which the option label=emotoin names. Did you mean 'emotion'",
        ),
        ({"label": "emotion", "fold": "k"}, "row 1: no column 'k', which the option fold=k names"),
        ({}, "row 1: no column 'label'. .* named by --corpus-option label=NAME"),
        ({"label": " "}, "option label: expected the name of a column, found nothing"),
        ({"label": "emotion", "attributes": "emotion"}, "option attributes: 'emotion' is a column with a meaning"),
    ],
)
def test_columns_that_are_not_there(tmp_path, options, words):
    with pytest.raises(CorpusError, match=words):
        read(tmp_path, "a.wav,x,s", head="path,emotion,speaker", **options)


def test_through_the_command_line(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("file,emotion,who\na.wav,x,s\n")
    argv = ["prepare", "--corpus", "table", "--data", str(tmp_path / "t.csv"), "--out", str(tmp_path / "p")]
    options = [word for pair in ("path=file", "label=emotion", "speaker=who") for word in ("--corpus-option", pair)]
    assert main(argv + options) == 2
    assert "no such audio file" in capsys.readouterr().err, "the columns were found"


# --- times ------------------------------------------------------------------------------------------------------------


def test_audformat(tmp_path):
    rows = ("a.wav,0 days 00:00:01.500000,0 days 00:00:02,x,s", "a.wav,0 days,NaT,x,s", "b.wav,0 days 00:01:00,NaT,x,s")
    manifest = read(tmp_path, *rows, head="file,start,end,emotion,speaker", label="emotion")
    assert [(item.start_s, item.end_s) for item in manifest.utterances] == [(1.5, 2.0), (0.0, None), (60.0, None)]
    assert [item.id for item in manifest.utterances] == ["a@1.500-2.000", "a@0.000-", "b@60.000-"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0 days 00:00:01.500000", 1.5),
        ("1 days 02:03:04", 93784.0),
        ("1 day 00:00:00", 86400.0),
        ("00:00:01.5", 1.5),
        ("0 days +00:00:01.5", 1.5),
        ("NaT", None),
        ("", None),
        ("1.5", 1.5),
    ],
)
def test_times(tmp_path, text, seconds):
    assert read(tmp_path, f"a.wav,x,s,{text}", head=HEADER + ",end_s").utterances[0].end_s == seconds


@pytest.mark.parametrize(
    "text", ["-1 days +23:59:59", "00:00", "1 days ago", "days", "1:2:3", "NaN", "inf", "1_0", ":"]
)
def test_what_is_no_time(tmp_path, text):
    with pytest.raises(CorpusError, match="row 2, column 'start_s': expected a number"):
        read(tmp_path, f"a.wav,x,s,{text}", head=HEADER + ",start_s")


def test_start_and_end_of_other_tables_stay_unused(tmp_path):
    """They may be samples or milliseconds."""
    item = read(tmp_path, "a.wav,x,s,16000,32000", head=HEADER + ",start,end").utterances[0]
    assert (item.start_s, item.end_s) == (None, None)


# --- official splits --------------------------------------------------------------------------------------------------

SPLIT = HEADER + ",split"


def rows_of(*parts):
    return [f"{k}.wav,{'xy'[k % 2]},s{k % 3},{part}" for k, part in enumerate(part for part in parts for _ in "xy")]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        *(("train", "train"), ("Train", "train"), ("TRAINING", "train"), ("dev", "dev"), ("Development", "dev")),
        *(("devel", "dev"), ("val", "dev"), ("valid", "dev"), ("Validation", "dev"), ("test", "test")),
        *(("Test1", "test1"), ("test_2", "test2"), ("Test 03", "test3"), ("pilot", "pilot"), ("", "")),
    ],
)
def test_words_for_parts(text, part):
    assert part_of(text) == part


def test_an_official_division(tmp_path):
    manifest = read(tmp_path, *rows_of("Train", "Development", "Test1"), head=SPLIT)
    folds = make_folds(manifest, "official")
    assert [(fold.number, fold.train, fold.dev, fold.test) for fold in folds.folds] == [
        (1, ("0", "1"), ("2", "3"), ("4", "5"))
    ]
    plain = read(tmp_path, *(row.rpartition(",")[0] for row in rows_of("Train", "Development", "Test1")))
    assert manifest.sha256() == plain.sha256(), "the manifest of a table with a column of that name stays what it was"
    assert make_folds(manifest, "strict") == make_folds(plain, "strict"), "and so do other protocols"
    manifest.write(tmp_path / "m.jsonl")
    assert make_folds(Manifest.read(tmp_path / "m.jsonl"), "official") == folds


def test_of_several_test_parts_the_first(tmp_path, caplog):
    rows = rows_of("train", "validation", "Test2", "Test1", "Test1")
    folds = make_folds(read(tmp_path, *rows, head=SPLIT), "official")
    assert folds[1].test == ("6", "7", "8", "9")
    assert "tests on test1; left out: test2 2 (--corpus-option splits=train,dev,test2 tests on another)" in caplog.text
    chosen = read(tmp_path, *rows, head=SPLIT, splits="train,validation,Test2")
    assert make_folds(chosen, "official")[1].test == ("4", "5")
    assert "rows of other splits are left out: test1 4" in caplog.text


def test_rows_that_are_left_out_may_lack_a_label(tmp_path):
    rows = [*rows_of("train", "dev", "test1"), "9.wav,,,Test3"]
    with pytest.raises(CorpusError, match="row 8, column 'label': empty"):
        read(tmp_path, *rows, head=SPLIT)
    assert len(read(tmp_path, *rows, head=SPLIT, splits="train,dev,test1").utterances) == 6


@pytest.mark.parametrize(
    ("parts", "options", "words"),
    [
        (("train", "dev", "tset"), {}, r"unknown parts: 'tset' \(2\). Expected train, training, dev, .*, test1, test2"),
        (("train", "test"), {}, "has no dev part, only test, train"),
        (("dev",), {}, "has no train and no test part"),
        (("train", "dev", "test"), {"splits": "train,dev"}, "has no test part"),
        (("", ""), {}, "it prescribes no train, dev and test. A table says them in the column split"),
    ],
)
def test_what_is_no_official_division(tmp_path, parts, options, words):
    with pytest.raises(ProtocolError, match=words):
        make_folds(read(tmp_path, *rows_of(*parts), head=SPLIT, **options), "official")


def test_splits_that_are_not_there(tmp_path):
    with pytest.raises(CorpusError, match="the table has no rows of the splits pilot"):
        read(tmp_path, *rows_of("train"), head=SPLIT, splits="pilot")
    with pytest.raises(CorpusError, match="option splits: expected values of the column with commas"):
        read(tmp_path, *rows_of("train"), head=SPLIT, splits="train,,dev")


def test_a_split_may_still_be_an_attribute(tmp_path):
    item = read(tmp_path, "a.wav,x,s,Train", head=SPLIT, attributes="split").utterances[0]
    assert (item.attributes, item.official_part) == ({"split": "Train"}, "train")


# --- votes and sources ------------------------------------------------------------------------------------------------

VOTES = HEADER + ",soft:x,soft:y"


def test_votes_that_never_are_for_the_label(tmp_path, caplog):
    rows = [f"{k}.wav,{'xy'[k % 2]},s,{(k % 2)},{1 - k % 2}" for k in range(6)]
    with pytest.raises(
        CorpusError, match=r"in all 6 rows with votes another class .* row 2, .* 'x' .* 'y'. Are the col"
    ):
        read(tmp_path, *rows, head=VOTES)
    read(tmp_path, *rows, "6.wav,x,s,1,0", head=VOTES)
    assert "in 6 of 7 rows with votes another class has more than the label, first row 2" in caplog.text
    caplog.clear()
    read(tmp_path, *(f"{k}.wav,{'xy'[k % 2]},s,.5,.5" for k in range(6)), head=VOTES)
    assert not caplog.records, "a tie is for the label, too"
    read(tmp_path, *rows[:3], head=VOTES)
    assert "in 3 of 3 rows" in caplog.text


@pytest.mark.parametrize("votes", ["-1,2", "0,0", "nan,1", "inf,1", "1e400,0", "2,-1"])
def test_votes_that_are_none(tmp_path, votes):
    with pytest.raises(CorpusError, match="row 2, column"):
        read(tmp_path, f"a.wav,x,s,{votes}", "b.wav,y,s,1,0", head=VOTES)


@pytest.mark.parametrize(
    ("sources", "shown"),
    [
        (("b", "a"), "'a' from 'b' from 'a'"),
        (("b", "c", "a"), "'a' from 'b' from 'c' from 'a'"),
        (("", "c", "d", "b"), "'b' from 'c' from 'd' from 'b'"),
        (("a.wav",), "'a' from 'a'"),
        (("./x/../a.wav",), "'a' from 'a'"),
    ],
)
def test_a_circle_of_sources(tmp_path, sources, shown):
    rows = [f"{name}.wav,x,s,{source}" for name, source in zip("abcd", sources, strict=False)]
    with pytest.raises(CorpusError, match=rf"column 'source': rows are made from each other in a circle: {shown}\."):
        read(tmp_path, *rows, head=HEADER + ",source")


def test_a_long_chain_of_sources(tmp_path):
    size = 5_000
    rows = [f"{k}.wav,x,s,{k + 1 if k + 1 < size else ''}" for k in range(size)]
    assert len(read(tmp_path, *rows, head=HEADER + ",source").utterances) == size
    rows[-1] = f"{size - 1}.wav,x,s,0"
    with pytest.raises(CorpusError, match=r"in a circle: '0' from '1' from '2' from '3' from '4' from '0'"):
        read(tmp_path, *rows, head=HEADER + ",source")
