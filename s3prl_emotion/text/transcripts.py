"""Transcripts: their file, and their word error rate."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from s3prl_emotion.config import from_mapping
from s3prl_emotion.corpora.manifest import is_encodable, json_object
from s3prl_emotion.errors import ConfigError, CorpusError

D = TypeVar("D")
FORMAT = "s3prl-emotion transcription"
VERSION = 1
PATTERN = "asr-*.jsonl"
"""How such files are called beside a manifest: ``asr-whisper-base.jsonl``."""


@dataclass(frozen=True)
class Header:
    """By what the texts were made."""

    format: str
    version: int
    model: str  # a Hub id, or the last part of a path
    model_sha256: str  # of its files with their names
    kind: str  # ctc or seq2seq
    revision: str | None = None  # the commit, of a Hub id
    language: str | None = None  # that was told to the model


@dataclass(frozen=True)
class TranscriptRow:
    """One utterance."""

    id: str
    text: str
    content: str | None = None  # fingerprint of the waveform that was heard


@dataclass(frozen=True)
class Transcription:
    """What a file holds."""

    path: Path
    header: Header | None  # None of a file that somebody wrote by hand: rows alone
    rows: Mapping[str, TranscriptRow]
    whole_bytes: int  # up to the end of the last whole line

    @property
    def model(self) -> str | None:
        """By which recogniser."""
        return None if self.header is None else self.header.model

    @property
    def model_sha256(self) -> str | None:
        """Of its files."""
        return None if self.header is None else self.header.model_sha256


def read_transcription(path: Path, torn: bool = False) -> Transcription:
    """Read a file of transcriptions, or of rows with ``id`` and ``text`` alone.

    Args:
        path: the file
        torn: leave out a last line that is not whole, as a writer that was killed leaves it

    Raises:
        CorpusError: naming file, line and key
    """
    try:
        content = path.read_bytes()
        end = content.rfind(b"\n") + 1 if torn else len(content)
        lines = content[:end].decode("utf-8").removesuffix("\n").split("\n") if end else []
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not transcriptions: not UTF-8 text ({error})") from error
    header: Header | None = None
    rows: dict[str, TranscriptRow] = {}
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        given = json_object(line, where)
        if number == 1 and "format" in given:
            header = _header(given, where)
            continue
        row = _typed(TranscriptRow, given, where)
        if row.id in rows:
            raise CorpusError(f"{where}: {row.id!r} is there twice")
        if not is_encodable(row.text):
            raise CorpusError(f"{where}: the text of {row.id!r} is no UTF-8 (half a surrogate pair)")
        rows[row.id] = row
    if not torn and not rows:
        raise CorpusError(f"{path}: holds no transcription")
    return Transcription(path, header, rows, end)


def _header(given: dict[str, Any], where: str) -> Header:
    if given.get("format") != FORMAT or given.get("version") != VERSION:
        raise CorpusError(
            f"{where}: expected format {FORMAT!r} in version {VERSION}, found {given.get('format')!r} in "
            f"{given.get('version')!r}"
        )
    return _typed(Header, given, where)


def _typed(kind: type[D], given: dict[str, Any], where: str) -> D:
    try:
        return from_mapping(kind, given, where)
    except ConfigError as error:
        raise CorpusError(str(error)) from error


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
