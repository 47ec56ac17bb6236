"""The named protocols: who trains, selects and tests."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.errors import ProtocolError
from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.folding import (
    TestSets,
    corpus_folds,
    folds_by_speaker,
    official_folds,
    one_speaker_each,
    published_folds,
    random_share,
    stratified_cut,
)
from s3prl_emotion.protocols.protocol import Protocol, TrainingPool

# SUPERB's protocol, as S3PRL's emotion task divides: bit by bit where its order of utterances is known.
#
# The dev set is what ``torch.utils.data.random_split`` cuts off the training list under ``torch.manual_seed(0)``; it
# shares its speakers with the training set (Yang et al., SUPERB, Interspeech 2021).

VALID_RATIO = 0.2
SEED = 0


def divide_superb(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The permutation of ``random_split``: its first ``int((1 - 0.2) n)`` entries train, the others select.

    A generator of its own is used; torch's global random state is not touched.
    """
    import torch

    ids = [item.id for item in training.utterances]
    permutation = torch.randperm(len(ids), generator=torch.Generator().manual_seed(SEED)).tolist()
    count = int((1 - VALID_RATIO) * len(ids))
    return tuple(ids[k] for k in permutation[:count]), tuple(ids[k] for k in permutation[count:])


SUPERB = protocols.register("superb")(
    Protocol(
        name="superb",
        description="dev drawn as S3PRL draws it from the order of utterances; best dev accuracy is tested",
        folds="those of the corpus, speaker-disjoint",
        dev="a random 20 % of the training utterances under seed 0, as S3PRL divides them; speakers shared with train",
        selection="accuracy",
        speaker_disjoint_dev=False,
        by_position=True,
        divide=divide_superb,
    )
)

protocols.register("superb-transductive")(SUPERB.as_transductive())


