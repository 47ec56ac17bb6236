"""Taking leaks out of a division, instead of refusing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.protocols._checks import check_fold
from s3prl_emotion.protocols.matching import Stretches, UtteranceKeys, facts
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
    known = facts(manifest)
    for fold in folds.folds:
        dev = _apart(known, fold.dev, fold.test)
        train = _apart(known, fold.train, (*dev, *fold.test))
        dropped += len(fold.dev) - len(dev) + len(fold.train) - len(train)
        kept.append(Fold(fold.number, train, dev, fold.test))
        check_fold(manifest, protocol, fold.number, {"train": train, "dev": dev, "test": fold.test})
    return Folds.of(manifest, folds.protocol, kept), dropped


def _apart(known: Mapping[str, UtteranceKeys], ids: Sequence[str], later: Sequence[str]) -> tuple[str, ...]:
    """Those of ``ids`` that share no recording with others in ``later``; the same id there is the protocol's doing."""
    same = set(later)
    items = [known[name] for name in later]
    sounds = {item.sound for item in items if item.sound}
    roots = {item.root for item in items}
    stretches = Stretches(items)

    def is_apart(item: UtteranceKeys) -> bool:
        return item.id in same or not (item.sound in sounds or item.root in roots or stretches.overlap(item))

    return tuple(name for name in ids if is_apart(known[name]))
