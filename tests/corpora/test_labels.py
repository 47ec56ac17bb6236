"""One vocabulary for all corpora."""

from __future__ import annotations

import pytest

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora.iemocap import IEMOCAP_LABELS
from s3prl_emotion.corpora.labels import LABELS, canonical, renormalised
from s3prl_emotion.errors import CorpusError


@pytest.mark.parametrize(
    ("spellings", "name"),
    [
        ("ang anger Angry ANG", "angry"),
        ("hap happiness joy Happy", "happy"),
        ("sad sadness", "sad"),
        ("fear fea fearful", "fearful"),
        ("dis disgust", "disgust"),
        ("sur surprise ps pleasant_surprise Pleasant-Surprise", "surprised"),
        ("neu neutral neutral_state", "neutral"),
        ("boredom boredem bored", "bored"),
        ("exc excited", "excited"),
        ("fru frustration", "frustrated"),
        ("contempt", "contempt"),
        ("calm", "calm"),
    ],
)
def test_spellings(spellings, name):
    assert {canonical(label) for label in spellings.split()} == {name}


def test_every_corpus_has_canonical_names():
    assert tuple(sorted(LABELS)) == LABELS
    for name in corpora.names():
        labels = corpora.get(name).labels
        assert len({canonical(label) for label in labels}) == len(labels), name
    assert len({canonical(label) for label in IEMOCAP_LABELS.labels if label != "xxx"}) == 10


def test_unknown():
    with pytest.raises(
        CorpusError, match=r"mine: no canonical name is known for the label 'sadd'\. Did you mean 'sad'"
    ):
        canonical("sadd", "mine")


def test_renormalised():
    assert renormalised({"a": 3, "b": 1, "c": 4}, ("b", "a", "d")) == {"b": 0.25, "a": 0.75}
    assert renormalised({"c": 4, "a": 0}, ("a", "b")) is None
