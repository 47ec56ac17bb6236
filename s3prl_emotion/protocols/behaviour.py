"""Fingerprint of a protocol by what it does, and its record in results."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.errors import EmotionError
from s3prl_emotion.protocols import folding, protocols
from s3prl_emotion.protocols.protocol import Divide, Protocol
from s3prl_emotion.protocols.split import Folds, divide_unchecked

# What a protocol does, as a fingerprint: how it divides a few small corpora that are always the same.
#
# Words can stay while a rule changes, and a source file can change while its rule stays: the division tells. It is the
# same on every machine, and with every version of a library that divides alike.

LABELS = ("ang", "hap", "neu", "sad")
TestSetsOf = Callable[[Manifest], folding.TestSets]


@functools.cache
def examples() -> tuple[Manifest, ...]:
    """Corpora with folds and without, with many and few speakers, rare classes, lists, parts, and nameless speakers."""
    sessions = _corpus("sessions", 10, folds=5)
    listed = _corpus("listed", 6, folds=3)
    rest = {fold: [item.id for item in listed.utterances if item.fold != fold] for fold in (1, 2, 3)}
    parts = [_corpus(name, 7, within=name, fold=number) for number, name in enumerate("abc", start=1)]
    return (
        sessions,
        _corpus("free", 8, rare=True),
        _corpus("many", 41, most=1),
        _corpus("more", 37, most=1),
        Manifest(
            "listed",
            LABELS,
            ".",
            listed.utterances,
            train_order={fold: tuple(reversed(ids)) for fold, ids in rest.items()},
            dev_order={1: tuple(rest[1][::3])},
        ),
        Manifest("parts", LABELS, ".", tuple(item for part in parts for item in part.utterances)),
        _corpus("pair", 2),
        _corpus("nameless", 0, folds=2),
    )


def divide_example(manifest: Manifest, protocol: Protocol) -> list[Any]:
    """Folds as plain values; the kind of error where the protocol does not divide such a corpus."""
    return json.loads(_division(manifest, protocol))  # type: ignore[no-any-return]


def behaviour_sha256(protocol: Protocol) -> str:
    """SHA-256 over the divisions of all :func:`examples`: ids of train, dev and test in their order, or a refusal."""
    return _behaviour(protocol.test_sets, protocol.divide, protocol.follows_lists, protocol.needs_speakers)


@functools.lru_cache(maxsize=256)
def _behaviour(test_sets: TestSetsOf, divide: Divide, follows_lists: bool, needs_speakers: bool) -> str:
    """By the callables themselves: protocols are equal by their words."""
    protocol = Protocol(
        *("example", "", "", "", "ua"),
        speaker_disjoint_dev=needs_speakers,
        speaker_disjoint_test=needs_speakers,
        follows_lists=follows_lists,
        test_sets=test_sets,
        divide=divide,
    )
    digest = hashlib.sha256()
    folding.logger.addFilter(_silent)  # examples are no corpus of the user's
    try:
        for manifest in examples():
            digest.update(_division(manifest, protocol).encode())
    finally:
        folding.logger.removeFilter(_silent)
    return digest.hexdigest()


def _division(manifest: Manifest, protocol: Protocol) -> str:
    try:
        folds = divide_unchecked(manifest, protocol)
        plain: list[Any] = [[fold.number, fold.train, fold.dev, fold.test] for fold in folds]
    except (EmotionError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        plain = [type(error).__name__]
    return json.dumps(plain, separators=(",", ":"))


def _silent(_record: logging.LogRecord) -> bool:
    return False


def _corpus(
    name: str,
    speakers: int,
    folds: int = 0,
    within: str | None = None,
    fold: int | None = None,
    most: int = 4,
    rare: bool = False,
) -> Manifest:
    """Speakers who take turns in the folds, with unequal numbers of each class.

    0 speakers are one whose name is not known; ``rare`` gives the last class to every third speaker alone.
    """
    utterances = []
    for speaker in range(max(1, speakers)):
        for place, label in enumerate(LABELS):
            if rare and label == LABELS[-1] and speaker % 3:
                continue
            for take in range(1 + (3 * speaker + 5 * place) % most if speakers else 12):
                number = take % folds + 1 if not speakers else speaker % folds + 1 if folds else None
                utterances.append(
                    Utterance(
                        f"{name}-{speaker:02d}-{label}-{take}",
                        f"{speaker:02d}/{label}{take}.wav",
                        label,
                        f"{name}-{speaker:02d}" if speakers else "",
                        fold=number if fold is None else fold,
                        corpus=within,
                    )
                )
    return Manifest(name, LABELS, ".", tuple(utterances))


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
