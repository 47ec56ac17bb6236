"""Across corpora: train on some, test on another, over the classes that they share."""

from __future__ import annotations

from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.errors import ProtocolError
from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.folding import TestSets, corpus_folds, folds_by_speaker
from s3prl_emotion.protocols.protocol import Protocol, TrainingPool


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


def divide(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
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
        divide=divide,
    )
)
