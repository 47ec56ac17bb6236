"""One rule for the spelling of names, wherever they come from."""

from __future__ import annotations

import dataclasses
import json
import logging

import pytest

from corpora import copies
from s3prl_emotion.corpora import Manifest, Utterance, corpora
from s3prl_emotion.corpora.speech import SpeechSource
from s3prl_emotion.corpora.spelling import certain, doubtful, is_unknown, likely, settled
from s3prl_emotion.errors import CorpusError, ProtocolError
from s3prl_emotion.protocols import make_folds


def corpus(*speakers, **changes):
    items = [Utterance(f"u{k}", f"{k}.wav", "ab"[k % 2], name) for k, name in enumerate(speakers)]
    return Manifest("mine", ("a", "b"), ".", tuple(dataclasses.replace(item, **changes) for item in items))


def read(tmp_path, *lines, name="t.csv", head="path,label,speaker", **options):
    path = tmp_path / name
    path.write_text("\n".join((head, *lines) if head else lines) + "\n", encoding="utf-8")
    return corpora.get("table").read(path, **options)


ONE = [
    *(("1", other) for other in ("1.0", "1.", "1.000", "+1", "\uff11", "1e+00", "1E+0", " 1 ", "\u00a01", "1\u200b")),
    ("100000", "1e+05"),
    ("150000", "1.5e+05"),
    ("0", "0.0"),
    ("12345678901234567890", "12345678901234567890.0"),
    ("Jos\u00e9", "Jose\u0301"),
    ("\uff21nna", "Anna"),
    ("Anna  Maria", "Anna Maria"),
    ("Anna\u00a0Maria", "Anna Maria"),
    ("\ufeffAnna", "Anna"),
]
MAYBE = [
    *(("1", other) for other in ("01", "001", "1e0", "01.0", "1,0", "\u0661", "'1'", "#1")),
    *(("spk1", other) for other in ("spk01", "spk-1", "spk_1", "spk 1", "SPK1", "Spk.001", "spk1.0", "(spk1)")),
    *(
        ("1", other)
        for other in ("spk1", "Speaker 01", "subject_1", "actor-01", "p001", "S1", "participant 1", "Sprecher1")
    ),
    ("A", "a"),
    ("A", "\u0410"),
    ("Jos\u00e9", "Jose"),
    ("Anna-Maria", "anna maria"),
    ("1-1", "1_1"),
    ("Stra\u00dfe", "STRASSE"),
]
APART = [
    *(("1", other) for other in ("10", "11", "1.5", "1a", "a1")),
    ("11", "1-1"),
    ("1.1", "1.2"),
    ("1.1", "11"),
    ("anna", "ann"),
    ("\u0915\u093f", "\u0915\u093e"),
    ("\u304b\u304f", "\u304c\u304f"),
    ("demo/1", "ravdess/1"),
    ("demo/11", "demo1/1"),
    ("s1", "t1"),
]


@pytest.mark.parametrize(("one", "two"), ONE)
def test_one_for_certain(one, two):
    assert certain(one) == certain(two)
    assert likely(one) == likely(two)


@pytest.mark.parametrize(("one", "two"), MAYBE)
def test_maybe_one(one, two):
    assert certain(one) != certain(two)
    assert likely(one) == likely(two)


@pytest.mark.parametrize(("one", "two"), APART)
def test_apart(one, two):
    assert likely(one) != likely(two)


@pytest.mark.parametrize("name", ["1e99999999999", "9" * 5000, "1e+99", "0" * 5000, "", "/", "-", "\u0301", "1.0.0"])
def test_any_text_has_a_key(name):
    assert isinstance(certain(name), str)
    assert isinstance(likely(name), str)


@pytest.mark.parametrize(
    "name",
    [
        *("Unknown", "unknown", "UNK", "unk", "n/a", "N/A", "NA", "nan", "NaN", "None", "null", "NIL", "?", "???", "-"),
        *("--", "", " ", "speaker_unknown", "Unknown Speaker", "spk-unk", "<unk>", "[UNKNOWN]", "#N/A", "<NA>", "-nan"),
        *("-1", "-1.0", "N.A.", "\uff35nknown", "undefined", "Anonymous"),
        *("-9", "-99", "-999.0", "inconnu", "Desconocida", "\u672a\u77e5"),
    ],
)
def test_unknown(name):
    assert is_unknown(name)


@pytest.mark.parametrize(
    "name", ["Anna", "1", "0", "Nancy", "unkle", "-2", "nana", "N", "A", "none1", "Unknown1", "99"]
)
def test_known(name):
    assert not is_unknown(name)


# --- settled ----------------------------------------------------------------------------------------------------------


def test_spellings_become_one_and_it_is_said(caplog):
    manifest = settled(corpus("1", "1.0", "2", "2.0", "2.0", "3"))
    assert [item.speaker for item in manifest.utterances] == ["1", "1", "2", "2", "2", "3"]
    assert (
        "speakers that are one, and are read as the first: '1' (1) and '1.0' (1); '2' (1) and '2.0' (2)" in caplog.text
    )


