"""One rule for names that are spelled in several ways, for the rows of all readers.

- **One for certain**: the same whole number (``1``, ``1.0``, ``+1``, ``1e+00``: what programs write of one number), and
  the same letters in another Unicode form (NFKC: accents, full-width forms), with other white space or invisible
  characters. Such names become one.
- **Maybe one**: what differs besides by case, leading zeros, separators, accents, letters that look alike, a word such
  as ``spk`` in front of a number, or the ways to write one (``A`` and ``a``, ``01`` and ``1``, ``spk-1`` and
  ``speaker01``, ``1e0`` and ``1``). Who is meant is for the user to say.
- **Unknown**: ``Unknown``, ``UNK``, ``n/a``, ``nan``, ``?``, ``-``, ``-1``, ``-99``, nothing: nobody knows who speaks.
  The speaker of such an utterance is the empty text.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from itertools import groupby

from s3prl_emotion.corpora.manifest import SPEAKERS_ARE, Manifest, Utterance
from s3prl_emotion.errors import CorpusError

logger = logging.getLogger(__name__)

SPEAKERS = ("named", "unknown", "merged", "distinct", "strangers")
"""What the option ``speakers`` of every corpus may say: nothing; that nobody knows who speaks; that names which may be
one person's are, or are not; that unknown speakers are none of those who are known."""
_SHOWN = 5
_CATEGORIES = 20  # an attribute with more values is no category
_NUMBER = re.compile(r"\+?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:e\+[0-9]{1,2})?", re.IGNORECASE)
_ANY_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]{1,2})?")
_FRACTION = re.compile(r"(?<=[0-9])[.,]0+$")
_PARTS = re.compile(r"([/:])")  # between a corpus' name and the speaker's
_WHO = "(?:speaker|spkr?|sprecher|subj(?:ect)?|actor|part(?:icipant)?|person|talker|user|voice|id|s|p)"
_UNKNOWN = re.compile(
    rf"{_WHO}?(?:unknown|unkn?|undefined|unidentified){_WHO}?|na|nan|none|null|nil|missing|notknown|notavailable|"
    r"unspecified|notspecified|anonymous|unbekannt|inconnue?|desconocid[oa]|sconosciut[oa]|неизвестно|未知|不明|"
)
_ALIKE = str.maketrans("аеорсухіјѕкмнтвαορυιντκχ", "aeopcyxijskmhtbaopuivtkx")  # Cyrillic and Greek letters


@functools.lru_cache(maxsize=1 << 16)
def certain(name: str) -> str:
    """What all spellings of a name share that are one for certain."""
    letters = unicodedata.normalize("NFKC", name)
    text = " ".join("".join(letter for letter in letters if unicodedata.category(letter) != "Cf").split())
    return _whole(text, _NUMBER) or text


@functools.lru_cache(maxsize=1 << 16)
def likely(name: str) -> str:
    """What all spellings of a name share that may be one. A corpus' name in front, as in ``demo/1``, stays apart."""
    parts = _PARTS.split(certain(name).casefold())
    return "".join(part if part in "/:" else _likely(part) for part in parts)


@functools.lru_cache(maxsize=1 << 16)
def is_unknown(speaker: str) -> bool:
    """Whether a speaker's name says that nobody knows who speaks."""
    text = certain(speaker).casefold()
    if re.fullmatch(r"-(1|9+)(\.0*)?", text):
        return True
    return _UNKNOWN.fullmatch("".join(letter for letter in text if letter.isalnum())) is not None


