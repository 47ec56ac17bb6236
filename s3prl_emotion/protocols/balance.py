"""As many utterances of each class to train on: who is left out, and who is copied, without any audio.

Copies go where their source is, and after the division, so that none of them is in train with its source in dev or
test. A protocol that says ``siblings_in_dev`` is the exception: it balances what is left of test before dev is divided
off, as the notebook of arXiv 2312.11503 does: dev then holds augmented siblings of training clips, and the audit shows
it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.errors import ProtocolError
from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.protocol import TrainingPool
from s3prl_emotion.protocols.split import Fold, Folds

SIZES: Mapping[str, Callable[[list[int]], int]] = {
    "max": max,
    "median": lambda counts: sorted(counts)[len(counts) // 2],
    "min": min,
}
"""What a class' number may be called: that of the largest, the (upper) median or the smallest class of the part."""
MAX_SIZE = 1_000_000


@dataclass(frozen=True)
class Balance:
    """How training parts are balanced, as a run records it."""

    size: int | str  # utterances of each class, or a name of SIZES
    seed: int = 0  # of who is left out or copied, and of the copies; ours
    effects: tuple[dict[str, Any], ...] | None = None  # as a configuration has them; None: those that ship

    def __str__(self) -> str:
        return f"--balance {self.size}"


@dataclass(frozen=True)
class Copy:
    """A copy that is to be made."""

    of: str  # id of the utterance
    number: int  # from 1

    @property
    def id(self) -> str:
        """Its own id."""
        return f"{self.of}#{self.number}"


@dataclass(frozen=True)
class Balanced:
    """A balanced division, and the copies that it needs, each once, in the order of the corpus."""

    folds: Folds
    copies: tuple[Copy, ...]


def parse_size(text: str) -> int | str:
    """``2000``, ``max``, ``median`` or ``min``.

    Raises:
        ValueError: for anything else
    """
    if text in SIZES:
        return text
    if text.isascii() and text.isdigit() and 1 <= int(text[:20]) <= MAX_SIZE:
        return int(text)
    names = ", ".join(SIZES)
    raise ValueError(
        f"expected how many utterances of each class to train on, 1 to {MAX_SIZE}, or {names}, found {text[:40]!r}"
    )


def balanced(manifest: Manifest, folds: Folds, size: int | str, seed: int) -> Balanced:
    """Balance the training part of every fold.

    Of a class that has more, those are kept that come first in a random order of all utterances, which depends on the
    seed alone, so that folds agree where they can. Of one that has fewer, each utterance is copied as often as the
    others, but for one copy more of those that come first.

    Args:
        manifest: the corpus
        folds: its division
        size: utterances of each class, or a name of :data:`SIZES`, which is resolved in every fold
        seed: of the random order

    Returns:
        folds that name the copies, whose ``divided_sha256`` is that of the division that was balanced, and the copies

    Raises:
        ProtocolError: if a class has nothing to copy, or an id is taken
    """
    protocol = protocols.get(folds.protocol)
    order = {item.id: _rank(item.id, seed) for item in manifest.utterances}
    speakers = {fold.number: frozenset(manifest.by_id[name].speaker for name in fold.test) for fold in folds.folds}
    result, needed = [], dict[Copy, None]()
    for fold in folds.folds:
        part = (*fold.train, *fold.dev) if protocol.siblings_in_dev else fold.train
        kept, copies = _balance([manifest.by_id[name] for name in part], manifest.labels, size, order)
        needed.update(dict.fromkeys(copies))
        if protocol.siblings_in_dev:
            pool = [manifest.by_id[name] for name in kept]
            pool += [stand_in(manifest.by_id[copy.of], copy) for copy in copies]
            test = tuple(manifest.by_id[name] for name in fold.test)
            train, dev = protocol.divide(TrainingPool(fold.number, tuple(pool), speakers, test))
        else:
            train, dev = (*kept, *(copy.id for copy in copies)), fold.dev
        result.append(Fold(fold.number, train, dev, fold.test))
    place = {item.id: index for index, item in enumerate(manifest.utterances)}
    ordered = tuple(sorted(needed, key=lambda copy: (place[copy.of], copy.number)))
    if taken := [copy.id for copy in ordered if copy.id in place]:
        raise ProtocolError(f"{manifest.corpus}: the id {taken[0]!r} is that of a copy to be made. Give it another")
    before = None if protocol.siblings_in_dev else folds.divided_sha256 or folds.sha256()
    return Balanced(Folds(folds.protocol, tuple(result), folds.lacking, before), ordered)


def stand_in(source: Utterance, copy: Copy) -> Utterance:
    """A copy as an utterance: its source's label, votes, speaker, session and text; it has no fold to be tested in."""
    return dataclasses.replace(
        source,
        id=copy.id,
        source=source.id,
        fold=None,
        start_s=None,
        end_s=None,
        duration_s=None,
        content=None,
        trimmed=None,
    )


def _balance(
    part: Sequence[Utterance], labels: Sequence[str], size: int | str, order: Mapping[str, bytes]
) -> tuple[tuple[str, ...], tuple[Copy, ...]]:
    """The ids that stay, in their order, and the copies, those of the first round first."""
    by_label: dict[str, list[str]] = {label: [] for label in labels}
    for item in part:
        by_label[item.label].append(item.id)
    counts = [len(ids) for ids in by_label.values()]
    wanted = SIZES[size](counts) if isinstance(size, str) else size
    chosen: set[str] = set()
    copies: list[Copy] = []
    for label, ids in by_label.items():
        if not ids:
            raise ProtocolError(f"--balance {size}: no training utterance of {label}, so there is none to copy")
        ranked = sorted(ids, key=order.__getitem__)
        chosen.update(ranked[:wanted])
        copies += [Copy(ranked[k % len(ids)], k // len(ids) + 1) for k in range(wanted - len(ids))]
    return tuple(item.id for item in part if item.id in chosen), tuple(copies)


def _rank(utterance: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{utterance}".encode()).digest()