@pytest.mark.parametrize("names", [("1.0", "2.0", "3.0"), ("01", "02", "10"), ("s1", "s2", "s10"), ("a b", "c d", "e")])
def test_names_with_one_spelling_stay_as_they_are(names, caplog):
    """Also those that another spelling would be simpler for: the hash of a corpus that was right stays."""
    before = corpus(*names)
    assert settled(before) is before
    assert not caplog.records


def test_unknown_speakers_are_a_state_of_a_row(caplog):
    manifest = settled(corpus("Unknown", "s1", "", "unk", "s2", "Unknown"))
    assert [item.speaker for item in manifest.utterances] == ["", "s1", "", "", "s2", ""]
    assert (manifest.speakers, manifest.nameless) == (("s1", "s2"), 4)
    assert "read as unknown: 'Unknown' (2), 'unk' (1)" in caplog.text


def test_what_is_doubtful_is_for_the_user_to_say(caplog):
    given = corpus("spk01", "spk1", "A", "a", "spk1", "b")
    manifest = settled(given)
    assert manifest.speakers == ("A", "a", "b", "spk01", "spk1")
    assert doubtful(manifest.speakers) == [("A", "a"), ("spk01", "spk1")]
    assert "may be one person's: 'A' (1) and 'a' (1); 'spk01' (1) and 'spk1' (2)" in caplog.text
    assert "speakers=merged (one person each) or speakers=distinct" in caplog.text
    caplog.clear()
    assert settled(given, "merged").speakers == ("A", "b", "spk1")
    caplog.clear()
    apart = settled(given, "distinct, strangers")
    assert (apart.speakers, apart.speakers_are) == (manifest.speakers, ("distinct", "strangers"))
    assert not caplog.records


@pytest.mark.parametrize(
    ("speakers", "words"),
    [
        ("none", "option speakers: expected named, unknown, merged, distinct or strangers, found 'none'"),
        ("", "found ''"),
        ("merged,distinct", "merged and distinct contradict each other"),
        ("unknown,strangers", "unknown and strangers contradict each other"),
    ],
)
def test_what_may_be_said(speakers, words):
    with pytest.raises(CorpusError, match=words):
        settled(corpus("a"), speakers)


def test_labels_sessions_and_attributes_too(caplog):
    items = [
        Utterance(
            "u0", "0.wav", "1", "s", session="1", attributes={"level": "1"}, soft={"1": 0.5, "1.0": 0.25, "2": 0.25}
        ),
        Utterance("u1", "1.wav", "1.0", "s", session="1.0", attributes={"level": "1.0"}),
        Utterance("u2", "2.wav", "2", "s", session="2", attributes={"level": "2", "sex": "F"}),
        Utterance("u3", "3.wav", "2", "s", attributes={"sex": "f"}),
        Utterance("u4", "4.wav", "2", "s", attributes={"sex": "female"}),
    ]
    manifest = settled(Manifest("mine", ("1", "1.0", "2"), ".", tuple(items)))
    assert manifest.labels == ("1", "2")
    assert [item.label for item in manifest.utterances] == ["1", "1", "2", "2", "2"]
    assert [item.session for item in manifest.utterances] == ["1", "1", "2", None, None]
    assert [(item.attributes or {}).get("level") for item in manifest.utterances] == ["1", "1", "2", None, None]
    assert manifest.utterances[0].soft == {"1": 0.75, "2": 0.25}
    assert "values of sex that may be one, and are read as several: 'F' and 'f'; 'F' and 'female'" in caplog.text


def test_what_is_said_of_speakers_stays_with_the_manifest(tmp_path):
    manifest = settled(corpus("A", "a"), "distinct")
    manifest.write(tmp_path / "m.jsonl")
    again = Manifest.read(tmp_path / "m.jsonl")
    assert again == manifest
    assert again.with_utterances(again.utterances[:1]).speakers_are == ("distinct",)
    assert again.sha256() == corpus("A", "a").sha256()
    header, *rows = (tmp_path / "m.jsonl").read_text().splitlines()
    for wrong in ("x", ["x"]):
        (tmp_path / "m.jsonl").write_text("\n".join((json.dumps({**json.loads(header), "speakers_are": wrong}), *rows)))
        with pytest.raises(CorpusError, match=r"m\.jsonl, line 1: header key 'speakers_are': expected some of"):
            Manifest.read(tmp_path / "m.jsonl")


# --- every door -------------------------------------------------------------------------------------------------------


def test_a_table(tmp_path):
    manifest = read(tmp_path, "a.wav,x,1", "b.wav,y,1.0", "c.wav,y,Unknown", "d.wav,y,")
    assert [item.speaker for item in manifest.utterances] == ["1", "1", "", ""]


def test_json_lines_whose_numbers_are_numbers(tmp_path):
    rows = [{"speaker": 1}, {"speaker": 1.0}, {"speaker": "1.0"}, {"speaker": None}, {"speaker": 2.0, "session": 1.0}]
    lines = [json.dumps({"path": f"{k}.wav", "label": "x", "fold": 1.0, **row}) for k, row in enumerate(rows)]
    manifest = read(tmp_path, *lines, name="t.jsonl", head="")
    assert [item.speaker for item in manifest.utterances] == ["1", "1", "1", "", "2"]
    assert ({item.fold for item in manifest.utterances}, manifest.utterances[4].session) == ({1}, "1")


