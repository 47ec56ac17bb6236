"""Oracle: the best checkpoint on the test set itself, as some papers score.

No held-out figure: it tells how much choosing on the test set flatters. It is marked wherever it is shown.
"""

from __future__ import annotations

from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.protocol import Protocol, TrainingPool


def divide(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
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
        divide=divide,
    )
)
