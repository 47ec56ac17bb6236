"""Test sets of a division: the corpus' own folds, one speaker each, or a random share."""

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

# Putting speakers into folds so that every class is in every part, as far as speakers allow.
#
# scikit-learn's ``StratifiedGroupKFold`` places one speaker after the other and never takes one back: where most
# speakers have only some of the classes, folds without a class are left although a better division exists. Its division
# and random ones are starting points here; from each, single speakers are moved, and pairs exchanged, as long as that
# helps.

STARTS = 20
"""Random starting points beside the given one; always the same, so that a corpus is always divided alike."""
PAIRS = 200
"""Most speakers of whom pairs are exchanged as well; among more of them, moves find what there is to find."""
UNTRAINED = 1000
"""So much weighs a class that a training set lacks, which cannot be run at all; one that a test set lacks weighs 1."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def lacking(spoken: Floats) -> Ints:
    """What divisions lack.

    A test set is the dev set of the fold before it, so both lack a class together; a training set lacks it where nobody
    outside of a fold and the next has it.

    Args:
        spoken: utterances of each fold and class, shape (..., folds, classes)

    Returns:
        shape (...): classes that test sets lack, and :data:`UNTRAINED` for each that a training set lacks
    """
    held_out = spoken + np.roll(spoken, -1, axis=-2) if spoken.shape[-2] > 2 else spoken
    untrained = (held_out == spoken.sum(axis=-2, keepdims=True)).sum(axis=(-2, -1))
    return np.asarray(UNTRAINED * untrained + (spoken == 0).sum(axis=(-2, -1)), dtype=np.int64)


def inequality(spoken: Floats) -> Floats:
    """How unequally the classes are spread, shape (...): the standard deviation over folds of each class' share."""
    shares = spoken / np.maximum(spoken.sum(axis=-2, keepdims=True), 1)
    return np.asarray(shares.std(axis=-2).mean(axis=-1))


def assign(counts: Ints, given: Ints, folds: int) -> tuple[int, Ints]:
    """Look for the division that lacks the least, and among such for an equal spread of classes.

    Args:
        counts: utterances of each speaker and class, shape (speakers, classes)
        given: a division, the fold of each speaker, from 0; kept where nothing lacks less
        folds: how many

    Returns:
        :func:`lacking` of the division, and the division
    """
    rng = np.random.default_rng(0)
    best, kept = int(lacking(_spoken(given, counts, folds))), given
    least = int(np.maximum(folds - (counts > 0).sum(axis=0), 0).sum())  # a class in as many folds as have its speakers
    for start in range(STARTS + 1):
        if best <= least:
            break
        first = given if start == 0 else rng.permutation(np.arange(len(counts)) % folds)
        found = _climb(first, counts, folds, level=False)
        value = int(lacking(_spoken(found, counts, folds)))
        if value < best:
            best, kept = value, found
    return best, kept if kept is given else _climb(kept, counts, folds, level=True)


def _spoken(assignment: Ints, counts: Ints, folds: int) -> Floats:
    return np.stack([counts[assignment == fold].sum(axis=0) for fold in range(folds)]).astype(np.float64)


def _climb(assignment: Ints, counts: Ints, folds: int, level: bool) -> Ints:
    """The best step again and again while less is lacking or, with ``level``, as much and the spread is more equal."""
    here: Ints = assignment.copy()
    while True:
        spoken = _spoken(here, counts, folds)
        now = int(lacking(spoken)), float(inequality(spoken)) - 1e-9
        for steps in (_moves(here, folds), _exchanges(here)):
            if not len(steps):
                continue
            values = _after(steps, here, counts, spoken)
            lack = lacking(values)
            candidates = np.flatnonzero(lack == lack.min())
            spread = inequality(values[candidates])
            place = int(spread.argmin())
            then = int(lack.min()), float(spread[place])
            if then[0] < now[0] or (level and then < now):
                speaker, fold, other = steps[candidates[place]]
                if other >= 0:
                    here[other] = here[speaker]
                here[speaker] = fold
                break
        else:
            return here


def _moves(here: Ints, folds: int) -> Ints:
    """Every speaker to every other fold: rows of speaker, fold, -1."""
    speakers, numbers = (grid.ravel() for grid in np.meshgrid(np.arange(len(here)), np.arange(folds), indexing="ij"))
    keep = here[speakers] != numbers
    return np.stack([speakers[keep], numbers[keep], np.full(int(keep.sum()), -1)], axis=1)


def _exchanges(here: Ints) -> Ints:
    """Every two speakers of different folds: rows of speaker, the other's fold, the other."""
    if len(here) > PAIRS:
        return np.zeros((0, 3), dtype=np.int64)
    first, second = np.triu_indices(len(here), 1)
    keep = here[first] != here[second]
    return np.stack([first[keep], here[second[keep]], second[keep]], axis=1)


def _after(steps: Ints, here: Ints, counts: Ints, spoken: Floats) -> Floats:
    """Utterances of each fold and class after each step, shape (steps, folds, classes)."""
    speaker, fold, other = steps.T
    moved = counts[speaker] - np.where(other[:, None] >= 0, counts[other], 0)
    values = np.repeat(spoken[None], len(steps), axis=0)
    rows = np.arange(len(steps))
    values[rows, here[speaker]] -= moved
    values[rows, fold] += moved
    return values


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
    down to three, as can have every class each (:mod:`s3prl_emotion.protocols.folding`); where no number can, five
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
