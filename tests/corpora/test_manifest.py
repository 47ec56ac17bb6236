"""The manifest on disk and its errors."""

from __future__ import annotations

import dataclasses
import json

import pytest

from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.errors import CorpusError

UTTERANCES = (
    Utterance("a", "x/a.wav", "neu", "s1", session="1", fold=1, text="naïve \u2028 text", start_s=0.5, end_s=1.25),
    Utterance("b", "/abs/b.wav", "ang", "s2", fold=2, duration_s=1.5),
)


@pytest.fixture
def manifest():
    return Manifest("mine", ("neu", "ang"), "/corpus", UTTERANCES, {1: ("b",), 2: ("a",)})


def test_round_trip(manifest, tmp_path):
    path = tmp_path / "new" / "manifest.jsonl"
    manifest.write(path)
    assert Manifest.read(path) == manifest
    assert [item.name for item in path.parent.iterdir()] == ["manifest.jsonl"]
    assert len(path.read_text(encoding="utf-8").rstrip("\n").split("\n")) == 3
    assert Manifest.read(path, root="/other").root == "/other"


def test_paths_and_counts(manifest):
    assert str(manifest.path_of(UTTERANCES[0])) == "/corpus/x/a.wav"
    assert str(manifest.path_of(UTTERANCES[1])) == "/abs/b.wav"
    assert manifest.counts() == {"neu": 1, "ang": 1}
    assert manifest.speakers == ("s1", "s2")
    assert manifest.by_id["b"] is UTTERANCES[1]


def test_with_utterances_shortens_training_lists(manifest):
    kept = manifest.with_utterances(UTTERANCES[:1])
    assert kept.train_order == {1: (), 2: ("a",)}


def test_sha256_covers_what_matters_and_nothing_else(manifest):
    same = dataclasses.replace(manifest, root="/elsewhere")
    assert same.sha256() == manifest.sha256()
    longer = manifest.with_utterances(dataclasses.replace(item, duration_s=9.0) for item in UTTERANCES)
    assert longer.sha256() == manifest.sha256()
    for change in ({"label": "ang"}, {"speaker": "s9"}, {"fold": 3}, {"start_s": 0.25}):
        other = manifest.with_utterances((dataclasses.replace(UTTERANCES[0], **change), UTTERANCES[1]))
        assert other.sha256() != manifest.sha256(), change
    assert manifest.with_utterances(UTTERANCES[::-1]).sha256() != manifest.sha256()
    assert dataclasses.replace(manifest, train_order={}).sha256() != manifest.sha256()


def test_duplicate_ids():
    with pytest.raises(CorpusError, match="appear twice: a"):
        Manifest("mine", ("neu",), ".", (UTTERANCES[0], UTTERANCES[0]))


def test_duplicate_labels_and_unknown_training_ids():
    with pytest.raises(CorpusError, match="different class names"):
        Manifest("mine", ("neu", "neu"), ".", UTTERANCES)
    with pytest.raises(CorpusError, match="fold 1 names 'z'"):
        Manifest("mine", ("neu",), ".", UTTERANCES, {1: ("z",)})


@pytest.mark.parametrize(
    ("line", "change", "words"),
    [
        (2, {"lable": "neu"}, r"line 2: unknown key 'lable'. Did you mean 'label'"),
        (2, {"label": None}, r"line 2\.label: expected str, found None"),
        (2, {"fold": "one"}, r"line 2\.fold: expected int, found 'one'"),
        (3, {"end_s": -1.0}, r"line 3: end_s must be"),
        (2, {"end_s": 0.1}, r"line 2: end_s \(0.1\) must come after start_s \(0.5\)"),
        (3, {"id": ""}, "line 3: id is empty"),
        (3, {"id": "a"}, "twice: a"),
        (1, {"labels": "neu"}, "line 1: header key 'labels': expected list"),
        (1, {"schema": 9}, "line 1: header key 'schema': this version reads 1, found 9"),
        (1, {"corpsu": "x"}, "line 1: unknown header key 'corpsu'. Did you mean 'corpus'"),
        (1, {"count": 5}, "says 5 utterances, found 2"),
        (1, {"train_order": {"one": []}}, "line 1: header key 'train_order'"),
    ],
)
def test_errors_name_file_line_and_key(manifest, tmp_path, line, change, words):
    path = tmp_path / "m.jsonl"
    manifest.write(path)
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    lines[line - 1] = json.dumps({**json.loads(lines[line - 1]), **change})
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=words) as caught:
        Manifest.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "empty"), ("{", "line 1: not JSON"), ("[]\n", "line 1: expected a JSON object, found list")],
)
def test_files_that_are_no_manifest(tmp_path, content, words):
    (tmp_path / "m.jsonl").write_text(content)
    with pytest.raises(CorpusError, match=words):
        Manifest.read(tmp_path / "m.jsonl")
    with pytest.raises(CorpusError, match=r"absent\.jsonl: no such manifest"):
        Manifest.read(tmp_path / "absent.jsonl")


@pytest.mark.parametrize("name", ["id", "label", "speaker", "session", "text", "attributes"])
def test_texts_that_no_recording_has(manifest, tmp_path, name):
    long = "x" * 200_000
    changed = dataclasses.replace(UTTERANCES[0], **{name: {"group": long} if name == "attributes" else long})
    with pytest.raises(CorpusError, match=r"mine: .* has 200000 characters, expected at most") as caught:
        dataclasses.replace(manifest, utterances=(changed, UTTERANCES[1]))
    assert len(str(caught.value)) < 400
    with pytest.raises(CorpusError, match="has 200000 characters"):
        dataclasses.replace(manifest, corpus=long)
    with pytest.raises(CorpusError, match="has 200000 characters"):
        dataclasses.replace(manifest, labels=(*manifest.labels, long))
