"""The generic table, and that its errors name file, row and column."""

from __future__ import annotations

import json
import logging

import pytest

from s3prl_emotion.corpora import corpora
from s3prl_emotion.errors import CorpusError

HEADER = "path,label,speaker,fold,session,text,start_s,end_s,id\n"


def table(tmp_path, content, name="clips.csv"):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return path


def read(path, **options):
    return corpora.get("table").read(path, **options)


def test_csv_with_everything(tmp_path):
    rows = "\ufeff" + HEADER + 'a/x.wav,sad,s1,1,A,"Well, hello",0.5,1.25,first\n\n/abs/y.wav,glad,s2,2,,,,,\n'
    manifest = read(table(tmp_path, rows))
    first, second = manifest.utterances
    assert (first.id, first.path, first.label, first.speaker) == ("first", "a/x.wav", "sad", "s1")
    assert (first.fold, first.session, first.text, first.start_s, first.end_s) == (1, "A", "Well, hello", 0.5, 1.25)
    assert (second.id, second.session, second.text, second.start_s) == ("/abs/y", None, None, None)
    assert (manifest.corpus, manifest.labels, manifest.root) == ("table", ("glad", "sad"), tmp_path.as_posix())


def test_options(tmp_path):
    path = table(tmp_path, "path\tlabel\tspeaker\nx.wav\tsad\ts1\n", "clips.tsv")
    manifest = read(path, audio_root="/corpus", labels="sad, glad", name="mine")
    assert (manifest.corpus, manifest.labels, manifest.root) == ("mine", ("sad", "glad"), "/corpus")
    assert read(path, labels=["glad", "sad"]).labels == ("glad", "sad")


def test_jsonl_and_segments_of_one_file(tmp_path):
    rows = [
        {"path": "long.wav", "label": "sad", "speaker": 7, "start_s": 0, "end_s": 1.5},
        {"path": "long.wav", "label": "glad", "speaker": 7, "start_s": 1.5, "fold": None},
    ]
    manifest = read(table(tmp_path, "\n".join(json.dumps(row) for row in rows), "clips.jsonl"))
    assert [u.id for u in manifest.utterances] == ["long@0.000-1.500", "long@1.500-"]
    assert manifest.speakers == ("7",)


def test_a_speaker_may_be_in_two_folds_here(tmp_path):
    rows = "path,label,speaker,fold\na.wav,sad,s1,1\nb.wav,sad,s1,2\n"
    assert [u.fold for u in read(table(tmp_path, rows)).utterances] == [1, 2]


def test_misspelt_optional_column_is_said(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        read(table(tmp_path, "path,label,speaker,sesion\na.wav,sad,s1,A\n"))
    assert "column 'sesion' is not used. Did you mean 'session'" in caplog.text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("path,lable,speaker\n", "row 1: no column 'label'. Did you mean 'lable'"),
        ("path,label,speaker,path\n", "row 1: a column name appears twice"),
        ("path,label,speaker\n", "no rows"),
        ("path,label,speaker\na.wav,sad,s1\nb.wav,,s1\n", "row 3, column 'label': empty"),
        ("path,label,speaker\na.wav,sad\n", "row 2: expected 3 columns, found 2"),
        ("path,label,speaker,start_s\na.wav,sad,s1,soon\n", "row 2, column 'start_s': expected a number, found 'soon'"),
        ("path,label,speaker,start_s\na.wav,sad,s1,-1\n", "row 2, column 'start_s': .* not negative, found '-1'"),
        ("path,label,speaker,end_s\na.wav,sad,s1,nan\n", "row 2, column 'end_s': .* not negative, found 'nan'"),
        ("path,label,speaker,start_s,end_s\na.wav,sad,s1,2,1\n", "row 2, column 'end_s': 1 does not come after"),
        ("path,label,speaker,fold\na.wav,sad,s1,1.5\n", "row 2, column 'fold': expected a whole number"),
        ("path,label,speaker\na.wav,sad,s1\na.wav,sad,s1\n", "row 3, column 'path': 'a' is already in row 2"),
        ("path,label,speaker\n,sad,s1\n", "row 2, column 'path': empty"),
        ("path,label,speaker,fold\na.wav,sad,s1,1_0\n", "row 2, column 'fold': expected a number, found '1_0'"),
        ("path,label,speaker\na.wav,sad,s1,x\n", "row 2: expected 3 columns, found 4"),
        ("path,label,speaker,fold\na.wav,sad,s1,0\n", "row 2, column 'fold': expected a whole number from 1"),
        ("path,label,speaker,fold\na.wav,sad,s1,one\n", "row 2, column 'fold': expected a number, found 'one'"),
        ("path,label,speaker,end_s\na.wav,sad,s1,0\n", "row 2, column 'end_s': 0 does not come after the start, 0"),
        ("path,label,speaker,start_s\na.wav,sad,s1,inf\n", "row 2, column 'start_s': .* not negative, found 'inf'"),
        ("path,label,speaker,source\na.wav,sad,s1,a\n", "row 2, column 'source': 'a' is the row itself"),
        ("path,label,speaker,soft:sad\na.wav,sad,s1,much\n", "row 2, column 'soft:sad': expected a number"),
        ("path,label,speaker,soft:sad\na.wav,sad,s1,-1\n", "row 2, column 'soft:sad': .* not negative, found '-1'"),
        ("path,label,speaker,soft:sad\na.wav,sad,s1,3\n", "row 2, column 'soft:sad': expected a rate in .* found '3'"),
        (
            "path,label,speaker,soft:sad,soft:glad\na.wav,sad,s1,.5,.4\nb.wav,glad,s1,,\n",
            "row 2, columns 'soft:sad', 'soft:glad': expected rates that sum to 1, found 0.9",
        ),
        ("path,label,speaker,soft:sad\na.wav,sad,s1,0\n", "row 2, columns 'soft:sad': .* sum to 1, found 0"),
        (
            "path,label,speaker,soft:sda\na.wav,sad,s1,\nb.wav,sad,s1,1\n",
            "row 3, column 'soft:sda': no class 'sda'. Did you mean 'sad'",
        ),
        ("path,label,speaker,id\na.wav,sad,s1,k\nb.wav,sad,s1,k\n", "row 3, column 'id': 'k' is already in row 2"),
    ],
)
def test_errors_name_file_row_and_column(tmp_path, content, words):
    with pytest.raises(CorpusError, match=words) as caught:
        read(table(tmp_path, content))
    assert "clips.csv" in str(caught.value)


