"""Words of a text in one spelling, and how many of them a recogniser got wrong."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

NORMALISATION = "Unicode NFKC, case folded, split at everything but letters, digits, marks and apostrophes within words"
"""What is done to both texts before words are compared."""
_APOSTROPHES = "'’ʼ"


def normalise_words(text: str) -> list[str]:
    """The words of a text, normalised as :data:`NORMALISATION` says."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = "".join(
        "'" if letter in _APOSTROPHES else letter if unicodedata.category(letter)[0] in "LNM" else " "
        for letter in folded
    )
    return [word for word in (part.strip("'") for part in kept.split()) if word]


def word_errors(reference: str, heard: str) -> tuple[int, int]:
    """Substitutions, deletions and insertions that make ``reference`` of ``heard``, and the words of ``reference``."""
    try:
        from editdistance import eval as distance
    except ImportError:  # it has no wheel for Python 3.13
        from rapidfuzz.distance.Levenshtein import distance

    expected, found = normalise_words(reference), normalise_words(heard)
    return int(distance(expected, found)), len(expected)


def word_error_rate(pairs: Iterable[tuple[str, str]]) -> float | None:
    """Word error rate over pairs of reference and hypothesis: summed errors / summed words of the references.

    It may be above 1; None where the references have no word.
    """
    counts = [word_errors(reference, heard) for reference, heard in pairs]
    total = sum(count for _, count in counts)
    return sum(errors for errors, _ in counts) / total if total else None
