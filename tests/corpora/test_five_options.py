"""Options of the five-corpora reader: neutral as an eighth class, and folds that are corpora."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpora import copies
from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora.combined import FIVE_PARTS, LABELS
from s3prl_emotion.errors import CorpusError
from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.split import make_folds


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copies.five(tmp_path_factory.mktemp("five"))[0]


def test_neutral_is_the_last_class(root: Path) -> None:
    usual, more = corpora.get("five").read(root), corpora.get("five").read(root, neutral="include")
    assert more.labels == (*LABELS, "neutral")
    assert more.corpus == "five_with_neutral"
    assert [item.id for item in more.utterances if item.label != "neutral"] == [item.id for item in usual.utterances]
    assert {item.corpus for item in more.utterances if item.label == "neutral"} == set(FIVE_PARTS)


def test_folds_are_corpora_without_what_one_alone_has(root: Path) -> None:
    manifest = corpora.get("five").read(root, folds="corpora")
    assert "calm" not in manifest.labels
    assert {item.corpus: item.fold for item in manifest.utterances} == {p: k for k, p in enumerate(FIVE_PARTS, start=1)}
    folds = make_folds(manifest, protocols.get("cross"))
    by_id = manifest.by_id
    for fold, part in zip(folds.folds, FIVE_PARTS, strict=True):
        assert {by_id[item].corpus for item in fold.test} == {part}
        assert part not in {by_id[item].corpus for item in (*fold.train, *fold.dev)}


@pytest.mark.parametrize(
    ("option", "message"),
    [({"neutral": "yes"}, "option neutral: expected exclude or include"), ({"folds": "sessions"}, "option folds")],
)
def test_wrong_options(root: Path, option: dict[str, str], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        corpora.get("five").read(root, **option)