def divide_strict(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Dev is every training utterance of the speakers that the next fold, cyclically, tests on.

    Raises:
        ProtocolError: if there are fewer than three folds
    """
    numbers = sorted(training.test_speakers)
    if len(numbers) < 3:
        raise ProtocolError(
            f"protocol strict: needs at least 3 folds (train, dev and test speakers), found {len(numbers)}. "
            "Give the corpus more folds or more speakers, or use the protocol superb"
        )
    following = numbers[(numbers.index(training.fold) + 1) % len(numbers)]
    return training.hold_out(training.test_speakers[following])


STRICT = protocols.register("strict")(
    Protocol(
        name="strict",
        description="speaker-disjoint train, dev and test; the checkpoint with the best dev UA is tested",
        folds="those of the corpus, or up to five; speaker-disjoint",
        dev="the test speakers of the next fold, cyclically; no speaker shared with train",
        selection="ua",
        divide=divide_strict,
    )
)

protocols.register("strict-transductive")(STRICT.as_transductive())


# Oracle: the best checkpoint on the test set itself, as some papers score.
#
# No held-out figure: it tells how much choosing on the test set flatters. It is marked wherever it is shown.


def divide_oracle(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Everything outside of the test set trains, and the test set selects."""
    return tuple(item.id for item in training.utterances), tuple(item.id for item in training.test)


protocols.register("oracle")(
    Protocol(
        name="oracle",
        description="the checkpoint with the best UA on the test set itself: flattering, as some papers score",
        folds="those of the corpus, or up to five; speaker-disjoint",
        dev="the test set itself",
        selection="ua",
        selection_on_test=True,
        divide=divide_oracle,
    )
)


# The division that a corpus' publishers prescribe once: train, dev and test, as MSP-Podcast and MELD have them.
#
# Such divisions may share speakers, and utterances of unknown speakers are where they are put; the audit says so.


def divide_official(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The official train and dev parts, or the lists of the fold."""
    if any(item.official_part is not None for item in training.test):
        train, dev = (
            tuple(item.id for item in training.utterances if item.official_part == part) for part in ("train", "dev")
        )
        return train, dev
    dev = tuple(item.id for item in training.dev)
    return tuple(item.id for item in training.utterances if item.id not in set(dev)), dev


protocols.register("official")(
    Protocol(
        name="official",
        description="the corpus' official train, dev and test, which may share speakers; best dev UA is tested",
        folds="one: the official test part, of several the first; speakers may be shared with train",
        dev="the official dev part; speakers may be shared with train",
        selection="ua",
        speaker_disjoint_dev=False,
        speaker_disjoint_test=False,
        test_sets=official_folds,
        divide=divide_official,
    )
)


# The division of arXiv 2312.11503: stratified 80/20 for test, then 80/20 for dev, whoever speaks.
#
# Its speakers are shared between all sets, so its figures are no figures on unheard speakers. Not stated there, and
# ours: the seed, and that dev UA selects. ``paper-d`` balances training parts only; ``paper-d-released`` keeps the
# order of the notebook, which balances before the second division and so puts augmented siblings of training clips into
# dev.

SHARE = 0.2


def divide_paper_d(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A stratified fifth of what is left selects."""
    train, dev = stratified_cut(training.utterances, SHARE, SEED, "protocol paper-d")
    return tuple(item.id for item in train), tuple(item.id for item in dev)


PAPER_D = protocols.register("paper-d")(
    Protocol(
        name="paper-d",
        description="stratified 80/20, then 80/20, as in arXiv 2312.11503; speakers are shared between all sets",
        folds="one: a stratified random 20 % under seed 0; speakers shared with train",
        dev="a stratified random 20 % of the rest under seed 0; speakers shared with train",
        selection="ua",
        speaker_disjoint_dev=False,
        speaker_disjoint_test=False,
        follows_lists=False,
        test_sets=functools.partial(random_share, SHARE, SEED),
        divide=divide_paper_d,
    )
)

protocols.register("paper-d-released")(
    dataclasses.replace(
        PAPER_D,
        name="paper-d-released",
        description="paper-d, balanced before dev is divided off, as in its notebook: dev holds siblings of train",
        dev="a stratified random 20 % of the rest under seed 0, after it was balanced: augmented siblings and speakers "
        "shared with train",
        siblings_in_dev=True,
    )
)


DEV_SHARE = 0.2
"""Of the speakers that are left; the share is ours."""


def divide_loso(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Dev is the speakers of the next folds, cyclically: a fifth of those that are left, rounded up.

    Where these leave dev or train without a class, those that have one still missing in dev are taken first.
    """
    numbers = sorted(training.test_speakers)
    place = numbers.index(training.fold)
    count = math.ceil(DEV_SHARE * (len(numbers) - 1))
    following = [name for step in range(1, len(numbers)) for name in training.test_speakers[_at(numbers, place + step)]]
    classes: dict[str, set[str]] = {name: set() for name in following}
    for item in training.utterances:
        classes[item.speaker].add(item.label)
    known = set().union(*classes.values())
    held_out = following[:count]
    if not _complete(held_out, classes, known):
        held_out = _covering(following, classes, known, count)
    return training.hold_out(frozenset(held_out))


def _at(numbers: Sequence[int], place: int) -> int:
    return numbers[place % len(numbers)]


def _complete(held_out: Sequence[str], classes: Mapping[str, set[str]], known: set[str]) -> bool:
    rest = [found for name, found in classes.items() if name not in held_out]
    return set().union(*rest) == known == set().union(*(classes[name] for name in held_out))


def _covering(following: Sequence[str], classes: Mapping[str, set[str]], known: set[str], count: int) -> list[str]:
    """``count`` speakers with as many classes as there can be, without taking a class from train.

    Rare classes first; of the speakers with a class, the first who bring the most others that are missing.
    """
    speakers_of = {label: [name for name in following if label in classes[name]] for label in sorted(known)}
    held_out: list[str] = []
    have: set[str] = set()

    def can_go(name: str) -> bool:
        left = {label: sum(other not in held_out for other in found) for label, found in speakers_of.items()}
        return name not in held_out and all(left[label] > 1 for label in classes[name])

    for label in sorted(known, key=lambda label: len(speakers_of[label])):
        free = [name for name in speakers_of[label] if can_go(name)]
        if label not in have and free and len(held_out) < count:
            held_out.append(max(free, key=lambda name: len(classes[name] - have)))
            have |= classes[held_out[-1]]
    for name in following:
        if len(held_out) < count and can_go(name):
            held_out.append(name)
    return held_out or list(following[:count])


protocols.register("loso")(
    Protocol(
        name="loso",
        description="leave one speaker out; the checkpoint with the best UA on other held-out speakers is tested",
        folds="one speaker each",
        dev="the next fifth of the speakers, in the order of their names, cyclically, or others where these leave dev "
        "or train without a class; no speaker shared with train",
        selection="ua",
        follows_lists=False,
        test_sets=one_speaker_each,
        divide=divide_loso,
    )
)


def test_sets(manifest: Manifest) -> TestSets:
    """The folds of a combined corpus, each testing on corpora that it does not train on.

    Raises:
        ProtocolError: if the manifest combines no corpora, or a fold trains and tests on the same one
    """
    if any(item.corpus is None for item in manifest.utterances):
        raise ProtocolError(
            f"{manifest.corpus}: protocol cross needs several corpora: --corpus combined with "
            "--corpus-option parts=A,B, or train=A and test=B"
        )
    tests = corpus_folds(manifest)
    for number, items in tests.items():
        tested = {item.corpus for item in items}
        listed = manifest.train_order.get(number)
        training = manifest.utterances if listed is None else [manifest.by_id[name] for name in listed]
        chosen = {item.id for item in items}
        both = sorted({str(item.corpus) for item in training if item.id not in chosen and item.corpus in tested})
        if both:
            raise ProtocolError(f"{manifest.corpus}, protocol cross, fold {number}: trains and tests on {both[0]}")
    return tests


def divide_cross(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Dev is, in each training corpus, the first of up to five speaker-disjoint folds; a lone speaker trains.

    Where the first fold leaves train or dev without a class of its corpus, it is the fold that leaves most of them.
    """
    by_corpus: dict[str | None, list[Utterance]] = {}
    for item in training.utterances:
        by_corpus.setdefault(item.corpus, []).append(item)
    held_out: set[str] = set()
    for corpus, items in by_corpus.items():
        if len({item.speaker for item in items}) > 1:
            numbers = folds_by_speaker(items, str(corpus))
            pairs = list(zip(items, numbers, strict=True))

            def classes(number: int, pairs: list[tuple[Utterance, int]] = pairs) -> tuple[int, int]:
                trained = {item.label for item, other in pairs if other != number}
                return len(trained), len({item.label for item, other in pairs if other == number})

            chosen = max(sorted(set(numbers)), key=classes)  # the first of equals
            held_out |= {item.speaker for item, number in pairs if number == chosen}
    return training.hold_out(held_out)


protocols.register("cross")(
    Protocol(
        name="cross",
        description="train on some corpora, test on another; best UA on held-out speakers of the training corpora",
        folds="one corpus each, or the corpora named as test; none of them trained on",
        dev="of each training corpus the first of up to five speaker-disjoint folds that leaves every class in train "
        "and dev, or most; no speaker shared with train",
        selection="ua",
        labels="those that all corpora share, unless the corpus says otherwise",
        test_sets=test_sets,
        divide=divide_cross,
    )
)


# The lists that a corpus prescribes, as its publishers (EmoBox, for example) give them out.
#
# Many such lists share speakers between train and test, so the protocol allows it; the audit says where it is so.


def divide_published(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The prescribed dev list; where there is none, a random 20 % of the training list under seed 0 (ours)."""
    if not training.dev:
        return divide_superb(training)
    dev = tuple(item.id for item in training.dev)
    return tuple(item.id for item in training.utterances if item.id not in set(dev)), dev


protocols.register("published")(
    Protocol(
        name="published",
        description="the corpus' own train, dev and test lists, which may share speakers; best dev UA is tested",
        folds="those that the corpus prescribes; speakers may be shared with train",
        dev="the corpus' own, or a random 20 % of its training list under seed 0; speakers may be shared with train",
        selection="ua",
        speaker_disjoint_dev=False,
        speaker_disjoint_test=False,
        test_sets=published_folds,
        divide=divide_published,
    )
)
