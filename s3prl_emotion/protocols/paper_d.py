"""The division of arXiv 2312.11503: stratified 80/20 for test, then 80/20 for dev, whoever speaks.

Its speakers are shared between all sets, so its figures are no figures on unheard speakers. Not stated there, and ours:
the seed, and that dev UA selects. ``paper-d`` balances training parts only; ``paper-d-released`` keeps the order of the
notebook, which balances before the second division and so puts augmented siblings of training clips into dev.
"""

from __future__ import annotations

import dataclasses
import functools

from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.folding import random_share, stratified_cut
from s3prl_emotion.protocols.protocol import Protocol, TrainingPool

SHARE = 0.2
SEED = 0


def divide(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
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
        divide=divide,
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
