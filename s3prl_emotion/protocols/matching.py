"""Match utterances and speakers that may be the same."""

from __future__ import annotations

import bisect
import functools
import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.corpora.spelling import certain, is_unknown

Times = tuple[float, float]
_NEVER: Times = (-math.inf, -math.inf)


def roots(manifest: Manifest) -> dict[str, str]:
    """The id of the recording that each utterance goes back to: its own, if it was not made by augmentation. Where
    utterances are made from each other in a circle, that of one of them."""
    found: dict[str, str] = {}
    for utterance in manifest.utterances:
        chain: dict[str, None] = {}
        name = utterance.id
        while name not in found and name not in chain:
            chain[name] = None
            source = manifest.by_id[name].source
            if source is None:
                break
            if source not in manifest.by_id:
                found[source] = source
            name = source
        end = found.get(name, name)
        found.update(dict.fromkeys(chain, end))
    return found


@dataclass(frozen=True)
class UtteranceKeys:
    """What an audit compares of an utterance, found out once."""

    id: str
    speaker: str  # as all spellings of it that are one; empty where it is not known
    text: str | None
    sound: str | None  # fingerprint of the waveform
    root: str  # the id of the recording that it goes back to
    file: str | None  # None where no other utterance lies in it
    times: tuple[float, float]


def facts(manifest: Manifest) -> dict[str, UtteranceKeys]:
    """The facts of all utterances, by id."""
    files = {item.id: file_of(manifest, item) for item in manifest.utterances}
    root_of = roots(manifest)
    inhabitants = Counter(files.values())
    return {
        item.id: UtteranceKeys(
            item.id,
            speaker_of(item),
            item.text,
            item.sound,
            root_of[item.id],
            files[item.id] if inhabitants[files[item.id]] > 1 else None,
            (item.start_s or 0.0, math.inf if item.end_s is None else item.end_s),
        )
        for item in manifest.utterances
    }


def speaker_of(utterance: Utterance) -> str:
    """Who speaks, as all spellings of the name that are one; empty where it is not known.

    Readers settle this; manifests of earlier versions may hold several spellings.
    """
    return "" if is_unknown(utterance.speaker) else certain(utterance.speaker)


class Stretches:
    """Stretches of files, for asking which others overlap one of them: sorted by their beginning, with the latest end
    so far, so that a question costs a bisection. The same stretch, which is ``audio``, does not count as overlap.
    """

    def __init__(self, items: Iterable[UtteranceKeys]) -> None:
        by_file: dict[str, dict[tuple[float, float], str]] = {}
        for item in items:
            if item.file is not None:
                by_file.setdefault(item.file, {}).setdefault(item.times, item.id)
        self._ids = by_file
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

    def overlap(self, item: UtteranceKeys) -> bool:
        """Whether one of the stretches shares time with ``item`` and is not the same stretch."""
        return self.overlapping(item) is not None

    def overlapping(self, item: UtteranceKeys) -> str | None:
        """The id of a stretch that shares time with ``item`` and is not the same one."""
        if item.file is None or item.file not in self._sorted:
            return None
        starts, ends = self._sorted[item.file]
        count = bisect.bisect_left(starts, item.times[1])  # so many begin before it ends
        if count == 0:
            return None
        latest, second = ends[count - 1]
        times = second if latest == item.times else latest
        return self._ids[item.file][times] if times[1] > item.times[0] else None


def file_of(manifest: Manifest, utterance: Utterance) -> str:
    """An utterance's file, links followed."""
    return _real(os.path.join(manifest.root, utterance.path))


@functools.lru_cache(maxsize=1 << 17)
def _real(path: str) -> str:
    return os.path.realpath(path)
