"""How the test sets of a division are made: the corpus' own folds, one speaker each, or a random share."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.corpora.official import WORDS, is_part
from s3prl_emotion.errors import ProtocolError
from s3prl_emotion.protocols._assignment import assign

logger = logging.getLogger(__name__)

TestSets = dict[int, list[Utterance]]
"""The utterances that each fold tests on, by fold number."""

MAX_FOLDS = 5
"""Folds made for a corpus that brings none."""
MIN_FOLDS = 3
"""Fewest that are made in place of five, so that each has every class: one to train, one to select, one to test on."""


def corpus_folds(manifest: Manifest) -> TestSets:
    """The folds that the corpus prescribes; up to five speaker-disjoint ones where it prescribes none.

    Raises:
        ProtocolError: if only some utterances have a fold, there is one fold only, or a speaker is in several
    """
    tests = published_folds(manifest) if any(item.fold is not None for item in manifest.utterances) else None
    if tests is None:
        tests = {}
        numbers = folds_by_speaker(manifest.utterances, manifest.corpus)
        for item, number in zip(manifest.utterances, numbers, strict=True):
            tests.setdefault(number, []).append(item)
    if len(tests) < 2 and not manifest.train_order:
        raise ProtocolError(f"{manifest.corpus}: at least 2 folds are needed, found {len(tests)}")
    folds_of: dict[str, set[int]] = {}
    for number, items in tests.items():
        for item in items:
            folds_of.setdefault(item.speaker, set()).add(number)
    divided = sorted(speaker for speaker, found in folds_of.items() if len(found) > 1)
    if divided:
        raise ProtocolError(
            f"{manifest.corpus}: {len(divided)} speakers are in several folds, such as {divided[0]} in "
            f"{', '.join(map(str, sorted(folds_of[divided[0]])))}. Give every speaker's utterances one fold number, or "
            "use the protocol published, which allows and shows it"
        )
    return dict(sorted(tests.items()))


def published_folds(manifest: Manifest) -> TestSets:
    """The folds that the corpus prescribes, whoever speaks in them.

    Raises:
        ProtocolError: if it prescribes none, or prescribes them for some utterances without lists to train on
    """
    without = [item.id for item in manifest.utterances if item.fold is None]
    if len(without) == len(manifest.utterances):
        raise ProtocolError(f"{manifest.corpus}: it prescribes no folds. Use the protocol strict, which makes some")
    if without and not manifest.train_order:
        raise ProtocolError(
            f"{manifest.corpus}: {len(without)} of {len(manifest.utterances)} utterances have no fold, first "
            f"{without[0]!r}. Give all of them a fold, or none"
        )
    tests: TestSets = {}
    for item in manifest.utterances:
        if item.fold is not None:
            tests.setdefault(item.fold, []).append(item)
    return dict(sorted(tests.items()))


def official_folds(manifest: Manifest) -> TestSets:
    """Fold 1 tests on the official test part: ``test``, or else that with the lowest number. Where no utterance has a
    part, the folds are those that the corpus prescribes with train, dev and test lists.

    Raises:
        ProtocolError: if there is no official division, or a part is missing or no known one
    """
    parts = Counter(item.official_part for item in manifest.utterances if item.official_part is not None)
    if not parts:
        return _listed_folds(manifest)
    strange = sorted(part for part in parts if not is_part(part))
    expected = ", ".join(word for words in WORDS.values() for word in words)
    if strange:
        listed = ", ".join(f"{part!r} ({parts[part]})" for part in strange)
        raise ProtocolError(
            f"{manifest.corpus}, protocol official: unknown parts: {listed}. Expected {expected}, test1, test2, ...; "
            "--corpus-option splits=train,dev,test reads rows of these alone"
        )
    tests = sorted((part for part in parts if part.startswith("test")), key=lambda part: int(part[4:] or 0))
    missing = [part for part, found in (("train", parts["train"]), ("dev", parts["dev"]), ("test", tests)) if not found]
    if missing:
        raise ProtocolError(
            f"{manifest.corpus}, protocol official: the corpus has no {' and no '.join(missing)} part, only "
            f"{', '.join(sorted(map(str, parts)))}. Expected {expected}; strict makes a division of its own"
        )
    others = {part: parts[part] for part in tests[1:]}
    without = len(manifest.utterances) - sum(parts.values())
    if others:
        logger.warning(
            "%s, protocol official: tests on %s; left out: %s (--corpus-option splits=train,dev,%s tests on another)",
            manifest.corpus,
            tests[0],
            ", ".join(f"{part} {count}" for part, count in others.items()),
            tests[1],
        )
    if without:
        logger.warning("%s, protocol official: left out: %d utterances without a part", manifest.corpus, without)
    return {1: [item for item in manifest.utterances if item.official_part == tests[0]]}


def _listed_folds(manifest: Manifest) -> TestSets:
    whole = set(manifest.train_order) & {number for number, ids in manifest.dev_order.items() if ids}
    tests = {number: items for number, items in published_folds(manifest).items() if number in whole} if whole else {}
    if not tests:
        raise ProtocolError(
            f"{manifest.corpus}: it prescribes no train, dev and test. A table says them in the column split; the "
            "protocol strict makes a division of its own"
        )
    return tests


def one_speaker_each(manifest: Manifest) -> TestSets:
    """One fold for every speaker, numbered from 1 in the order of their names; the corpus' own folds are not used.

    Raises:
        ProtocolError: if there are fewer than three speakers, one each to train, to select and to test on
    """
    speakers = manifest.speakers
    if len(speakers) < 3:
        raise ProtocolError(
            f"{manifest.corpus}: leaving one speaker out needs at least 3 speakers, found {', '.join(speakers)}"
        )
    number = {speaker: index for index, speaker in enumerate(speakers, start=1)}
    tests: TestSets = {index: [] for index in number.values()}
    for item in manifest.utterances:
        tests[number[item.speaker]].append(item)
    return tests


def random_share(share: float, seed: int, manifest: Manifest) -> TestSets:
    """One fold: a random share of the utterances, stratified by class, whoever speaks.

    Raises:
        ProtocolError: if a class has too few utterances to be divided
    """
    _, test = stratified_cut(manifest.utterances, share, seed, manifest.corpus)
    return {1: test}


def stratified_cut(
    utterances: Sequence[Utterance], share: float, seed: int, corpus: str
) -> tuple[list[Utterance], list[Utterance]]:
    """Divide at random with equal class rates (scikit-learn's ``train_test_split``); the order stays that given.

    Returns:
        the larger part, and the part of ``share``

    Raises:
        ProtocolError: if a class has too few utterances to be divided
    """
    from sklearn.model_selection import train_test_split

    labels = [item.label for item in utterances]
    try:
        first, second = train_test_split(range(len(utterances)), test_size=share, random_state=seed, stratify=labels)
    except ValueError as error:
        raise ProtocolError(f"{corpus}: cannot be divided into {1 - share:.0%} and {share:.0%}: {error}") from error
    return [utterances[k] for k in sorted(first)], [utterances[k] for k in sorted(second)]


def folds_by_speaker(utterances: Sequence[Utterance], corpus: str) -> list[int]:
    """A fold number, from 1, for every utterance: up to five folds that share no speaker.

    The division of :func:`stratified_folds` where it leaves every class in every fold. Else as many folds, from five
    down to three, as can have every class each (:mod:`s3prl_emotion.protocols._assignment`); where no number can, five
    that lack the least.

    Raises:
        ProtocolError: if there are fewer than two speakers
    """
    speakers = sorted({item.speaker for item in utterances})
    labels = sorted({item.label for item in utterances})
    most = min(MAX_FOLDS, len(speakers))
    if most < 2:
        raise ProtocolError(
            f"{corpus}: speaker-disjoint folds need at least 2 speakers, found {', '.join(speakers) or 'none'}"
        )
    place = {speaker: index for index, speaker in enumerate(speakers)}
    counts = np.zeros((len(speakers), len(labels)), dtype=np.int64)
    for item in utterances:
        counts[place[item.speaker], labels.index(item.label)] += 1
    found: dict[int, tuple[int, npt.NDArray[np.int64]]] = {}
    for count in range(most, min(MIN_FOLDS, most) - 1, -1):
        given = np.zeros(len(speakers), dtype=np.int64)
        for item, number in zip(utterances, stratified_folds(utterances, count), strict=True):
            given[place[item.speaker]] = number - 1
        found[count] = assign(counts, given, count)
        if found[count][0] == 0:
            break
    chosen = next((count for count, (lacks, _) in found.items() if lacks == 0), most)
    if chosen < most:
        logger.info("%s: %d folds, since no %d have every class and share no speaker", corpus, chosen, most)
    division = found[chosen][1]
    return [int(division[place[item.speaker]]) + 1 for item in utterances]


def stratified_folds(utterances: Sequence[Utterance], count: int) -> list[int]:
    """A fold number, from 1, for every utterance: ``count`` folds that share no speaker, with similar class rates.

    Deterministic: scikit-learn's ``StratifiedGroupKFold`` without shuffling, or ``GroupKFold`` where the former
    would leave a fold empty.
    """
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    speakers = [item.speaker for item in utterances]
    labels = [item.label for item in utterances]
    makers = [GroupKFold(count)]
    if count <= max(labels.count(label) for label in set(labels)):
        makers.insert(0, StratifiedGroupKFold(count))
    for maker in makers:
        numbers = [0] * len(utterances)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # we say which, in words
            for number, (_, test) in enumerate(maker.split(labels, labels, speakers), start=1):
                for index in test:
                    numbers[index] = number
        if set(numbers) == set(range(1, count + 1)):
            break
    return numbers
