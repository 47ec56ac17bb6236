"""What a result says of its protocol: the rule, this division, and how far the division is what the rule promises."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.split import Folds

S3PRL_ORDER = "S3PRL's metadata"
LISTED_ORDER = "the corpus' training lists"
OWN_ORDER = "ours"
_IN_S3PRL = ("iemocap", "superb_metadata")  # corpora whose training lists, where there are any, are S3PRL's


def record(manifest: Manifest, folds: Folds) -> dict[str, Any]:
    """Everything that the protocol declares, with the division.

    Returns:
        plain values: those of :meth:`~s3prl_emotion.protocols.protocol.Protocol.record`, ``split_sha256``, ``lacking``
        where a part of a fold lacks a class, and, where dev is drawn by position, ``order``: whose order of utterances
        it was drawn from, which decides who is in it
    """
    protocol = protocols.get(folds.protocol)
    found = {**protocol.record(), "split_sha256": folds.sha256()}
    lacking = Folds.of(manifest, folds.protocol, folds.folds).lacking  # folds of earlier versions do not tell
    if lacking:
        found["lacking"] = [{**asdict(item), "classes": list(item.classes)} for item in lacking]
    if protocol.by_position:
        found["order"] = order_of(manifest, folds)
    return found


def order_of(manifest: Manifest, folds: Folds) -> str:
    """Whose order the training utterances of all folds are in."""
    if not all(fold.number in manifest.train_order for fold in folds.folds):
        return OWN_ORDER
    return S3PRL_ORDER if manifest.corpus in _IN_S3PRL else LISTED_ORDER
