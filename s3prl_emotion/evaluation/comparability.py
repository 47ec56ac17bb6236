"""Comparability: reasons why two numbers must not be compared, and why a number says nothing."""

from __future__ import annotations

from collections.abc import Sequence

from s3prl_emotion.published import SUPERB_FOLDS, PublishedResult
from s3prl_emotion.runs.results import ProtocolRecord, Results

CHANCE_MARGIN = 0.03  # a mean UA up to this much above chance is called chance

ORACLE = "oracle: epoch chosen on test"
SHARED_SPEAKERS = "speakers shared between train and test"
TRANSDUCTIVE = "transductive"
WEIGHTED_SUM = "hidden_states"
"""What of an upstream SUPERB takes: ``-s`` of S3PRL."""
PRESCRIBED = "published"
"""The protocol whose lists are the corpus' own: that they share speakers is part of them."""

# Corpora of this package that hold the same utterances under another name: S3PRL's own JSON of IEMOCAP.
_SAME_CORPUS = {"superb_metadata": "iemocap"}

# IEMOCAP's four classes in the spellings of the corpora.
_FOUR_CLASSES = (
    {"neu", "neutral"},
    {"hap", "happy", "happiness"},
    {"ang", "angry", "anger"},
    {"sad", "sadness"},
)


def not_comparable(results: Results, row: PublishedResult) -> str | None:
    """Say why a published number must not be compared with a run.

    Args:
        results: the record of a run
        row: a published number; only one whose classes and folds are on record can be comparable: those of SUPERB on
            IEMOCAP, and of EmoBox on some corpora

    Returns:
        all reasons in one line, or None if corpus, labels and protocol are the same, all folds are there, the settings
        are not scaled down, nothing recorded deviates (but what the published number has in common) and the protocol
        has no mark (but what the published lists share)
    """
    protocol = results.protocol
    reasons = [row.unlike] if row.unlike else []
    if _corpus(results) != row.corpus:
        reasons.append(f"this run's corpus is {results.corpus}, the published one {row.corpus}")
    if protocol.name != row.protocol:
        reasons.append(f"this run's protocol is {protocol.name}, the published one {row.protocol}")
    if row.corpus == "iemocap":
        if not _is_four_classes(results.labels):
            reasons.append(f"this run's labels are {', '.join(results.labels)}, not neutral, happy, angry, sad")
        missing = sorted(set(SUPERB_FOLDS) - set(results.numbers))
        if missing:
            reasons.append(f"{say_folds(missing)} missing")
    elif row.classes is not None and row.fold_count is not None:
        if len(results.labels) != row.classes:
            reasons.append(f"this run has {len(results.labels)} classes, the published one {row.classes}")
        if set(results.numbers) != set(range(1, row.fold_count + 1)):
            reasons.append(f"this run's folds are {_listed(results.numbers)}, the published ones 1 to {row.fold_count}")
    elif not reasons:
        reasons.append("classes and folds of the published number are not on record here")
    shared = f"features -s {row.features}"
    if row.features != WEIGHTED_SUM and shared not in results.deviations:
        reasons.append(f"the published number is of -s {row.features}, this run's of other features")
    inherent = SHARED_SPEAKERS if row.protocol == PRESCRIBED else None
    reasons += [f"this run is marked: {mark}" for mark in protocol_marks(results) if mark != inherent]
    if results.is_demo:
        reasons.append("demo settings")
    reasons += [text for text in results.deviations if text != shared]
    return "; ".join(reasons) or None


