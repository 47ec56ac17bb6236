"""Parts of a fold and pretraining data as sets, for the audit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.protocols.matching import Stretches, UtteranceKeys, speaker_of


@dataclass(frozen=True)
class FoldPart:
    """A part of a fold: its utterances, and what others are looked up in."""

    items: tuple[UtteranceKeys, ...]
    ids: frozenset[str]
    speakers: frozenset[str]  # those that are known
    sounds: Mapping[str, str]  # to the id of the first utterance that has it; so of roots
    roots: Mapping[str, str]
    texts: frozenset[str]
    stretches: Stretches

    @classmethod
    def of(cls, found: Iterable[UtteranceKeys]) -> FoldPart:
        items = tuple(found)
        backwards = items[::-1]
        return cls(
            items,
            frozenset(item.id for item in items),
            frozenset(item.speaker for item in items if item.speaker),
            {item.sound: item.id for item in backwards if item.sound is not None},
            {item.root: item.id for item in backwards},
            frozenset(item.text for item in items if item.text),
            Stretches(items),
        )


@dataclass(frozen=True)
class PretrainingPart:
    """What an upstream was pretrained on."""

    sounds: Mapping[str, str]  # to the id of an utterance that has it
    speakers: frozenset[str]

    @classmethod
    def of(cls, manifest: Manifest) -> PretrainingPart:
        sounds = {item.sound: item.id for item in manifest.utterances if item.sound is not None}
        return cls(sounds, frozenset(filter(None, map(speaker_of, manifest.utterances))))


def voices(known: Iterable[UtteranceKeys]) -> list[tuple[UtteranceKeys, UtteranceKeys]]:
    """Pairs of utterances of one recording whose speakers have different names: one of the two is wrong, or the two are
    one person. One pair of each two names and recording."""
    by_sound: dict[str, dict[str, UtteranceKeys]] = {}
    for item in known:
        if item.sound is not None and item.speaker:
            by_sound.setdefault(item.sound, {}).setdefault(item.speaker, item)
    return [pair for items in by_sound.values() for pair in combinations(items.values(), 2)]
