"""The parts of a corpus' own division: what tables call them, and what they are called here."""

from __future__ import annotations

import re
from collections.abc import Sequence

from s3prl_emotion.errors import CorpusError

WORDS = {
    "train": ("train", "training"),
    "dev": ("dev", "devel", "development", "val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""What each part is called, in any case; ``test1``, ``test2``, ... are test parts of their own."""
_PART_OF = {word: part for part, words in WORDS.items() for word in words}


def part_of(text: str) -> str:
    """``train``, ``dev``, ``test`` or ``test<k>``; any other text as it is.

    Example:
        >>> [part_of(text) for text in ("Train", "validation", "Test 1", "test-02", "Pilot")]
        ['train', 'dev', 'test1', 'test2', 'Pilot']
    """
    word = "".join(letter for letter in text.casefold() if letter.isalnum())
    numbered = re.fullmatch(r"test(?:ing)?([0-9]{1,4})", word)
    return f"test{int(numbered[1])}" if numbered else _PART_OF.get(word, text.strip())


def is_part(part: str) -> bool:
    """Whether a part is one of an official division."""
    return part in WORDS or re.fullmatch(r"test[0-9]+", part) is not None


def wanted_parts(given: Sequence[str] | str | None, where: str) -> tuple[str, ...]:
    """The parts that an option names, with commas or as a list; none where it is not given.

    Raises:
        CorpusError: if it names nothing
    """
    if given is None:
        return ()
    parts = tuple(part_of(text) for text in (given.split(",") if isinstance(given, str) else given))
    if not all(parts):
        raise CorpusError(
            f"{where}: expected values of the column with commas, such as train,dev,test1, found {given!r}"
        )
    return parts
