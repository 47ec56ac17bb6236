"""What a table must not do in silence: swallow rows, invent classes, or take anything for a text."""

from __future__ import annotations

import json
import logging

import pytest

from s3prl_emotion.corpora import Manifest, Utterance, corpora
from s3prl_emotion.errors import CorpusError, ProtocolError
from s3prl_emotion.protocols import make_folds

HEADER = "path,label,speaker"


def read(tmp_path, *lines, name="t.csv", head=HEADER, **options):
    path = tmp_path / name
    path.write_text("\n".join((head, *lines) if head else lines) + "\n", encoding="utf-8", newline="")
    return corpora.get("table").read(path, **options)


def test_a_stray_quote_swallows_no_rows(tmp_path):
    rows = [f"{k}.wav,sad,s1,words" for k in range(100)]
    rows[10], rows[60] = '10.wav,sad,s1,"hello', '60.wav,sad,s1,bye"'
    with pytest.raises(CorpusError, match=r"t\.csv: row 12: the quotation mark .* not closed at its end"):
        read(tmp_path, *rows, head=HEADER + ",text")
    rows[10] = "10.wav,sad,s1,hello"
    with pytest.raises(CorpusError, match=r"t\.csv: row 62: a quotation mark within a field"):
        read(tmp_path, *rows, head=HEADER + ",text")


def test_quotes_as_rfc_4180_has_them(tmp_path):
    rows = ('"a, b.wav","sad","s1","say ""yes"", then"', 'c.wav, "glad" ,s1,""', '"d.wav",sad,s1,"a ""b"""')
    first, second, third = read(tmp_path, *rows, head='path,"label",speaker,text').utterances
    assert (first.path, first.label, first.text) == ("a, b.wav", "sad", 'say "yes", then')
    assert (second.label, second.text, third.text) == ("glad", None, 'a "b"')


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(tmp_path, end):
    path = tmp_path / "t.csv"
    text = "a\u2028b\x0bc"  # which other programs take for line ends
    path.write_bytes(f"\ufeff{HEADER},text{end}a.wav,sad,s1,{text}{end}{end}b.wav,glad,s1,{end}".encode())
    first, second = corpora.get("table").read(path).utterances
    assert (first.text, second.id) == (text, "b")
    path.write_bytes(f"{HEADER}{end}{end}a.wav,sad{end}".encode())
    with pytest.raises(CorpusError, match=r"t\.csv: row 3: expected 3 columns, found 2"):
        corpora.get("table").read(path)


@pytest.mark.parametrize("text", ["nan", "NaN", "NULL", "null", "None", "N/A", "n/a", "NA", "<NA>", "#N/A"])
def test_what_stands_for_a_missing_value_is_no_class_and_an_unknown_speaker(tmp_path, text):
    with pytest.raises(CorpusError, match=rf"row 3, column 'label': '{text}' stands for a missing value"):
        read(tmp_path, "a.wav,sad,s1", f"b.wav,{text},s1")
    assert [item.speaker for item in read(tmp_path, f"a.wav,sad,{text}", "b.wav,sad,s1").utterances] == ["", "s1"]
    assert read(tmp_path, f"a.wav,{text},s1", labels=f"sad,{text}").labels == ("sad", text), "a class if one says so"


def test_one_form_of_a_text(tmp_path, caplog):
    rows = ("a.wav,\u00c4rger,Jos\u00e9,J\u00f6", "b.wav,A\u0308rger,Jose\u0301,o\u0308b")
    manifest = read(tmp_path, *rows, head=HEADER + ",id")
    assert (manifest.labels, manifest.speakers) == (("\u00c4rger",), ("Jos\u00e9",))
    assert [item.id for item in manifest.utterances] == ["J\u00f6", "\u00f6b"]
    assert "3 texts are read in composed form (Unicode NFC), first row 3, column 'label': \u00c4rger" in caplog.text
    assert read(tmp_path, *rows, head=HEADER + ",id", labels="A\u0308rger").labels == ("\u00c4rger",)
    votes = read(tmp_path, "a.wav,\u00c4,s,1", head=HEADER + ",soft:A\u0308").utterances[0].soft
    assert votes == {"\u00c4": 1.0}


def test_a_path_stays_as_it_is_on_the_disk(tmp_path):
    assert read(tmp_path, "A\u0308.wav,sad,s").utterances[0].path == "A\u0308.wav"


@pytest.mark.parametrize("value", [["sad"], {"sad": 1}, 3, 3.5, True, False])
def test_labels_are_texts(tmp_path, value):
    line = json.dumps({"path": "a.wav", "label": value, "speaker": "s"})
    with pytest.raises(CorpusError, match=r"row 1, column 'label': expected a text, found "):
        read(tmp_path, line, name="t.jsonl", head="")


@pytest.mark.parametrize("value", [["s"], {"s": 1}, 3.5, True])
def test_speakers_are_texts_or_whole_numbers(tmp_path, value):
    line = json.dumps({"path": "a.wav", "label": "sad", "speaker": value})
    with pytest.raises(CorpusError, match=r"row 1, column 'speaker': expected a text, found "):
        read(tmp_path, line, name="t.jsonl", head="")


@pytest.mark.parametrize("column", ["path", "label", "speaker", "id", "text", "session", "source"])
def test_half_a_surrogate_pair_is_no_text(tmp_path, column):
    line = json.dumps({"path": "a.wav", "label": "sad", "speaker": "s", column: "x\ud800"})
    with pytest.raises(CorpusError, match=rf"row 1, column '{column}'"):
        read(tmp_path, line, name="t.jsonl", head="")


def test_names_in_another_encoding_are_refused_by_any_manifest():
    for changes, words in (({"path": "x\udcff.wav"}, "file name .* is not UTF-8"), ({"label": "\udcff"}, "no UTF-8")):
        item = Utterance(**{"id": "a", "path": "a.wav", "label": "sad", "speaker": "s", **changes})
        with pytest.raises(CorpusError, match=words):
            Manifest("mine", ("sad",), ".", (item,))
    with pytest.raises(CorpusError, match=r"folder's name .* is not UTF-8"):
        Manifest("mine", ("sad",), "/x\udcff", ())


def test_unused_columns(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        read(tmp_path, "a.wav,sad,s1,f,1,x", head=HEADER + ",gender,age,sesion")
    assert [record.getMessage().partition("row 1: ")[2] for record in caplog.records] == [
        "column 'gender' is not used",
        "column 'age' is not used",
        "column 'sesion' is not used. Did you mean 'session'?",
    ]
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO", "WARNING"]


def test_every_row_another_speaker(tmp_path, caplog):
    rows = [f"{k}.wav,{label},clip{k}" for k, label in enumerate(["sad", "glad"] * 10)]
    manifest = read(tmp_path, *rows)
    assert "each of the 20 utterances has a speaker of its own ('clip0', ...)" in caplog.text
    assert len(make_folds(manifest, "strict").folds) == 5, "they may be people"
    nobody = read(tmp_path, *rows, speakers="unknown")
    assert (nobody.speakers, nobody.nameless) == ((), 20)
    with pytest.raises(ProtocolError, match="20 of 20 utterances are not known, so protocol strict cannot"):
        make_folds(nobody, "strict")
    assert len(make_folds(nobody, "paper-d").folds) == 1
    caplog.clear()
    read(tmp_path, *rows[:3])
    assert not caplog.records, "three rows by three speakers are no sign of anything"
