"""The division that a corpus' publishers prescribe once: train, dev and test, as MSP-Podcast and MELD have them.

Such divisions may share speakers, and utterances of unknown speakers are where they are put; the audit says so.
"""

from __future__ import annotations

from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.folding import official_folds
from s3prl_emotion.protocols.protocol import Protocol, TrainingPool


def divide(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
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
        divide=divide,
    )
)
