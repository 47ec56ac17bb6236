"""What a protocol is: how the dev set is made, and what it selects by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from s3prl_emotion.corpora.manifest import Utterance

SELECTIONS = ("accuracy", "ua", "macro_f1")


@dataclass(frozen=True)
class Training:
    """What a protocol divides: the utterances of one fold that are not tested on."""

    fold: int
    utterances: tuple[Utterance, ...]  # in the order of the fold's training list
    test_speakers: Mapping[int, frozenset[str]]  # of every fold


Divide = Callable[[Training], tuple[tuple[str, ...], tuple[str, ...]]]
"""Gives the ids to train on and those to select on, in their order."""


@dataclass(frozen=True)
class Protocol:
    """A named way to divide a corpus and to choose a checkpoint. The test set is scored once, at the chosen one.

    Raises:
        ValueError: if ``selection`` is not one of ``accuracy`` (WA), ``ua`` and ``macro_f1``
    """

    name: str
    dev: str  # how the dev set is made, in words, for the record
    selection: str  # the dev metric that chooses the checkpoint
    speaker_disjoint_dev: bool  # dev speakers are not trained on
    transductive: bool  # unlabelled test speech is seen in training
    description: str
    divide: Divide = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.selection not in SELECTIONS:
            raise ValueError(f"protocol {self.name}: selection must be one of {SELECTIONS}, found {self.selection!r}")
