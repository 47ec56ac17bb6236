"""What names and tables of corpora tell of an utterance besides label and speaker."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import pytest

from corpora import copies
from s3prl_emotion.corpora import Manifest, Utterance, corpora
from s3prl_emotion.errors import CorpusError, RunError
from s3prl_emotion.protocols.integrity import check_attributes, manifest_sha256, seal
from s3prl_emotion.protocols.split import Folds


def told(name: str, folder: Path, **options: object) -> dict[str, dict[str, str] | None]:
    return {item.id: item.attributes for item in corpora.get(name).read(folder, **options).utterances}


def of(name: str, folder: Path, files: list[str]) -> dict[str, dict[str, str] | None]:
    folder.mkdir(parents=True)
    for file in files:
        (folder / f"{file}.wav").touch()
    return told(name, folder)


def test_ravdess(tmp_path: Path) -> None:
    found = of("ravdess", tmp_path / "r", ["03-01-05-02-01-02-11", "03-01-03-01-02-01-24"])
    assert found["03-01-05-02-01-02-11"] == {
        "intensity": "strong",
        "statement": "01",
        "repetition": "02",
        "sex": "male",
    }
    assert found["03-01-03-01-02-01-24"] == {
        "intensity": "normal",
        "statement": "02",
        "repetition": "01",
        "sex": "female",
    }


def test_emodb_knows_five_women(tmp_path: Path) -> None:
    found = told("emodb", copies.emodb(tmp_path / "e")[0])
    assert found["03a01Fa"] == {"sex": "male", "sentence": "a01"}
    women = {name[:2] for name, attributes in found.items() if attributes and attributes["sex"] == "female"}
    assert women == {"08", "09", "13", "14", "16"}


def test_each_fold_of_emodb_tests_on_a_man_and_a_woman(tmp_path: Path) -> None:
    manifest = corpora.get("emodb").read(copies.emodb(tmp_path / "e")[0])
    for fold in range(1, 6):
        sexes = {(item.attributes or {})["sex"] for item in manifest.utterances if item.fold == fold}
        assert sexes == {"male", "female"}


def test_savee_and_tess(tmp_path: Path) -> None:
    assert of("savee", tmp_path / "s", ["DC_a01"]) == {"DC_a01": {"sex": "male"}}
    found = of("tess", tmp_path / "t", ["OAF_back_angry", "YAF_bar_ps"])
    assert found["OAF_back_angry"] == {"sex": "female", "age": "64", "word": "back"}
    assert found["YAF_bar_ps"] == {"sex": "female", "age": "26", "word": "bar"}


def test_iemocap_and_its_metadata(tmp_path: Path) -> None:
    found = told("iemocap", copies.iemocap(tmp_path / "i")[0])
    assert found["Ses01F_impro01_M004"] == {"sex": "male", "scenario": "improvised"}
    found = told("superb_metadata", copies.superb_metadata(tmp_path / "m")[0])
    assert found["Ses01F_impro00_F000"] == {"sex": "female", "scenario": "improvised"}
    turn = tmp_path / "i" / "Session1" / "dialog" / "EmoEvaluation" / "b.txt"
    turn.write_text("[1.0 - 2.0]\tSes01M_script02_1_F003\tang\t[]")
    assert told("iemocap", tmp_path / "i")["Ses01M_script02_1_F003"] == {"sex": "female", "scenario": "scripted"}


def test_cremad_with_and_without_its_table_of_actors(tmp_path: Path, caplog) -> None:
    folder = tmp_path / "c"
    found = of("cremad", folder / "AudioWAV", ["1001_IEO_ANG_HI", "1002_TIE_SAD_XX"])
    assert found["1001_IEO_ANG_HI"] == {"level": "high", "sentence": "IEO"}
    table = folder / "VideoDemographics.csv"
    table.write_text("ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n1009,,Female,,\n")
    about = {"age": "51", "sex": "male", "race": "caucasian", "ethnicity": "not hispanic"}
    for place in (folder, folder / "AudioWAV"):
        found = told("cremad", place)
        assert found["1001_IEO_ANG_HI"] == {"level": "high", "sentence": "IEO", **about}
        assert found["1002_TIE_SAD_XX"] == {"level": "unspecified", "sentence": "TIE"}
    table.write_text("version https://git-lfs.github.com/spec/v1\n")
    with caplog.at_level(logging.WARNING):
        assert told("cremad", folder)["1001_IEO_ANG_HI"] == {"level": "high", "sentence": "IEO"}
    assert "no column 'ActorID', so nothing is known of actors" in caplog.text


def test_several_corpora_keep_their_attributes(tmp_path: Path) -> None:
    folder, options = copies.combined(tmp_path / "both")
    manifest = corpora.get("combined").read(folder, **options)
    by_corpus = {item.corpus: item.attributes for item in manifest.utterances}
    assert set(by_corpus["emodb"] or ()) == {"sex", "sentence"}
    assert by_corpus["savee"] == {"sex": "male"}


ROWS = "path,label,speaker,sex,Age,empty\na.wav,sad,x, female ,51,\nb.wav,sad,y,nan,0,\n"


def table(folder: Path, text: str = ROWS, ending: str = "csv") -> Path:
    path = folder / f"t.{ending}"
    path.write_text(text)
    return path


def test_further_columns_of_a_table(tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.INFO):
        found = told("table", table(tmp_path), attributes="sex, Age")
    assert found == {"a": {"sex": "female", "Age": "51"}, "b": {"Age": "0"}}
    assert "'empty' is not used" in caplog.text
    assert "'sex'" not in caplog.text
    assert told("table", table(tmp_path)) == {"a": None, "b": None}


def test_further_keys_of_json_lines(tmp_path: Path) -> None:
    rows = [
        {"path": "a.wav", "label": "sad", "speaker": "x", "age": 51, "native": True},
        {"path": "b.wav", "label": "sad", "speaker": "y", "age": 0.5},
        {"path": "c.wav", "label": "sad", "speaker": "y", "age": None},
    ]
    path = table(tmp_path, "\n".join(map(json.dumps, rows)), "jsonl")
    found = told("table", path, attributes=["age", "native"])
    assert found == {"a": {"age": "51", "native": "true"}, "b": {"age": "0.5"}, "c": None}


def test_further_keys_of_emobox(tmp_path: Path) -> None:
    folder, _ = copies.emobox(tmp_path / "clone")
    assert set(map(str, told("emobox", folder, attributes="dataset,channel").values())) == {
        "{'dataset': 'mine', 'channel': '1'}"
    }
    with pytest.raises(CorpusError, match=r"option attributes: no column 'chanel'\. Did you mean 'channel'"):
        told("emobox", folder, attributes="chanel")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("sx", r"option attributes: no column 'sx'\. Did you mean 'sex'"),
        ("age", r"no column 'age'\. Did you mean 'Age'"),
        ("empty", r"column 'empty' holds nothing in any row"),
        ("sex,sex", r"expected different names of columns with commas, found 'sex,sex'"),
        ("sex,", r"expected different names of columns"),
        ("", r"expected different names of columns"),
        ("speaker", r"'speaker' is a column with a meaning of its own"),
        ("sex,content", r"'content' is a column with a meaning of its own"),
    ],
)
def test_columns_that_cannot_be_kept(tmp_path: Path, given: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        told("table", table(tmp_path), attributes=given)


@pytest.mark.parametrize("value", [[1], {"a": 1}, 10**30])
def test_json_that_is_no_text(tmp_path: Path, value: object) -> None:
    row = json.dumps({"path": "a.wav", "label": "sad", "speaker": "x", "age": value})
    with pytest.raises(CorpusError, match="row 1, column 'age': expected a text or a number"):
        told("table", table(tmp_path, row, "jsonl"), attributes="age")


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"sex": ""}, "not empty"),
        ({"": "x"}, "not empty"),
        ({"sex": 1}, "texts"),
        ({"label": "x"}, "'label' is a key of its own"),
    ],
)
def test_what_no_attribute_can_be(attributes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Utterance("a", "a.wav", "sad", "x", attributes=attributes)


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(CorpusError, match="no UTF-8"):
        Manifest("c", ("sad",), "/", (Utterance("a", "a.wav", "sad", "x", attributes={"sex": "\ud800"}),))


def manifest(attributes: dict[str, str] | None) -> Manifest:
    items = [Utterance(name, f"{name}.wav", "sad", "x", attributes=attributes) for name in "ab"]
    return Manifest("c", ("sad", "glad"), "/", tuple(items))


def test_a_manifest_keeps_them_and_its_hashes_do_not_change(tmp_path: Path) -> None:
    plain, told_of = manifest(None), manifest({"sex": "f"})
    path = tmp_path / "manifest.jsonl"
    told_of.write(path)
    assert Manifest.read(path) == told_of
    plain.write(path)
    assert "attributes" not in path.read_text(), "as earlier versions wrote it"
    assert told_of.sha256() == plain.sha256()
    assert manifest_sha256(told_of) == manifest_sha256(plain)
    # what the version before attributes gave for it
    assert plain.sha256() == "345205110abe25dd72f5020fa5f33a2b552649f8d943820db9de1ff033ea9a8a"
    assert manifest_sha256(plain) == "f7f28e203b4ae0756040760b8e03523e472ccb59e047fc54c21e7abc93a1390d"


def test_their_own_hash_ties_them_to_a_run() -> None:
    folds = Folds("strict", ())
    plain, told_of = manifest(None), manifest({"sex": "f"})
    assert set(seal(plain, folds)) == {"manifest_sha256", "folds_sha256"}, "runs of earlier versions"
    check_attributes(seal(plain, folds), plain, "m", "run.json")
    check_attributes(seal(told_of, folds), told_of, "m", "run.json")
    check_attributes(None, told_of, "m", "run.json")
    other = told_of.with_utterances(dataclasses.replace(item, attributes={"sex": "m"}) for item in told_of.utterances)
    for made, now in ((told_of, other), (told_of, plain), (plain, told_of)):
        with pytest.raises(RunError, match=r"m: the attributes are not those that run\.json was made with"):
            check_attributes(seal(made, folds), now, "m", "run.json")
