"""What holds for every corpus."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from s3prl_emotion import corpora as corpora_package
from s3prl_emotion.cli import main
from s3prl_emotion.corpora import Corpus, Manifest, Utterance, corpora
from s3prl_emotion.errors import ConfigError, CorpusError
from s3prl_emotion.protocols import protocols

NAMES = corpora.names()


def test_names():
    """Every public file of the folder registers at least one, and the demo is there."""
    folder = Path(corpora_package.__file__).parent
    others = {"labels", "manifest", "official", "speech", "spelling", "validation"}
    modules = {path.stem for path in folder.glob("[a-z]*.py")} - others
    assert {corpora.get(name).reader.__module__.rpartition(".")[2] for name in NAMES} == modules
    assert "demo" in NAMES
    with pytest.raises(ConfigError, match="Did you mean 'iemocap'"):
        corpora.get("iemocp")


@pytest.mark.parametrize("name", NAMES)
def test_facts(name):
    corpus = corpora.get(name)
    assert corpus.name == name
    assert corpus.licence
    assert corpus.citation
    assert corpus.source
    assert "://" not in corpus.licence + corpus.citation + corpus.source
    assert corpus.default_protocol in protocols.names()
    assert not corpus.counts or set(corpus.counts) == set(corpus.labels)
    assert not corpus.fold_counts or sum(corpus.fold_counts.values()) == corpus.count
    assert not corpus.fold_counts or len(corpus.fold_counts) == corpus.folds
    assert not corpus.speaker_counts or sum(corpus.speaker_counts.values()) == corpus.count
    assert not corpus.counts or corpus.speaker_count


@pytest.mark.parametrize("name", NAMES)
def test_wrong_root_and_wrong_option(name, tmp_path):
    with pytest.raises(CorpusError, match=f"absent: no such file or folder. Corpus {name} expects"):
        corpora.get(name).read(tmp_path / "absent")
    with pytest.raises(CorpusError, match=r"(?i)expected"):
        corpora.get(name).read(tmp_path)
    with pytest.raises(CorpusError, match=f"corpus {name}: unknown option 'colour'"):
        corpora.get(name).read(tmp_path, colour=".")


@pytest.mark.parametrize(
    ("name", "count", "classes", "speakers", "folds"),
    [
        ("cremad", 7442, 6, 91, None),
        ("savee", 480, 7, 4, 4),
        ("tess", 2800, 7, 2, 2),
        ("ravdess", 1440, 8, 24, 6),
        ("emodb", 535, 7, 10, 5),
        ("iemocap", 5531, 4, 10, 5),
    ],
)
def test_published_sizes(name, count, classes, speakers, folds):
    corpus = corpora.get(name)
    assert (corpus.count, len(corpus.labels), corpus.speaker_count, corpus.folds) == (count, classes, speakers, folds)


def test_differences_are_few_and_in_order():
    expected = Corpus("mine", lambda root: None, ("a",), "", "", "", "", {"a": 14}, {1: 7, 2: 7}, {})
    expected = dataclasses.replace(expected, speaker_counts=dict.fromkeys("stuvwxy", 2))
    few = Manifest("mine", ("a",), "/", tuple(Utterance(f"s{k}", "p", "a", "s", fold=1) for k in range(2)))
    assert expected.difference(few) == (
        "not the complete mine corpus: 2 utterances, expected 14 (a 2 of 14; fold 1 2 of 7; fold 2 0 of 7; "
        "speaker t 0 of 2; speaker u 0 of 2; speaker v 0 of 2; speaker w 0 of 2; speaker x 0 of 2; 1 more). "
        "Results are not comparable with published ones"
    )
    counted = dataclasses.replace(expected, counts={}, fold_counts={}, speaker_counts={}, speakers=2)
    assert "2 utterances (speakers 1 of 2). Results" in counted.difference(few)
    assert dataclasses.replace(counted, speakers=None).difference(few) == ""


def test_copies_of_a_complete_corpus_leave_it_complete():
    expected = Corpus("mine", lambda root: None, ("a",), "", "", "", "", {"a": 1}, {1: 1}, {})
    whole = Manifest("mine", ("a",), "/", (Utterance("s0", "p", "a", "s", fold=1),))
    copy = dataclasses.replace(whole.utterances[0], id="s0~1", source="s0", augmentation=({"name": "gain"},))
    assert expected.difference(whole) == ""
    assert expected.difference(whole.with_utterances((*whole.utterances, copy))) == ""
    assert "2 utterances, expected 1" in expected.difference(
        whole.with_utterances((*whole.utterances, dataclasses.replace(copy, augmentation=None)))
    )


def test_list_is_one_aligned_line_each(capsys):
    assert main(["ls", "corpora"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(NAMES)
    assert max(map(len, lines)) <= 120
    for word in (" utterances ", " classes ", " speakers ", " folds "):
        assert len({line.index(word) for line in lines}) == 1
    ravdess = next(line for line in lines if line.startswith("ravdess"))
    expected = "ravdess 1440 utterances 8 classes 24 speakers 6 folds strict CC BY-NC-SA 4.0"
    assert " ".join(ravdess.split()) == expected


def test_counts():
    assert corpora.get("iemocap").count == 5531
    assert corpora.get("emodb").count == 535
    assert corpora.get("emodb4").count == 339
    assert corpora.get("table").count is None


def test_import_and_scan_are_light():
    code = (
        "import sys; from s3prl_emotion.corpora import corpora; from s3prl_emotion.protocols import protocols;"
        "corpora.names(); protocols.names(); sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
