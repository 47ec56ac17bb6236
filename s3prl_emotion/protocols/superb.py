"""SUPERB's protocol, as S3PRL's emotion task divides: bit by bit where its order of utterances is known.

The dev set is what ``torch.utils.data.random_split`` cuts off the training list under ``torch.manual_seed(0)``; it
shares its speakers with the training set (Yang et al., SUPERB, Interspeech 2021).
"""

from __future__ import annotations

from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.protocol import Protocol, TrainingPool

VALID_RATIO = 0.2
SEED = 0


def divide(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
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
        divide=divide,
    )
)

protocols.register("superb-transductive")(SUPERB.as_transductive())