def not_comparable_runs(results: Results, other: Results) -> str | None:
    """Say why two runs must not be compared.

    Another seed, upstream, head or training setting is what one compares; another task is not. A protocol fingerprint
    that only one of the two records counts as another protocol.

    Args:
        results: the record of a run
        other: another one

    Returns:
        all reasons in one line, or None if corpus, labels, protocol, division, scored folds and demo settings agree
    """
    mine, theirs = results.protocol, other.protocol
    reasons = []
    if _corpus(results) != _corpus(other):
        reasons.append(f"corpus {results.corpus}, not {other.corpus}")
    if mine.labels != theirs.labels:
        reasons.append(f"labels {', '.join(mine.labels)}, not {', '.join(theirs.labels)}")
    if mine.name != theirs.name:
        reasons.append(f"protocol {mine.name}, not {theirs.name}")
    elif mine.sha256 != theirs.sha256:
        reasons.append(f"another definition of protocol {mine.name}: {_fingerprint(mine)}, not {_fingerprint(theirs)}")
    if not reasons and mine.split_sha256 != theirs.split_sha256:
        reasons.append("the same protocol divides the utterances differently: not the same utterances or folds")
    mark, other_mark = protocol_marks(results), protocol_marks(other)
    if mark != other_mark:
        told = [f"marked {text}" for text in mark if text not in other_mark]
        reasons.append(", ".join(told + [f"not marked {text}" for text in other_mark if text not in mark]))
    if results.numbers != other.numbers:
        reasons.append(f"scored {say_folds(results.numbers)}, not {say_folds(other.numbers)}")
    elif results.complete != other.complete:
        reasons.append("only one of the two has all folds that were expected")
    if results.is_demo != other.is_demo:
        reasons.append("demo settings, not full ones" if results.is_demo else "full settings, not those of a demo")
    return "; ".join(reasons) or None


def protocol_marks(results: Results) -> list[str]:
    """What must stand beside a run's numbers because of its protocol: oracle, shared speakers, transductive."""
    protocol = results.protocol
    marks = (
        (ORACLE, protocol.selection_on_test),
        (SHARED_SPEAKERS, not protocol.speaker_disjoint_test),
        (TRANSDUCTIVE, protocol.transductive),
    )
    return [mark for mark, applies in marks if applies]


def start_remarks(results: Results) -> list[str]:
    """What must stand beside a run's numbers because of the pretrained head that it started from; see
    :mod:`s3prl_emotion.pretraining.contrastive`."""
    head = {} if results.settings is None else results.settings.further.get("pretrained", {})
    pairs = {
        "random": "pretrained on random clusters: a control",
        "labels": "pretrained on emotion labels in place of clusters: an upper bound, no method",
    }
    found = [pairs[head["clusters"]]] if head.get("clusters") in pairs else []
    return [*found, "the head was pretrained with demo settings"] if head.get("demo") else found


def missing_folds(results: Results) -> list[int]:
    """The folds that were expected and have no predictions, in order."""
    return sorted(set(results.folds_expected) - set(results.numbers))


def say_folds(folds: Sequence[int]) -> str:
    """Name folds in a sentence: ``fold 3``, ``folds 3, 4``."""
    return f"{'fold' if len(folds) == 1 else 'folds'} {', '.join(map(str, folds))}"


def near_chance(results: Results) -> bool:
    """Whether the headline UA is at most 3 points above chance, 1 / K, or below it."""
    return bool(round(headline_ua(results)[0] - results.chance, 9) <= CHANCE_MARGIN)


def headline_ua(results: Results) -> tuple[float, str]:
    """The UA to quote, and which it is: ``mean`` over folds, or ``pooled`` where test folds lack classes."""
    return headline(results, "ua")


def headline(results: Results, rate: str) -> tuple[float, str]:
    """The value of a rate to quote, and which it is: ``mean`` over folds, or ``pooled``."""
    if results.is_pooled and results.pooled is not None:
        return results.pooled[rate].value, "pooled"
    return results.rates[rate].mean, "mean"


def lacking(results: Results) -> list[str]:
    """Which classes train and dev sets lack, in one line for each; those of test sets are the headline's reason."""
    found: dict[str, dict[str, list[int]]] = {}
    for item in results.protocol.lacking or ():
        if item.part != "test":
            found.setdefault(item.part, {}).setdefault(", ".join(item.classes), []).append(item.fold)
    return [
        f"{part} has no {'; no '.join(f'{names} in {say_folds(folds)}' for names, folds in by_names.items())}"
        for part, by_names in found.items()
    ]


def corpus_title(results: Results) -> str:
    """The corpus' name for people: a table's own."""
    return results.corpus_name or results.corpus


def _corpus(results: Results) -> str:
    name = results.corpus
    return _SAME_CORPUS.get(name, name)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _fingerprint(protocol: ProtocolRecord) -> str:
    return protocol.sha256[:12] if protocol.sha256 else "no fingerprint"


def _is_four_classes(labels: Sequence[str]) -> bool:
    return len(labels) == len(_FOUR_CLASSES) and all(
        len(spellings & {label.lower() for label in labels}) == 1 for spellings in _FOUR_CLASSES
    )
