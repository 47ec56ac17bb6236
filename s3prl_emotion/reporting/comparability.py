"""When two numbers may be set beside each other, and when a number says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from s3prl_emotion.evaluation.published import SUPERB_FOLDS, PublishedResult

CHANCE_MARGIN = 0.03  # a mean UA up to this much above chance is called chance

# Corpora of this package that hold the same utterances under another name: S3PRL's own JSON of IEMOCAP.
_SAME_CORPUS = {"superb_metadata": "iemocap"}

# IEMOCAP's four classes in the spellings of the corpora.
_FOUR_CLASSES = (
    {"neu", "neutral"},
    {"hap", "happy", "happiness"},
    {"ang", "angry", "anger"},
    {"sad", "sadness"},
)


def not_comparable(results: Mapping[str, Any], row: PublishedResult) -> str | None:
    """Say why a published number must not be compared with a run.

    Args:
        results: a record of schema 1
        row: a published number on the five folds and four classes of IEMOCAP

    Returns:
        all reasons in one line, or None if corpus, labels and protocol are the same, all five folds are there, the
        settings are not scaled down, nothing recorded deviates and the run is not transductive
    """
    protocol = results["protocol"]
    reasons = []
    if _SAME_CORPUS.get(results["corpus"], results["corpus"]) != row.corpus:
        reasons.append(f"this run's corpus is {results['corpus']}, the published one {row.corpus}")
    if protocol["name"] != row.protocol:
        reasons.append(f"this run's protocol is {protocol['name']}, the published one {row.protocol}")
    if not _is_four_classes(protocol["labels"]):
        reasons.append(f"this run's labels are {', '.join(protocol['labels'])}, not neutral, happy, angry, sad")
    if protocol["transductive"]:
        reasons.append("this run is transductive")
    missing = sorted(set(SUPERB_FOLDS) - {fold["fold"] for fold in results["folds"]})
    if missing:
        reasons.append(f"{say_folds(missing)} missing")
    settings = results.get("settings") or {}
    if settings.get("demo"):
        reasons.append("demo settings")
    reasons += settings.get("deviations", [])
    return "; ".join(reasons) or None


def missing_folds(results: Mapping[str, Any]) -> list[int]:
    """The folds that were expected and have no predictions, in order."""
    return sorted(set(results["folds_expected"]) - {fold["fold"] for fold in results["folds"]})


def say_folds(folds: Sequence[int]) -> str:
    """Name folds in a sentence: ``fold 3``, ``folds 3, 4``."""
    return f"{'fold' if len(folds) == 1 else 'folds'} {', '.join(map(str, folds))}"


def near_chance(results: Mapping[str, Any]) -> bool:
    """Whether the mean UA is at most 3 points above chance, 1 / K, or below it."""
    return bool(round(results["ua"]["mean"] - results["chance"], 9) <= CHANCE_MARGIN)


def _is_four_classes(labels: list[str]) -> bool:
    return len(labels) == len(_FOUR_CLASSES) and all(
        len(spellings & {label.lower() for label in labels}) == 1 for spellings in _FOUR_CLASSES
    )
