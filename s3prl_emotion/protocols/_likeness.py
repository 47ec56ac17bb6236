"""When two utterances, or two speakers, may be the same."""

from __future__ import annotations

import bisect
import functools
import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from s3prl_emotion.corpora.manifest import Manifest, Utterance

Times = tuple[float, float]
_NEVER: Times = (-math.inf, -math.inf)


def root(manifest: Manifest, utterance: Utterance) -> str:
    """The id of the recording that an utterance goes back to: its own, if it was not made by augmentation."""
    seen = set()
    while utterance.source in manifest.by_id and utterance.id not in seen:
        seen.add(utterance.id)
        utterance = manifest.by_id[str(utterance.source)]
    return utterance.source or utterance.id


def spelling(speaker: str) -> str:
    """What is left of a speaker's name without case, spaces, leading zeros and the ways to encode an accent."""
    name = "".join(unicodedata.normalize("NFKC", speaker).casefold().split())
    return re.sub(r"(?<!\d)0+(?=\d)", "", name)


@dataclass(frozen=True)
class Facts:
    """What an audit compares of an utterance, found out once."""

    id: str
    speaker: str  # empty where it is not known
    text: str | None
    sound: str | None  # fingerprint of the waveform
    root: str  # the id of the recording that it goes back to
    file: str | None  # None where no other utterance lies in it
    times: tuple[float, float]


def facts(manifest: Manifest) -> dict[str, Facts]:
    """The facts of all utterances, by id."""
    files = {item.id: file_of(manifest, item) for item in manifest.utterances}
    inhabitants = Counter(files.values())
    return {
        item.id: Facts(
            item.id,
            item.speaker,
            item.text,
            item.sound,
            root(manifest, item),
            files[item.id] if inhabitants[files[item.id]] > 1 else None,
            (item.start_s or 0.0, math.inf if item.end_s is None else item.end_s),
        )
        for item in manifest.utterances
    }


class Stretches:
    """Stretches of files, for asking which others overlap one of them: sorted by their beginning, with the latest end
    so far, so that a question costs a bisection. The same stretch, which is ``audio``, does not count as overlap.
    """

    def __init__(self, items: Iterable[Facts]) -> None:
        by_file: dict[str, set[tuple[float, float]]] = {}
        for item in items:
            if item.file is not None:
                by_file.setdefault(item.file, set()).add(item.times)
        self._sorted: dict[str, tuple[list[float], list[tuple[Times, Times]]]] = {}
        for file, stretches in by_file.items():
            latest, second = _NEVER, _NEVER  # by their ends, of the stretches so far
            ends = []
            for times in sorted(stretches):
                if times[1] >= latest[1]:
                    latest, second = times, latest
                elif times[1] > second[1]:
                    second = times
                ends.append((latest, second))
            self._sorted[file] = [start for start, _ in sorted(stretches)], ends

    def overlap(self, item: Facts) -> bool:
        """Whether one of the stretches shares time with ``item`` and is not the same stretch."""
        if item.file is None or item.file not in self._sorted:
            return False
        starts, ends = self._sorted[item.file]
        count = bisect.bisect_left(starts, item.times[1])  # so many begin before it ends
        if count == 0:
            return False
        latest, second = ends[count - 1]
        return (second if latest == item.times else latest)[1] > item.times[0]


def file_of(manifest: Manifest, utterance: Utterance) -> str:
    """An utterance's file, links followed."""
    return _real(os.path.join(manifest.root, utterance.path))


@functools.lru_cache(maxsize=1 << 17)
def _real(path: str) -> str:
    return os.path.realpath(path)
