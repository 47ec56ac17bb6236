"""Leave one speaker out: as many folds as speakers, with held-out dev speakers as well."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.folding import one_speaker_each
from s3prl_emotion.protocols.protocol import Protocol, TrainingPool

DEV_SHARE = 0.2
"""Of the speakers that are left; the share is ours."""


def divide(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
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
        divide=divide,
    )
)
