"""Taking leaks out of a division, instead of refusing it."""

from __future__ import annotations

from collections.abc import Sequence

from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.protocols._checks import check_fold
from s3prl_emotion.protocols._likeness import by_file, file_of, overlap, root
from s3prl_emotion.protocols.protocol import Protocol
from s3prl_emotion.protocols.split import Fold, Folds


def without_leaks(manifest: Manifest, folds: Folds, protocol: Protocol) -> tuple[Folds, int]:
    """Leave out of train and dev what leaks into a later part (dev, test) as audio, as a segment or as a sibling.

    Returns:
        the folds, and how many utterances were left out, summed over folds

    Raises:
        ProtocolError: if what is left cannot be trained or selected on
    """
    kept: list[Fold] = []
    dropped = 0
    for fold in folds.folds:
        dev = _apart(manifest, fold.dev, fold.test)
        train = _apart(manifest, fold.train, (*dev, *fold.test))
        dropped += len(fold.dev) - len(dev) + len(fold.train) - len(train)
        kept.append(Fold(fold.number, train, dev, fold.test))
        check_fold(manifest, protocol, fold.number, {"train": train, "dev": dev, "test": fold.test})
    return Folds.of(manifest, folds.protocol, kept), dropped


def _apart(manifest: Manifest, ids: Sequence[str], later: Sequence[str]) -> tuple[str, ...]:
    """Those of ``ids`` that share no recording with others in ``later``; the same id there is the protocol's doing."""
    same = set(later)
    items = [manifest.by_id[name] for name in later]
    sounds = {item.sound for item in items if item.sound}
    roots = {root(manifest, item) for item in items}
    pieces = by_file(manifest, items)

    def is_apart(name: str) -> bool:
        item = manifest.by_id[name]
        overlaps = any(overlap(item, piece) for piece in pieces.get(file_of(manifest, item), ()))
        return name in same or not (item.sound in sounds or root(manifest, item) in roots or overlaps)

    return tuple(name for name in ids if is_apart(name))
