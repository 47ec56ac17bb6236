"""The strict protocol: no speaker is shared between train, dev and test, and dev selects by unweighted accuracy."""

from __future__ import annotations

from s3prl_emotion.errors import ProtocolError
from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.protocol import Protocol, TrainingPool


def divide(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
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
        divide=divide,
    )
)

protocols.register("strict-transductive")(STRICT.as_transductive())
