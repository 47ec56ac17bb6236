"""Words in one spelling, word error rates of known texts, and what sentences tell of labels."""

from __future__ import annotations

import math
import sys

import pytest
from sklearn.metrics import mutual_info_score

from s3prl_emotion.text.mutual_information import text_information
from s3prl_emotion.text.transcripts import normalise_words, word_error_rate, word_errors


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's eleven o'clock.", ["it's", "eleven", "o'clock"]),
        ("It’s ELEVEN  o’clock!", ["it's", "eleven", "o'clock"]),
        ("Das schwarze Stück Papier, da oben?", ["das", "schwarze", "stück", "papier", "da", "oben"]),
        ("Straße", ["strasse"]),
        ("'quoted' -- 12 ﬁsh", ["quoted", "12", "fish"]),
        (" ... ", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert normalise_words(text) == expected


@pytest.mark.parametrize("library", ["editdistance", "rapidfuzz"])
@pytest.mark.parametrize(
    ("reference", "heard", "errors"),
    [
        ("the surface is slick", "The surface is slick.", 0),
        ("the surface is slick", "the face is slick", 1),  # one substituted
        ("the surface is slick", "surface is very slick", 2),  # one deleted, one inserted
        ("the surface is slick", "", 4),
        ("no", "yes it is", 3),
    ],
)
def test_word_errors(reference: str, heard: str, errors: int, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both libraries count alike: editdistance has no wheel for Python 3.13."""
    if library == "rapidfuzz":
        monkeypatch.setitem(sys.modules, "editdistance", None)
    pytest.importorskip(library)
    assert word_errors(reference, heard) == (errors, len(reference.split()))


def test_the_rate_weighs_texts_by_their_words() -> None:
    pairs = [("the surface is slick", "the face is slick"), ("no", "yes it is")]
    assert word_error_rate(pairs) == (1 + 3) / 5
    assert word_error_rate([]) is None
    assert word_error_rate([("...", "anything")]) is None


def test_information_is_scikit_learns_less_its_bias() -> None:
    labels = ["a", "a", "a", "b", "b", "b", "a", "b"] * 3
    texts = ["One.", "one", "two", "two", "two", "one", "two", "One!"] * 3
    plain = [text.strip(".!").lower() for text in texts]
    bias = 1 / (2 * len(texts) * math.log(2))
    found = text_information(texts, labels)
    assert found.bits == pytest.approx(max(0.0, mutual_info_score(plain, labels) / math.log(2) - bias))
    assert found.sentences == 2
    assert found.label_bits == pytest.approx(1.0)


def test_every_sentence_in_every_emotion_is_chance() -> None:
    texts = [sentence for sentence in ("one", "two", "three") for _ in range(20)]
    found = text_information(texts, ["a", "b", "c", "d"] * 15)
    assert found.bits == 0.0
    assert found.is_chance
    assert "text alone is at chance" in found.remark()


def test_a_sentence_of_its_own_for_each_emotion_is_not() -> None:
    found = text_information(["good", "bad"] * 30, ["a", "b"] * 30)
    assert found.bits == pytest.approx(1 - 1 / (120 * math.log(2)))
    assert not found.is_chance
    assert "chance" not in found.remark()


def test_texts_that_are_never_said_twice_tell_nothing_either_way() -> None:
    found = text_information([f"sentence {number}" for number in range(40)], ["a", "b"] * 20)
    assert not found.is_chance
    assert found.remark() == ""
