"""What an audit compares: the parts of a fold, and what an upstream was pretrained on, as sets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.protocols._likeness import Facts, Stretches


@dataclass(frozen=True)
class Part:
    """A part of a fold: its utterances, and what others are looked up in."""

    items: tuple[Facts, ...]
    ids: frozenset[str]
    speakers: frozenset[str]  # those that are known
    sounds: frozenset[str]
    roots: frozenset[str]
    texts: frozenset[str]
    stretches: Stretches

    @classmethod
    def of(cls, found: Iterable[Facts]) -> Part:
        items = tuple(found)
        return cls(
            items,
            frozenset(item.id for item in items),
            frozenset(item.speaker for item in items if item.speaker),
            frozenset(item.sound for item in items if item.sound is not None),
            frozenset(item.root for item in items),
            frozenset(item.text for item in items if item.text),
            Stretches(items),
        )


@dataclass(frozen=True)
class Heard:
    """What an upstream was pretrained on."""

    sounds: frozenset[str]
    speakers: frozenset[str]

    @classmethod
    def of(cls, manifest: Manifest) -> Heard:
        sounds = (item.sound for item in manifest.utterances)
        return cls(frozenset(item for item in sounds if item is not None), frozenset(manifest.speakers))
