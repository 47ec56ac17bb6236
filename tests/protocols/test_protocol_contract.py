"""Every registered protocol keeps the promises of :class:`s3prl_emotion.protocols.Protocol`.

Each promise is a ``check_*`` function, so that the end of this file can show that it fails where a promise is broken.
"""

from __future__ import annotations

import dataclasses
import functools
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.errors import ProtocolError
from s3prl_emotion.protocols import Folds, Protocol, TrainingPool, behaviour, folding, make_folds, named, protocols
from s3prl_emotion.protocols.behaviour import LABELS, declared, divide_example, examples
from s3prl_emotion.protocols.split import divide_unchecked

NAMES = protocols.names()
every_protocol = pytest.mark.parametrize("name", NAMES)
EXAMPLES = {item.corpus: item for item in examples()}


def few(*rows: tuple[str, str]) -> Manifest:
    """Utterances of ``(speaker, label)``, without folds, sessions and texts."""
    items = (Utterance(f"u{k}", f"u{k}.wav", label, speaker) for k, (speaker, label) in enumerate(rows))
    return Manifest("few", LABELS, ".", tuple(items))


HARD = {
    **EXAMPLES,
    "one utterance": few(("s", "ang")),
    "an utterance each": few(*((f"s{k}", LABELS[k % 4]) for k in range(5))),
    "one speaker": few(*(("s", label) for label in LABELS * 6)),
    "a speaker for each class": few(*((f"s-{label}", label) for label in LABELS * 6)),
    "one class": dataclasses.replace(few(*((f"s{k % 6}", "ang") for k in range(30))), labels=("ang",)),
    "a class that nobody has": few(*((f"s{k % 6}", LABELS[k % 3]) for k in range(36))),
    "partly nameless": few(*(("" if k % 5 else f"s{k}", LABELS[k % 4]) for k in range(40))),
    "one fold": EXAMPLES["sessions"].with_utterances(
        dataclasses.replace(item, fold=1) for item in EXAMPLES["sessions"].utterances
    ),
    "folds for some": EXAMPLES["sessions"].with_utterances(
        dataclasses.replace(item, fold=item.fold if item.fold != 3 else None)
        for item in EXAMPLES["sessions"].utterances
    ),
    "folds across speakers": EXAMPLES["sessions"].with_utterances(
        dataclasses.replace(item, fold=k % 4 + 1) for k, item in enumerate(EXAMPLES["sessions"].utterances)
    ),
}


def folds_of(protocol: Protocol, manifest: Manifest) -> Folds | None:
    """None where the protocol refuses the corpus."""
    try:
        return make_folds(manifest, protocol)
    except ProtocolError:
        return None


# --- promises ---------------------------------------------------------------------------------------------------------


def check_refusals_are_of_our_kind(protocol: Protocol, manifest: Manifest) -> None:
    folds_of(protocol, manifest)  # anything else than a ProtocolError comes through


def check_deterministic(protocol: Protocol, manifest: Manifest) -> None:
    def states() -> tuple[object, ...]:
        return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()

    before = states()
    first = folds_of(protocol, manifest)
    assert states() == before, "a global random state was moved"
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    assert folds_of(protocol, manifest) == first
    again = Manifest(**{field.name: getattr(manifest, field.name) for field in dataclasses.fields(manifest)})
    assert folds_of(protocol, again) == first


def check_tested_at_most_once(protocol: Protocol, manifest: Manifest) -> None:
    tested = Counter(name for fold in divide_unchecked(manifest, protocol) for name in fold.test)
    assert tested
    assert max(tested.values()) == 1
    assert set(tested) <= set(manifest.by_id)


def check_parts_are_disjoint(protocol: Protocol, manifest: Manifest) -> None:
    for fold in divide_unchecked(manifest, protocol):
        for part in (fold.train, fold.dev, fold.test):
            assert part
            assert len(set(part)) == len(part)
            assert set(part) <= set(manifest.by_id)
        train, dev, test = set(fold.train), set(fold.dev), set(fold.test)
        assert not train & dev
        assert not train & test
        assert dev == test if protocol.selection_on_test else not dev & test


def check_declared_sharing_only(protocol: Protocol, manifest: Manifest) -> None:
    for fold in divide_unchecked(manifest, protocol):
        train, dev, test = (
            {manifest.by_id[name].speaker for name in part} for part in (fold.train, fold.dev, fold.test)
        )
        if protocol.speaker_disjoint_dev:
            assert not train & dev
        if protocol.speaker_disjoint_test:
            assert not train & test
            assert protocol.selection_on_test or not dev & test


def dividing(name: str) -> list[Manifest]:
    """The examples that a protocol divides; there must be one."""
    found = [item for item in EXAMPLES.values() if folds_of(protocols.get(name), item) is not None]
    assert found, f"no example is divided by {name}: its fingerprint would say nothing"
    return found


@every_protocol
@pytest.mark.parametrize("corpus", HARD)
def test_divides_or_refuses(name: str, corpus: str) -> None:
    check_refusals_are_of_our_kind(protocols.get(name), HARD[corpus])


@every_protocol
@pytest.mark.parametrize("corpus", ["sessions", "free", "parts", "nameless", "one speaker"])
def test_deterministic(name: str, corpus: str) -> None:
    check_deterministic(protocols.get(name), HARD[corpus])


