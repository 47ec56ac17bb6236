"""When two utterances, or two speakers, may be the same."""

from __future__ import annotations

import functools
import math
import os
import re
import unicodedata
from collections.abc import Sequence

from s3prl_emotion.corpora.manifest import Manifest, Utterance


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


def by_file(manifest: Manifest, utterances: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    """Utterances by the file that they lie in, whatever way leads to it."""
    found: dict[str, list[Utterance]] = {}
    for item in utterances:
        found.setdefault(file_of(manifest, item), []).append(item)
    return found


def file_of(manifest: Manifest, utterance: Utterance) -> str:
    """An utterance's file, links followed."""
    return _real(str(manifest.path_of(utterance)))


@functools.lru_cache(maxsize=1 << 17)
def _real(path: str) -> str:
    return os.path.realpath(path)


def overlap(a: Utterance, b: Utterance) -> bool:
    """Whether two utterances of one file share a stretch of time, and are not the same stretch, which is ``audio``."""
    times = [(item.start_s or 0.0, math.inf if item.end_s is None else item.end_s) for item in (a, b)]
    return times[0] != times[1] and times[0][0] < times[1][1] and times[1][0] < times[0][1]