@pytest.mark.parametrize("text", ["1e300", "1e400", "-1e300"])
def test_a_number_of_that_size_is_no_name(tmp_path, text):
    line = f'{{"path": "a.wav", "label": "x", "speaker": {text}}}'
    with pytest.raises(CorpusError, match="row 1, column 'speaker'"):
        read(tmp_path, line, name="t.jsonl", head="")


def test_a_source_of_a_number_column_with_gaps(tmp_path, caplog):
    """pandas writes 1.0 for the id 1 where other cells of the column are empty: the sibling would be missed."""
    manifest = read(tmp_path, "a.wav,x,s,1,", "b.wav,x,t,2,1.0", head="path,label,speaker,id,source")
    assert [item.source for item in manifest.utterances] == [None, "1"]
    assert not caplog.records


def test_emobox(tmp_path):
    root, _ = copies.emobox(tmp_path)
    stm = root / "data.seg.wrd.stm"
    stm.write_text(stm.read_text().replace("spk=male_1,emotion=happy", "spk=male\u200b_1,emotion=happy"))
    stm.write_text(stm.read_text().replace("spk=male_2", "spk=Unknown"))
    manifest = corpora.get("emobox").read(root)
    assert (manifest.speakers, manifest.nameless) == (("male_1", "male_3"), 2)
    assert corpora.get("emobox").read(root, speakers="unknown").nameless == 6


def test_superb_metadata(tmp_path):
    root, _ = copies.superb_metadata(tmp_path)
    for path in root.glob("meta_data/*/*.json"):
        content = json.loads(path.read_text())
        for place, row in enumerate(content["meta_data"]):
            row["path"] = row["path"].replace("Ses0", "My")
            row["speaker"] = ("1", "1.0", "", "UNK")[place % 4]
        path.write_text(json.dumps(content))
    manifest = corpora.get("superb_metadata").read(root)
    assert (manifest.speakers, manifest.nameless) == (("1",), len(manifest.utterances) // 2)


def test_combined_corpora(tmp_path):
    (tmp_path / "emodb").mkdir()
    copies.emodb(tmp_path / "emodb")
    (tmp_path / "t.csv").write_text(
        "path,label,speaker\na.wav,angry,3\nb.wav,sad,3.0\nc.wav,sad,Unknown\nd.wav,sad,03\n"
    )
    options = {"parts": "emodb,table", "table": str(tmp_path / "t.csv")}
    manifest = corpora.get("combined").read(tmp_path, **options)
    assert [name for name in manifest.speakers if name.startswith("table")] == ["table/03", "table/3"]
    assert manifest.nameless == 1
    with pytest.raises(ProtocolError, match=r"'table/03' \(1\) and 'table/3' \(2\)"):
        make_folds(manifest, "strict")
    merged = corpora.get("combined").read(tmp_path, **options, speakers="merged")
    assert [name for name in merged.speakers if name.startswith("table")] == ["table/3"]


def test_speech_for_pretraining(tmp_path, caplog):
    (tmp_path / "t.csv").write_text("path,speaker\na.wav,1\nb.wav,1.0\nc.wav,Unknown\n")
    table = SpeechSource.parse(str(tmp_path / "t.csv")).read()
    assert [item.speaker for item in table.utterances] == ["1", "1"]
    assert "left out 1 of 3 utterances whose speakers are not known" in caplog.text
    for name in ("1/a", "1.0/b", "unknown/c"):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / f"{name}.wav").touch()
    pattern = SpeechSource.parse(f"{tmp_path}/d/{{speaker}}/{{utterance}}.wav").read()
    assert [item.speaker for item in pattern.utterances] == ["1", "1"]
    corpus("1", "1.0", "Unknown").write(tmp_path / "manifest.jsonl")
    assert SpeechSource.parse(str(tmp_path)).read().speakers == ("1",)


def test_every_corpus_takes_the_option(tmp_path, caplog):
    folder, _ = copies.emodb(tmp_path)
    with caplog.at_level(logging.ERROR):
        assert corpora.get("emodb").read(folder, speakers="unknown").nameless == 70
    with pytest.raises(CorpusError, match=r"unknown option 'speaker'\. Did you mean 'speakers'"):
        corpora.get("emodb").read(folder, speaker="unknown")


@pytest.mark.parametrize("folders", [("fold_1", "fold_01")])
def test_two_folders_of_one_fold(tmp_path, folders):
    root, _ = copies.emobox(tmp_path)
    (root / folders[1]).mkdir()
    with pytest.raises(CorpusError, match=r"fold_01 and fold_1 are both fold 1\. Take"):
        corpora.get("emobox").read(root)
    other, _ = copies.superb_metadata(tmp_path / "s")
    (other / "meta_data" / "Session01").mkdir()
    with pytest.raises(CorpusError, match="Session01 and Session1 are both session 1"):
        corpora.get("superb_metadata").read(other)
