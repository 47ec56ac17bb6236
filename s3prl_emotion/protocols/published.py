"""The lists that a corpus prescribes, as its publishers (EmoBox, for example) give them out.

Many such lists share speakers between train and test, so the protocol allows it; the audit says where it is so.
"""

from __future__ import annotations

from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.folding import published_folds
from s3prl_emotion.protocols.protocol import Protocol, TrainingPool
from s3prl_emotion.protocols.superb import divide as divide_at_random


def divide(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The prescribed dev list; where there is none, a random 20 % of the training list under seed 0 (ours)."""
    if not training.dev:
        return divide_at_random(training)
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
        divide=divide,
    )
)
