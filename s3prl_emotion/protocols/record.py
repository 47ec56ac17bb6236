"""What a result says of its protocol: the rule, this division, and how far the division is what the rule promises."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols._examples import behaviour_sha256
from s3prl_emotion.protocols.protocol import Protocol
from s3prl_emotion.protocols.split import Folds

S3PRL_ORDER = "S3PRL's metadata"
LISTED_ORDER = "the corpus' training lists"
OWN_ORDER = "ours"
_IN_S3PRL = ("iemocap", "superb_metadata")  # corpora whose training lists, where there are any, are S3PRL's


def declared(protocol: Protocol) -> dict[str, Any]:
    """Everything that a protocol declares, as plain values for ``results.json``, with its fingerprint.

    ``sha256`` covers what is declared and what is done: ``examples_sha256`` is that of the divisions of a few small
    corpora that are always the same.
    """
    found = {
        "name": protocol.name,
        "folds": protocol.folds,
        "dev": protocol.dev,
        "selection": f"{'test' if protocol.selection_on_test else 'dev'} {protocol.selection}",
        "label_set": protocol.labels,
        "speaker_disjoint_dev": protocol.speaker_disjoint_dev,
        "speaker_disjoint_test": protocol.speaker_disjoint_test,
        "selection_on_test": protocol.selection_on_test,
        "transductive": protocol.transductive,
        **({"siblings_in_dev": True} if protocol.siblings_in_dev else {}),
        "examples_sha256": behaviour_sha256(protocol),
    }
    text = json.dumps(found, sort_keys=True, separators=(",", ":"))
    return {**found, "sha256": hashlib.sha256(text.encode("utf-8")).hexdigest()}


def record(manifest: Manifest, folds: Folds) -> dict[str, Any]:
    """Everything that the protocol declares, with the division.

    Returns:
        plain values: those of :func:`declared`, ``split_sha256`` (of the division before balancing: what is tested and
        selected on is the same), ``lacking``
        where a part of a fold lacks a class, and, where dev is drawn by position, ``order``: whose order of utterances
        it was drawn from, which decides who is in it
    """
    protocol = protocols.get(folds.protocol)
    found = {**declared(protocol), "split_sha256": folds.divided_sha256 or folds.sha256()}
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
