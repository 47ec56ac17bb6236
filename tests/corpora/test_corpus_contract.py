"""Every registered corpus keeps the promises of a reader, on a small copy in its own layout (``copies.py``)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from corpora.copies import COPIES, Copy
from s3prl_emotion.corpora import Corpus, Manifest, corpora
from s3prl_emotion.errors import CorpusError, ProtocolError
from s3prl_emotion.protocols import make_folds, protocols

NAMES = corpora.names()
every_corpus = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def copy(name: str, tmp_path: Path) -> Copy:
    if name not in COPIES:
        pytest.fail(f"corpus {name} is held to nothing: fabricate a small copy of it in tests/corpora/copies.py")
    return COPIES[name](tmp_path / "data")


def read(name: str, copy: Copy) -> Manifest:
    return corpora.get(name).read(copy[0], **copy[1])


def test_no_copy_is_left_over() -> None:
    assert set(COPIES) <= set(NAMES)


@every_corpus
def test_what_is_read(name: str, copy: Copy) -> None:
    corpus, manifest = corpora.get(name), read(name, copy)
    assert len(manifest.utterances) >= 6
    assert {item.label for item in manifest.utterances} <= set(manifest.labels)
    assert not corpus.labels or manifest.labels == tuple(label for label in corpus.labels if label in manifest.labels)
    assert manifest.nameless == 0
    assert len(manifest.speakers) >= 2
    for item in manifest.utterances:
        path = PurePosixPath(item.path)
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert item.content is None, "a reader decodes no audio"
        assert item.soft is None or set(item.soft) <= set(manifest.labels)
    assert len({(item.path, item.start_s) for item in manifest.utterances}) == len(manifest.utterances)


@every_corpus
def test_attributes(name: str, copy: Copy) -> None:
    """What a corpus says that it tells is told, of every utterance."""
    corpus, manifest = corpora.get(name), read(name, copy)
    if corpus.attributes:
        assert manifest.attributes == tuple(sorted(corpus.attributes))
        assert all(set(item.attributes or ()) == set(corpus.attributes) for item in manifest.utterances)


@every_corpus
def test_counts(name: str, copy: Copy) -> None:
    """A part of a corpus is known for one; where nothing is known of a complete copy, nothing is said."""
    corpus, manifest = corpora.get(name), read(name, copy)
    difference = corpus.difference(manifest)
    assert bool(difference) == (corpus.count is not None and corpus.count != len(manifest.utterances))
    if difference:
        assert f"{len(manifest.utterances)} utterances, expected {corpus.count}" in difference
    assert sum(manifest.counts().values()) == len(manifest.utterances)
    if corpus.speaker_counts:
        assert set(manifest.speakers) <= set(corpus.speaker_counts)


@every_corpus
def test_folds(name: str, copy: Copy) -> None:
    """Folds are given to all or none, are those that the corpus says, and the default protocol accepts them."""
    corpus, manifest = corpora.get(name), read(name, copy)
    given = {item.fold for item in manifest.utterances}
    assert given == {None} or None not in given
    if corpus.folds is not None:
        assert given == set(range(1, corpus.folds + 1))
    assert not corpus.fold_counts or given == set(corpus.fold_counts)
    protocol = protocols.get(corpus.default_protocol)
    folds = make_folds(manifest, protocol)
    assert sorted(name for fold in folds.folds for name in fold.test) == sorted(manifest.by_id)


@every_corpus
def test_every_protocol_divides_or_refuses(name: str, copy: Copy) -> None:
    manifest = read(name, copy)
    for protocol in protocols.names():
        with contextlib.suppress(ProtocolError):
            make_folds(manifest, protocol)


@every_corpus
def test_reading_is_repeatable_and_leaves_no_trace(name: str, copy: Copy, tmp_path: Path, monkeypatch) -> None:
    before = tree(tmp_path)
    first = read(name, copy)
    assert read(name, copy) == first
    assert corpora.get(name).read(str(copy[0]), **copy[1]) == first
    monkeypatch.chdir(tmp_path)
    assert corpora.get(name).read(copy[0].relative_to(tmp_path), **copy[1]) == first
    assert tree(tmp_path) == before


@every_corpus
def test_the_order_does_not_depend_on_the_file_systems(name: str, copy: Copy, monkeypatch) -> None:
    first = read(name, copy)
    listdir, scandir = os.listdir, os.scandir

    class Reversed:
        def __init__(self, path: str = ".") -> None:
            with scandir(path) as entries:
                self.entries = iter(sorted(entries, key=lambda entry: entry.name, reverse=True))

        def __iter__(self) -> Iterator[os.DirEntry]:
            return self.entries

        def __next__(self) -> os.DirEntry:
            return next(self.entries)

        def __enter__(self) -> Reversed:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def close(self) -> None:
            pass

    monkeypatch.setattr(os, "listdir", lambda path=".": sorted(listdir(path), reverse=True))
    monkeypatch.setattr(os, "scandir", Reversed)
    assert read(name, copy) == first


@every_corpus
def test_a_manifest_survives_its_file(name: str, copy: Copy, tmp_path: Path) -> None:
    manifest = read(name, copy)
    manifest.write(tmp_path / "manifest.jsonl")
    assert Manifest.read(tmp_path / "manifest.jsonl") == manifest


@every_corpus
def test_an_empty_folder_is_not_the_corpus(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=r"(?i)expected"):
        corpora.get(name).read(tmp_path / "empty")


@every_corpus
def test_every_option_is_named_where_one_is_wrong(name: str, copy: Copy) -> None:
    corpus: Corpus = corpora.get(name)
    with pytest.raises(CorpusError) as caught:
        corpus.read(copy[0], no_such_option=".")
    assert all(option in str(caught.value) for option in corpus.options)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