def test_votes_and_sources(tmp_path, caplog):
    rows = (
        "path,label,speaker,source,soft:sad,soft:glad\na.wav,glad,s1,,.333,.6666\nb.wav,sad,s1,a,1,\nc.wav,sad,s1,,,\n"
    )
    with caplog.at_level(logging.WARNING):
        first, second, third = read(table(tmp_path, rows)).utterances
    assert not caplog.records
    assert first.soft == pytest.approx({"sad": 0.333 / 0.9996, "glad": 0.6666 / 0.9996})
    assert (first.source, second.source, second.soft, third.soft) == (None, "a", {"sad": 1.0}, None)
    line = {"path": "a.wav", "label": "sad", "speaker": "s", "soft:sad": 1.0}
    assert read(table(tmp_path, json.dumps(line), "clips.jsonl")).utterances[0].soft == {"sad": 1.0}


def test_label_outside_of_the_set(tmp_path):
    path = table(tmp_path, "path,label,speaker\na.wav,sad,s1\nb.wav,gald,s1\n")
    with pytest.raises(CorpusError, match=r"clips\.csv: row 3, column 'label': 'gald' is not .* Did you mean 'glad'"):
        read(path, labels=["sad", "glad"])


def test_json_errors(tmp_path):
    good = '{"path": "a.wav", "label": "sad", "speaker": "s"}\n'
    with pytest.raises(CorpusError, match=r"clips\.jsonl: row 2: not JSON"):
        read(table(tmp_path, good + "{\n", "clips.jsonl"))
    with pytest.raises(CorpusError, match=r"clips\.jsonl: row 2: expected a JSON object, found list"):
        read(table(tmp_path, good + "[]\n", "clips.jsonl"))
    with pytest.raises(CorpusError, match=r"clips\.jsonl: row 2: no column 'speaker'"):
        read(table(tmp_path, good + '{"path": "b.wav", "label": "sad"}\n', "clips.jsonl"))


def test_files_that_are_no_table(tmp_path):
    with pytest.raises(CorpusError, match=r"clips\.xlsx: unknown kind of table '\.xlsx'"):
        read(table(tmp_path, "", "clips.xlsx"))
    path = tmp_path / "latin.csv"
    path.write_bytes("path,label,speaker\na.wav,müde,s1\n".encode("latin-1"))
    with pytest.raises(CorpusError, match=r"latin\.csv: row 2: not UTF-8 text"):
        read(path)


def test_sources_by_path_are_linked_and_unknown_ones_are_named(tmp_path, caplog):
    table = tmp_path / "table.csv"
    table.write_text(
        "id,path,label,speaker,source\na,x/a.wav,neu,s,\nb,b.wav,neu,s,x/a.wav\nc,c.wav,ang,t,a\nd,d.wav,ang,t,gone\ne,e.wav,ang,t,./x/../x/a.wav\n"
    )
    manifest = corpora.get("table").read(table)
    assert [item.source for item in manifest.utterances] == [None, "a", "a", "gone", "a"]
    assert "1 name no row's id or path, first 'gone'" in caplog.text
