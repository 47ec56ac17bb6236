"""Checks of every split, under any protocol."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.errors import ProtocolError
from s3prl_emotion.protocols.protocol import Protocol

logger = logging.getLogger(__name__)

FEW = 10
"""Test utterances below which a fold's figure says little."""
_SHOWN = 10


def check_fold(manifest: Manifest, protocol: Protocol, number: int, parts: dict[str, Sequence[str]]) -> None:
    """Check one fold.

    Args:
        manifest: the corpus
        protocol: what made the fold
        number: the fold's number
        parts: the ids of ``train``, ``dev`` and ``test``

    Raises:
        ProtocolError: if a part is empty, two parts share an utterance, a speaker is where the protocol forbids it,
            or no utterance of some class is left to train on
    """
    where = f"{manifest.corpus}, protocol {protocol.name}, fold {number}"
    speakers = {}
    for part, ids in parts.items():
        if not ids:
            raise ProtocolError(f"{where}: the {part} set is empty")
        speakers[part] = {manifest.by_id[name].speaker for name in ids}
    for first, second in (("train", "dev"), ("train", "test"), ("dev", "test")):
        shared = sorted(set(parts[first]) & set(parts[second]))
        if shared and not (second == "test" and first == "dev" and protocol.selection_on_test):
            raise ProtocolError(f"{where}: {first} and {second} share {len(shared)} utterances: {_listed(shared)}")
        if shared or not (protocol.speaker_disjoint_dev if second == "dev" else protocol.speaker_disjoint_test):
            continue
        common = sorted(speakers[first] & speakers[second])
        if common:
            raise ProtocolError(
                f"{where}: {first} and {second} share the speakers {_listed(common)}. "
                "Give every speaker's utterances one fold number"
            )
    absent = classes_absent(manifest, parts["train"])
    if absent:
        raise ProtocolError(
            f"{where}: nothing to train on for {_listed(absent)}. Leave the class out or use other folds"
        )
    untested, unselected = classes_absent(manifest, parts["test"]), classes_absent(manifest, parts["dev"])
    if len(parts["test"]) < FEW or untested:
        also = f", none of them {_listed(untested)}" if untested else ""
        logger.warning("%s: tests on %d utterances only%s", where, len(parts["test"]), also)
    if unselected and not protocol.selection_on_test:
        logger.warning("%s: selects on %d utterances, none of them %s", where, len(parts["dev"]), _listed(unselected))


def classes_absent(manifest: Manifest, ids: Sequence[str]) -> list[str]:
    """The classes that none of some utterances has, in their order."""
    found = {manifest.by_id[name].label for name in ids}
    return [label for label in manifest.labels if label not in found]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