def doubtful(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Names that may be one, sorted, in groups of two or more."""
    groups: dict[str, set[str]] = {}
    for name in names:
        groups.setdefault(likely(name), set()).add(name)
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def settled(manifest: Manifest, speakers: str = "named", where: str = "") -> Manifest:
    """A manifest in which every name has one spelling, and unknown speakers have none.

    Args:
        manifest: as a reader gives it
        speakers: of :data:`SPEAKERS`, or several with commas
        where: what was read, for messages

    Returns:
        the manifest itself where there is nothing to settle. Of spellings that are one the shortest is taken

    Raises:
        CorpusError: if ``speakers`` says something else, or contradicts itself
    """
    said = _said(speakers, where)
    where = where or manifest.corpus
    known = [item.speaker for item in manifest.utterances if not is_unknown(item.speaker)]
    names = {} if "unknown" in said else _one(known, certain, "speakers", where)
    if "merged" in said:
        merged = _one([names.get(name, name) for name in known], likely, "speakers", where)
        names = {name: merged.get(names.get(name, name), names.get(name, name)) for name in {*known}}
    labels = _one((item.label for item in manifest.utterances), certain, "labels", where)
    sessions = _one((item.session for item in manifest.utterances if item.session), certain, "sessions", where)
    values = {
        attribute: found
        for attribute in manifest.attributes
        if (found := _one(_values(manifest, attribute), certain, f"values of {attribute}", where))
    }

    def settle(item: Utterance) -> Utterance:
        speaker = "" if "unknown" in said or is_unknown(item.speaker) else names.get(item.speaker, item.speaker)
        changes: dict[str, object] = {} if speaker == item.speaker else {"speaker": speaker}
        if item.label in labels:
            changes["label"] = labels[item.label]
        if item.session in sessions:
            changes["session"] = sessions[item.session]
        if labels and item.soft is not None and set(item.soft) & set(labels):
            votes = Counter[str]()
            for label, rate in item.soft.items():
                votes[labels.get(label, label)] += rate  # type: ignore[assignment]
            changes["soft"] = dict(votes)
        if item.attributes and any(values.get(key, {}).get(value) for key, value in item.attributes.items()):
            changes["attributes"] = {
                key: values.get(key, {}).get(value, value) for key, value in item.attributes.items()
            }
        return dataclasses.replace(item, **changes) if changes else item  # type: ignore[arg-type]

    items = tuple(settle(item) for item in manifest.utterances)
    _say_unknown(manifest, said, where)
    result = dataclasses.replace(
        manifest,
        utterances=items,
        labels=tuple(dict.fromkeys(labels.get(label, label) for label in manifest.labels)),
        speakers_are=tuple(word for word in SPEAKERS_ARE if word in said or word in manifest.speakers_are),
    )
    _say_doubtful(result, where)
    return result if result != manifest else manifest


def _said(speakers: str, where: str) -> set[str]:
    words = {word.strip() for word in str(speakers).split(",")}
    strange = sorted(words - set(SPEAKERS))
    if strange:
        expected = f"{', '.join(SPEAKERS[:-1])} or {SPEAKERS[-1]}"
        raise CorpusError(f"{where}: option speakers: expected {expected}, found {strange[0]!r}")
    for one, other in (("merged", "distinct"), ("unknown", "named"), *(("unknown", word) for word in SPEAKERS[2:])):
        if {one, other} <= words:
            raise CorpusError(f"{where}: option speakers: {one} and {other} contradict each other. Give one")
    return words


def _whole(text: str, pattern: re.Pattern[str]) -> str | None:
    """The digits of a whole number, however it is written; None for any other text."""
    if not pattern.fullmatch(text):
        return None
    number = Decimal(text)
    whole = number.to_integral_value()
    return f"{whole:f}" if number == whole else None


def _likely(text: str) -> str:
    letters = unicodedata.normalize("NFD", text)
    text = "".join(letter for letter in letters if not "\u0300" <= letter <= "\u036f").translate(_ALIKE)
    text = "".join(str(unicodedata.decimal(letter, letter)) for letter in text)
    if number := _whole(_FRACTION.sub("", text), _ANY_NUMBER):
        return number
    runs = ["".join(run) for kind, run in groupby(_FRACTION.sub("", text), _kind) if kind]
    joined = ""
    for run in runs:
        digits = run.isdecimal()
        joined += ("-" if digits and joined[-1:].isdecimal() else "") + (run.lstrip("0") or "0" if digits else run)
    return re.sub(rf"^{_WHO}(?=[0-9])", "", joined) or text


def _kind(letter: str) -> str:
    """Empty for what separates."""
    if letter.isdecimal():
        return "digit"
    return "letter" if letter.isalnum() or unicodedata.category(letter).startswith("M") else ""


def _values(manifest: Manifest, attribute: str) -> list[str]:
    return [
        item.attributes[attribute] for item in manifest.utterances if item.attributes and attribute in item.attributes
    ]


def _one(names: Iterable[str], key: Callable[[str], str], what: str, where: str) -> dict[str, str]:
    """From each spelling that gives way to the one that is taken; empty where every name has one spelling."""
    counts = Counter(names)
    groups: dict[str, list[str]] = {}
    for name in counts:
        groups.setdefault(key(name), []).append(name)
    taken: dict[str, str] = {}
    shown = []
    for spellings in groups.values():
        chosen, *others = sorted(spellings, key=lambda name: (len(name), not name.isascii(), name))
        taken.update(dict.fromkeys(others, chosen))
        if others:
            shown.append(" and ".join(f"{name!r} ({counts[name]})" for name in (chosen, *others)))
    if shown:
        logger.warning("%s: %s that are one, and are read as the first: %s", where, what, _listed(shown))
    return taken


def _say_unknown(manifest: Manifest, said: set[str], where: str) -> None:
    words = Counter(item.speaker for item in manifest.utterances if item.speaker and is_unknown(item.speaker))
    if words and "unknown" not in said:
        listed = ", ".join(f"{word!r} ({count})" for word, count in sorted(words.items()))
        logger.warning(
            "%s: speakers that are nobody's name, and are read as unknown: %s. A person of that name needs another",
            where,
            listed,
        )


def _say_doubtful(manifest: Manifest, where: str) -> None:
    """Names that may be one: of speakers, as long as nobody says what they are, and of attributes."""
    if "distinct" not in manifest.speakers_are:
        groups = doubtful(manifest.speakers)
        if groups:
            logger.warning("%s: %s", where, doubt(manifest, groups))
    for attribute in manifest.attributes:
        found = set(_values(manifest, attribute))
        groups = doubtful(found) + [
            (short, name)
            for short in sorted(found)
            for name in sorted(found)
            if len(short) == 1 and len(name) > 1 and name.isalpha() and name.casefold().startswith(short.casefold())
        ]
        if groups and len(found) <= _CATEGORIES:
            listed = _listed([" and ".join(map(repr, group)) for group in groups])
            logger.warning("%s: values of %s that may be one, and are read as several: %s", where, attribute, listed)


def doubt(manifest: Manifest, groups: Iterable[tuple[str, ...]]) -> str:
    """Names of speakers that may be one person's, with the number of utterances of each, and what to do."""
    counts: Mapping[str, int] = Counter(item.speaker for item in manifest.utterances)
    listed = _listed([" and ".join(f"{name!r} ({counts[name]})" for name in group) for group in groups])
    return (
        f"speakers' names that may be one person's: {listed}. Write them alike, or say what they are: --corpus-option "
        "speakers=merged (one person each) or speakers=distinct (different people)"
    )


def _listed(shown: list[str]) -> str:
    return "; ".join(shown[:_SHOWN]) + (f"; and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")
