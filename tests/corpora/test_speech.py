"""Speech with speakers from any place: patterns, tables, manifests, corpora."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.corpora.manifest import UNLABELLED
from s3prl_emotion.corpora.speech import SpeechSource, united
from s3prl_emotion.errors import CorpusError


def _files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def _read(text: str | Path) -> Manifest:
    return SpeechSource.parse(str(text)).read()


@pytest.mark.parametrize(
    ("pattern", "files", "speakers"),
    [
        ("{speaker}/*/{utterance}.flac", ("19/198/19-198-0000.flac", "26/495/26-495-0001.FLAC"), ["19", "26"]),
        (
            "{speaker}/*/{utterance}.wav",
            ("id1/a/00001.wav", "id1/b/00001.wav", "id2/a/00001.wav"),
            ["id1", "id1", "id2"],
        ),
        ("{speaker}_{utterance}.wav", ("p1_a_b.wav", "p2_c.wav"), ["p1", "p2"]),
        ("**/{speaker}-*.flac", ("7-1.flac", "a/b/8-2-3.flac"), ["7", "8"]),
        ("{speaker}/{speaker}-*.flac", ("7/7-1.flac", "7/8-1.flac"), ["7"]),
        ("{speaker}/*", ("a/x.wav", "a/y.mp3", "a/notes.txt", ".git/z.wav"), ["a", "a"]),
        ("x/[1]/{speaker}/{utterance}.wav", ("x/[1]/q/u.wav", "x/1/r/u.wav"), ["q"]),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, files: tuple[str, ...], speakers: list[str]) -> None:
    found = _read(_files(tmp_path, *files) / pattern)
    assert [item.speaker for item in found.utterances] == speakers
    assert {item.label for item in found.utterances} == {UNLABELLED}
    assert all(found.path_of(item).is_file() for item in found.utterances)
    assert len({item.id for item in found.utterances}) == len(found.utterances)


def test_a_pattern_starts_at_its_first_folder_without_one(tmp_path: Path) -> None:
    _files(tmp_path, "data/spk/1.wav")
    source = SpeechSource.parse(f"{tmp_path}/data/{{speaker}}/{{utterance}}.wav")
    assert (source.name, source.place, source.pattern) == ("data", tmp_path / "data", "{speaker}/{utterance}.wav")
    assert SpeechSource.parse(f"mine={tmp_path}/data/{{speaker}}/{{utterance}}.wav").name == "mine"
    assert [item.id for item in source.read().utterances] == ["spk/1"]


def test_a_table_needs_no_labels(tmp_path: Path) -> None:
    table = tmp_path / "talks.csv"
    table.write_text("path,speaker,label,start_s,end_s\na.wav,anna,,0,2\na.wav,bert,joy,2,4\n")
    found = _read(table)
    assert found.corpus == "talks"
    assert [(item.speaker, item.label, item.start_s) for item in found.utterances] == [
        ("anna", UNLABELLED, 0.0),
        ("bert", "joy", 2.0),
    ]
    table.write_text("path,speaker\na.wav,anna\n")
    assert _read(table).labels == (UNLABELLED,)


def test_a_prepared_folder_and_its_manifest(tmp_path: Path) -> None:
    items = tuple(Utterance(f"u{number}", f"{number}.wav", "hap", "" if number == 2 else "s") for number in range(3))
    Manifest("mine", ("hap", "sad"), str(tmp_path), items).write(tmp_path / "manifest.jsonl")
    for place in (tmp_path, tmp_path / "manifest.jsonl"):
        assert [item.id for item in _read(place).utterances] == ["u0", "u1"]  # who speaks in u2 is not known


def test_a_corpus_is_read_by_its_reader(demo_root: Path, demo_manifest: Manifest) -> None:
    source = SpeechSource.parse(f"demo={demo_root}")
    assert source.corpus == "demo"
    assert source.read() == demo_manifest


def test_sources_together_have_speakers_of_their_own(tmp_path: Path) -> None:
    one = Manifest("x", ("hap",), str(tmp_path / "x"), (Utterance("1", "1.wav", "hap", "7", fold=3),))
    two = dataclasses.replace(one, root=str(tmp_path / "y"), labels=("sad", "hap"))
    found = united([("a", one), ("b", two)])
    assert [item.id for item in found.utterances] == ["a/1", "b/1"]
    assert found.speakers == ("a:7", "b:7")
    assert [item.corpus for item in found.utterances] == ["a", "b"]
    assert [item.fold for item in found.utterances] == [None, None]
    assert [found.path_of(item) for item in found.utterances] == [tmp_path / "x/1.wav", tmp_path / "y/1.wav"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names nothing"),
        ("emodb4", "where is this corpus?"),
        ("{here}/nowhere", "no such file or folder"),
        ("{here}", "a folder without a manifest.jsonl"),
        ("{here}/*/{{utterance}}.wav", "does not say where the speaker's name is"),
        ("{here}/{{spaeker}}/*.wav", "unknown part {spaeker}. Did you mean 'speaker'?"),
        ("{here}/{{speaker/*.wav", "a brace without its other half"),
        ("{here}/{{speaker}}/*.flac", "matches none of 0 audio files"),
        ("{here}/{{speaker}}/*/*.wav", "matches none of 1 audio files below {here}, such as spk/1.wav"),
        ("{here}/nowhere/{{speaker}}.wav", "no folder {here}/nowhere"),
        ("{here}/nobody.jsonl", "not known who speaks in any of 1 utterances"),
        ("{here}/silent.csv", "no column 'speaker'"),
        ("{here}/half.csv", "not known who speaks in any of 1 utterances"),
        ("{here}/spk/1.wav", "unknown kind of table"),
        ("emodb4={here}/nowhere", "Corpus emodb4 expects"),
    ],
)
def test_what_is_no_speech_with_speakers(tmp_path: Path, text: str, says: str) -> None:
    _files(tmp_path, "spk/1.wav")
    Manifest("m", ("hap",), str(tmp_path), (Utterance("u", "u.wav", "hap", ""),)).write(tmp_path / "nobody.jsonl")
    (tmp_path / "silent.csv").write_text("path,text\na.wav,hello\n")
    (tmp_path / "half.csv").write_text("path,speaker\na.wav,\n")
    with pytest.raises(CorpusError) as error:
        _read(text.format(here=tmp_path))
    assert says.replace("{here}", str(tmp_path)) in str(error.value)
