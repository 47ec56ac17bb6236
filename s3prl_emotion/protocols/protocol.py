"""Protocol: how test and dev sets are made, and what the dev set selects by."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.protocols.folding import TestSets, corpus_folds

SELECTIONS = ("accuracy", "ua", "macro_f1")


@dataclass(frozen=True)
class TrainingPool:
    """What a protocol divides: the utterances of one fold that it may train and select on."""

    fold: int
    utterances: tuple[Utterance, ...]  # in the order of the fold's training list
    test_speakers: Mapping[int, frozenset[str]]  # of every fold
    test: tuple[Utterance, ...] = ()  # what the fold is tested on
    dev: tuple[Utterance, ...] = ()  # the dev list that the corpus prescribes, if it does

    def hold_out(self, speakers: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The ids of all other speakers, and those of ``speakers``."""
        train = tuple(item.id for item in self.utterances if item.speaker not in speakers)
        return train, tuple(item.id for item in self.utterances if item.speaker in speakers)


Divide = Callable[[TrainingPool], tuple[tuple[str, ...], tuple[str, ...]]]
"""Gives the ids to train on and those to select on, in their order."""


@dataclass(frozen=True)
class Protocol:
    """A named way to divide a corpus and to choose a checkpoint. The test set is scored once, at the chosen one.

    What a protocol allows beyond strictly separate sets it declares here; whatever it does not declare is refused
    (:mod:`s3prl_emotion.protocols.audit`).

    Raises:
        ValueError: if ``selection`` is not one of ``accuracy`` (WA), ``ua`` and ``macro_f1``
    """

    name: str
    description: str
    folds: str  # how the test sets are made, in words, for the record
    dev: str  # how the dev set is made, in words, for the record
    selection: str  # the metric that chooses the checkpoint
    labels: str = "those of the corpus"  # the label set, in words
    speaker_disjoint_dev: bool = True  # dev speakers are not trained on
    speaker_disjoint_test: bool = True  # test speakers are neither trained nor selected on
    selection_on_test: bool = False  # the checkpoint is chosen on the test set itself
    transductive: bool = False  # unlabelled test speech may be seen in pretraining
    follows_lists: bool = True  # training and dev lists that a corpus prescribes are used
    siblings_in_dev: bool = False  # what is left of test is balanced before dev is divided off: dev holds its copies
    by_position: bool = False  # dev is drawn by position, so the order of utterances decides who is in it
    test_sets: Callable[[Manifest], TestSets] = field(default=corpus_folds, repr=False, compare=False)
    divide: Divide = field(kw_only=True, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.selection not in SELECTIONS:
            raise ValueError(f"protocol {self.name}: selection must be one of {SELECTIONS}, found {self.selection!r}")

    @property
    def needs_speakers(self) -> bool:
        """Whether it keeps speakers apart, so that all of them must be known."""
        return self.speaker_disjoint_dev or self.speaker_disjoint_test

    def as_transductive(self) -> Protocol:
        """The same division, for upstreams whose pretraining may have seen the test audio without its labels."""
        return dataclasses.replace(
            self,
            name=f"{self.name}-transductive",
            description=f"{self.name}, with pretraining that may have seen the test audio without its labels",
            transductive=True,
        )