@every_protocol
def test_tested_at_most_once(name: str) -> None:
    for manifest in dividing(name):
        check_tested_at_most_once(protocols.get(name), manifest)


@every_protocol
def test_parts_are_disjoint(name: str) -> None:
    for manifest in dividing(name):
        check_parts_are_disjoint(protocols.get(name), manifest)


@every_protocol
def test_declared_sharing_only(name: str) -> None:
    for manifest in dividing(name):
        check_declared_sharing_only(protocols.get(name), manifest)


@every_protocol
def test_declares_in_words(name: str) -> None:
    protocol = protocols.get(name)
    assert protocol.name == name
    for text in (protocol.description, protocol.folds, protocol.dev, protocol.labels):
        assert text.strip() == text != ""


# --- the fingerprint is of what is done -------------------------------------------------------------------------------


def fingerprint(protocol: Protocol) -> str:
    behaviour._behaviour.cache_clear()
    return str(declared(protocol)["sha256"])


@pytest.mark.parametrize(
    ("name", "module", "constant", "value"),
    [
        ("superb", named, "SEED", 1),
        ("superb", named, "VALID_RATIO", 0.25),
        ("superb-transductive", named, "SEED", 1),
        ("published", named, "SEED", 1),
        ("loso", named, "DEV_SHARE", 0.19),
        ("loso", named, "DEV_SHARE", 0.21),
        ("strict", folding, "MAX_FOLDS", 4),
        ("strict", folding, "MIN_FOLDS", 4),
        ("oracle", folding, "MAX_FOLDS", 6),
        ("cross", folding, "MAX_FOLDS", 3),
    ],
)
def test_a_changed_rule_changes_the_fingerprint(name, module, constant, value, monkeypatch) -> None:
    before = fingerprint(protocols.get(name))
    monkeypatch.setattr(module, constant, value)
    try:
        assert fingerprint(protocols.get(name)) != before
    finally:
        behaviour._behaviour.cache_clear()


def test_paper_d_has_its_share_and_seed_in_its_fingerprint() -> None:
    protocol = protocols.get("paper-d")
    for share, seed in ((0.25, 0), (0.2, 1)):
        other = dataclasses.replace(protocol, test_sets=functools.partial(folding.random_share, share, seed))
        assert other == protocol, "the words are the same"
        assert fingerprint(other) != fingerprint(protocol)


@every_protocol
def test_an_equal_rule_written_otherwise_has_the_same_fingerprint(name: str) -> None:
    protocol = protocols.get(name)

    def rewritten(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
        train, dev = (list(part) for part in protocol.divide(training))
        return tuple(train), tuple(dev)

    other = dataclasses.replace(protocol, test_sets=lambda manifest: protocol.test_sets(manifest), divide=rewritten)
    assert fingerprint(other) == fingerprint(protocol)


def test_the_fingerprint_is_that_of_another_process_and_says_nothing(caplog) -> None:
    with caplog.at_level("DEBUG"):
        here = {name: fingerprint(protocols.get(name)) for name in NAMES}
    assert caplog.text == ""
    code = (
        "from s3prl_emotion.protocols import protocols\n"
        "from s3prl_emotion.protocols.behaviour import declared\n"
        f"print({{name: declared(protocols.get(name))['sha256'] for name in {NAMES[::-1]!r}}} == {here!r})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"


def test_a_rule_that_fails_on_an_example_still_has_a_fingerprint() -> None:
    def divide(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return training.hold_out({training.utterances[0].speaker, str({}[training.fold])})

    protocol = dataclasses.replace(protocols.get("strict"), divide=divide)
    assert divide_example(EXAMPLES["sessions"], protocol) == ["KeyError"]
    assert len(fingerprint(protocol)) == 64


# --- the checks fail where a promise is broken ------------------------------------------------------------------------


def broken(**changes: object) -> Protocol:
    return dataclasses.replace(protocols.get("strict"), **changes)  # type: ignore[arg-type]


def at_random(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    ids = [item.id for item in training.utterances]
    random.shuffle(ids)
    return tuple(ids[20:]), tuple(ids[:20])


def with_test(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    ids = tuple(item.id for item in training.utterances)
    return (*ids[8:], training.test[0].id), ids[:8]


def half_of_everybody(training: TrainingPool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    ids = tuple(item.id for item in training.utterances)
    return ids[::2], ids[1::2]


def twice(manifest: Manifest) -> folding.TestSets:
    found = folding.corpus_folds(manifest)
    return {**found, 2: [*found[2], *found[1]]}


@pytest.mark.parametrize(
    ("check", "protocol"),
    [
        (check_deterministic, broken(divide=at_random, speaker_disjoint_dev=False, speaker_disjoint_test=False)),
        (check_tested_at_most_once, broken(test_sets=twice)),
        (check_parts_are_disjoint, broken(divide=with_test)),
        (check_declared_sharing_only, broken(divide=half_of_everybody)),
        (check_refusals_are_of_our_kind, broken(divide=lambda training: training.missing)),
    ],
)
def test_the_checks_see_what_is_broken(check: Callable[[Protocol, Manifest], None], protocol: Protocol) -> None:
    with pytest.raises((AssertionError, AttributeError)):
        check(protocol, EXAMPLES["sessions"])
