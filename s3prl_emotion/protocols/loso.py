"""Leave one speaker out: as many folds as speakers, with held-out dev speakers as well."""

from __future__ import annotations

import math

from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.folding import one_speaker_each
from s3prl_emotion.protocols.protocol import Protocol, Training

DEV_SHARE = 0.2
"""Of the speakers that are left; the share is ours."""


def divide(training: Training) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Dev is the speakers of the next folds, cyclically: a fifth of those that are left, rounded up."""
    numbers = sorted(training.test_speakers)
    place = numbers.index(training.fold)
    count = math.ceil(DEV_SHARE * (len(numbers) - 1))
    following = [numbers[(place + step) % len(numbers)] for step in range(1, count + 1)]
    held_out = frozenset().union(*(training.test_speakers[number] for number in following))
    return training.hold_out(held_out)


protocols.register("loso")(
    Protocol(
        name="loso",
        description="leave one speaker out; the checkpoint with the best UA on other held-out speakers is tested",
        folds="one speaker each",
        dev="the next fifth of the speakers, in the order of their names, cyclically; no speaker shared with train",
        selection="ua",
        follows_lists=False,
        test_sets=one_speaker_each,
        divide=divide,
    )
)
