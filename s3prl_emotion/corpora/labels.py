"""One vocabulary of emotions for all corpora, for combining them: every corpus' own spelling has one canonical name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from s3prl_emotion.errors import CorpusError, suggest

_SPELLINGS = {
    "amused": ("amusement",),
    "angry": ("ang", "anger", "wut"),
    "anxious": ("anxiety",),
    "apologetic": (),
    "assertive": (),
    "bored": ("boredom", "boredem", "bor"),
    "calm": (),
    "concerned": (),
    "confused": (),
    "contempt": ("con", "contemptuous"),
    "disgust": ("dis", "disgusted"),
    "encouraging": (),
    "enthusiastic": ("enthusiasm",),
    "excited": ("exc", "excitement"),
    "fearful": ("fea", "fear", "afraid"),
    "frustrated": ("fru", "frustration"),
    "happy": ("hap", "happiness", "joy", "joyful"),
    "neutral": ("neu", "neutral state"),
    "other": ("oth",),
    "sad": ("sadness",),
    "sarcastic": ("sarcasm",),
    "sleepy": ("sleepiness",),
    "surprised": ("sur", "surprise", "ps", "pleasant surprise"),
}
LABELS = tuple(_SPELLINGS)
"""The canonical names, sorted."""

_CANONICAL = {spelling: name for name, others in _SPELLINGS.items() for spelling in (name, *others)}


def canonical(label: str, where: str = "") -> str:
    """The canonical name of an emotion; case, underscores and hyphens do not matter.

    Args:
        label: any corpus' spelling
        where: what the label is from, put in front of the error message

    Raises:
        CorpusError: if no canonical name is known

    Example:
        >>> [canonical(label) for label in ("hap", "Sadness", "pleasant_surprise", "exc")]
        ['happy', 'sad', 'surprised', 'excited']
    """
    key = " ".join(label.casefold().replace("_", " ").replace("-", " ").split())
    if key not in _CANONICAL:
        prefix = f"{where}: " if where else ""
        raise CorpusError(f"{prefix}no canonical name is known for the label {label!r}. {suggest(key, LABELS)}")
    return _CANONICAL[key]


def renormalised(votes: Mapping[str, float], classes: Iterable[str]) -> dict[str, float] | None:
    """Votes as rates over the classes, summing to 1; votes for anything else are dropped, None if none is left.

    Args:
        votes: weight of each name, not negative, in any unit
        classes: the names to keep, in the order of the result
    """
    kept = {name: votes[name] for name in classes if votes.get(name, 0) > 0}
    total = sum(kept.values())
    return {name: weight / total for name, weight in kept.items()} if total else None
