"""Corpus: a reader, and the facts that its result is checked against."""

from __future__ import annotations

import inspect
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.corpora.spelling import settled
from s3prl_emotion.errors import CorpusError, suggest

logger = logging.getLogger(__name__)

_SHOWN = 5
COMMON = ("speakers",)
"""Options that every corpus has, see :data:`s3prl_emotion.corpora.spelling.SPEAKERS`."""
FEW = 4
"""So many utterances by as many speakers are no accident."""


@dataclass(frozen=True)
class Corpus:
    """A corpus of emotional speech.

    Example:
        >>> from s3prl_emotion.corpora import corpora
        >>> corpora.get("iemocap").labels
        ('neu', 'hap', 'ang', 'sad')
    """

    name: str
    reader: Callable[..., Manifest] = field(repr=False)  # (root, **options) -> manifest; decodes no audio
    labels: tuple[str, ...]  # in the order of the class indices; empty: they come from the data
    licence: str
    citation: str
    source: str  # who gives the corpus out
    layout: str  # what the folder given as root holds
    counts: Mapping[str, int] = field(default_factory=dict)  # utterances per label of a complete copy
    fold_counts: Mapping[int, int] = field(default_factory=dict)  # test utterances per fold of a complete copy
    speaker_counts: Mapping[str, int] = field(default_factory=dict)  # utterances per speaker of a complete copy
    speakers: int | None = None  # number of speakers, where not the utterances of each are known
    folds: int | None = None  # number of folds; None: from the data, or made by the protocol
    attributes: tuple[str, ...] = ()  # what its names or tables tell besides, where they are there
    default_protocol: str = "strict"
    named_by_data: bool = False  # one reader for many corpora: the folder's or table's own name tells which

    @property
    def count(self) -> int | None:
        """Utterances of a complete copy, None where that is not known."""
        return sum(self.counts.values()) or None

    @property
    def speaker_count(self) -> int | None:
        """Speakers of a complete copy, None where that is not known."""
        return self.speakers or len(self.speaker_counts) or None

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options of this reader alone; those of :data:`COMMON` are accepted by all."""
        return tuple(inspect.signature(self.reader).parameters)[1:]

    def read(self, root: str | Path, /, **options: Any) -> Manifest:
        """Read the corpus into a manifest, with one spelling of each name. No audio is decoded.

        A copy with other counts than the complete corpus is read too; a warning says what differs.

        Args:
            root: the corpus' folder (for ``table``: the table's file)
            options: the reader's own, see :attr:`options`, and ``speakers``, of
                :data:`~s3prl_emotion.corpora.spelling.SPEAKERS`, with commas

        Raises:
            CorpusError: if the root is not this corpus or an option is unknown
        """
        known = tuple(dict.fromkeys((*self.options, *COMMON)))
        for option in options:
            if option not in known:
                raise CorpusError(f"corpus {self.name}: unknown option {option!r}. {suggest(option, known)}")
        root = Path(root).expanduser().absolute()
        if not root.exists():
            raise CorpusError(f"{root}: no such file or folder. Corpus {self.name} expects {self.layout}")
        speakers = "named" if "speakers" in self.options else str(options.pop("speakers", "named"))
        manifest = settled(self.reader(root, **options), speakers, str(root))
        is_whole = manifest.corpus == self.name  # what options select has another name, and other counts
        difference = self.difference(manifest) if is_whole else ""
        if difference:
            logger.warning("%s: %s", root, difference)
        if unnamed := _unnamed(manifest):
            logger.warning("%s: %s", root, unnamed)
        return manifest

    def difference(self, manifest: Manifest) -> str:
        """How a manifest differs from a complete copy: one sentence, empty if it does not or nothing is known.

        It names labels, then folds, then speakers, at most five of each. Copies that balancing made do not count.
        """
        items = [item for item in manifest.utterances if item.augmentation is None]
        wrong = [
            *_wrong("", self.counts, Counter(item.label for item in items)),
            *_wrong("fold ", self.fold_counts, Counter(item.fold for item in items)),
            *_wrong("speaker ", self.speaker_counts, Counter(item.speaker for item in items)),
        ]
        if self.speakers is not None and len(manifest.speakers) != self.speakers:
            wrong.append(f"speakers {len(manifest.speakers)} of {self.speakers}")
        if not wrong:
            return ""
        expected = "" if self.count is None else f", expected {self.count}"
        return (
            f"not the complete {self.name} corpus: {len(items)} utterances{expected} ({'; '.join(wrong)}). "
            "Results are not comparable with published ones"
        )


def _unnamed(manifest: Manifest) -> str:
    """What to know where it is not known who speaks, or a speaker may be no speaker; empty if all is well."""
    items = manifest.utterances
    if manifest.nameless == len(items):
        return (
            f"the speakers of {manifest.nameless} of {len(items)} utterances are not known: nobody can tell whether "
            "train and test share some, and intervals draw these utterances one by one, as if nobody spoke two"
        )
    if manifest.nameless:
        use = "train all folds" if "strangers" in manifest.speakers_are else "leave these utterances out"
        return (
            f"the speakers of {manifest.nameless} of {len(items)} utterances are not known. Protocols that keep "
            f"speakers apart {use}, under others nobody can tell what train and test share; intervals over speakers "
            "leave them out"
        )
    if len(items) >= FEW and len(manifest.speakers) == len(items):
        return (
            f"each of the {len(items)} utterances has a speaker of its own ({items[0].speaker!r}, ...). If these are "
            "names of clips, it is not known who speaks: speaker-disjoint sets and intervals over speakers are then "
            "none. Give the names of people (a table: or --corpus-option speakers=unknown)"
        )
    return ""


def _wrong(kind: str, expected: Mapping[Any, int], found: Mapping[Any, int]) -> list[str]:
    """What is not as often there as expected: ``fold 5 0 of 1241``."""
    wrong = [
        f"{kind}{name} {found.get(name, 0)} of {count}"
        for name, count in expected.items()
        if found.get(name, 0) != count
    ]
    more = len(wrong) - _SHOWN
    return wrong if more <= 0 else [*wrong[:_SHOWN], f"{more} more"]
