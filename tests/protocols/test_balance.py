"""Balancing after the division: who is kept, who is copied, and that no copy is where its source is not."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.errors import ProtocolError
from s3prl_emotion.protocols import audit, make_folds, protocols
from s3prl_emotion.protocols.balance import Balanced, balanced, parse_size, stand_in
from s3prl_emotion.protocols.behaviour import examples, record
from s3prl_emotion.protocols.split import Folds

LABELS = ("ang", "sad")


def unequal(speakers: int = 6, most: int = 9) -> Manifest:
    """Two classes, of which one has three times as many utterances."""
    items = [
        Utterance(f"s{speaker}-{label}-{take}", f"{speaker}{label}{take}.wav", label, f"s{speaker}")
        for speaker in range(speakers)
        for label, count in (("ang", most), ("sad", most // 3))
        for take in range(count)
    ]
    return Manifest("unequal", LABELS, ".", tuple(items))


def whole(manifest: Manifest, found: Balanced) -> Manifest:
    """The corpus with its copies, as if they had been made."""
    copies = [stand_in(manifest.by_id[copy.of], copy) for copy in found.copies]
    return manifest.with_utterances((*manifest.utterances, *copies))


def counts(manifest: Manifest, ids: tuple[str, ...]) -> Counter[str]:
    return Counter(manifest.by_id[name].label for name in ids)


DIVIDED = [
    (manifest, name)
    for manifest in (*(item for item in examples() if item.corpus not in ("many", "more")), unequal())
    for name in protocols.names()
    if not (manifest.corpus == "nameless" and protocols.get(name).needs_speakers)
]


def divided(manifest: Manifest, name: str, size: int | str) -> tuple[Folds, Balanced]:
    """No folds where the protocol refuses the corpus."""
    try:
        folds = make_folds(manifest, name)
        return folds, balanced(manifest, folds, size, seed=0)
    except ProtocolError:
        return Folds(name, ()), Balanced(Folds(name, ()), ())


@pytest.mark.parametrize(("manifest", "name"), DIVIDED, ids=[f"{m.corpus}-{n}" for m, n in DIVIDED])
@pytest.mark.parametrize("size", [12, "median"])
class TestEveryProtocol:
    def test_a_sibling_of_dev_or_test_is_never_in_train(self, manifest, name, size):
        """Unless the protocol says so, and then of dev alone."""
        _, found = divided(manifest, name, size)
        corpus = whole(manifest, found)

        def roots(ids):
            return {corpus.by_id[item].source or item for item in ids}

        for fold in found.folds.folds:
            assert not roots(fold.train) & roots(fold.test) or protocols.get(name).selection_on_test
            assert all(corpus.by_id[item].source is None for item in fold.test)
            if not protocols.get(name).siblings_in_dev:
                assert not roots(fold.train) & roots(fold.dev)
                assert all(corpus.by_id[item].source is None for item in fold.dev)
        leaks = audit.audit(corpus, found.folds, protocols.get(name))
        assert not [item for item in leaks if item.kind == "sibling" and item.status == audit.LEAK]

    def test_classes_have_the_asked_size_and_dev_and_test_stay(self, manifest, name, size):
        folds, found = divided(manifest, name, size)
        corpus = whole(manifest, found)
        for before, after in zip(folds.folds, found.folds.folds, strict=True):
            assert after.test == before.test
            if protocols.get(name).siblings_in_dev:
                continue
            assert after.dev == before.dev
            there = sorted(counts(manifest, before.train).values())
            wanted = there[len(there) // 2] if size == "median" else size
            assert set(counts(corpus, after.train).values()) == {wanted}
            assert len(set(after.train)) == len(after.train)


class TestWhoIsCopied:
    @pytest.mark.parametrize(("size", "expected"), [("max", 9), ("min", 3), (4, 4)])
    def test_sizes_by_name(self, size, expected):
        manifest = unequal(speakers=3)
        found = balanced(manifest, make_folds(manifest, "loso"), size, seed=0)
        assert {
            counts(whole(manifest, found), fold.train)[label] for fold in found.folds.folds for label in LABELS
        } == {expected}

    def test_every_utterance_is_copied_as_often_but_one(self):
        manifest = unequal()
        found = balanced(manifest, make_folds(manifest, "strict"), 50, seed=0)
        for fold in found.folds.folds:
            copied = Counter(name.partition("#")[0] for name in fold.train)
            for label in LABELS:
                times = [count for name, count in copied.items() if manifest.by_id[name].label == label]
                assert max(times) - min(times) <= 1

    def test_copies_are_counted_from_one_in_rounds(self):
        """The number decides what is drawn for a copy, so it must be each utterance's own: 1, 2, ... without a gap."""
        manifest = unequal()
        found = balanced(manifest, make_folds(manifest, "strict"), 50, seed=0)
        for fold in found.folds.folds:
            names = [name for name in fold.train if "#" in name]
            of: dict[str, list[int]] = {}
            for name in names:
                of.setdefault(name.rpartition("#")[0], []).append(int(name.rpartition("#")[2]))
            assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in of.values())
            assert max(map(len, of.values())) > 1
        copy = found.copies[0]
        assert (copy.number, copy.id) == (1, f"{copy.of}#1")

    def test_speaker_label_and_votes_are_the_sources(self):
        manifest = unequal()
        manifest = manifest.with_utterances(
            dataclasses.replace(item, soft={item.label: 1.0}, fold=1, start_s=0.5, content="c", session="S")
            for item in manifest.utterances
        )
        source = manifest.utterances[0]
        copy = stand_in(source, balanced(unequal(), make_folds(unequal(), "strict"), 50, 0).copies[0])
        assert (copy.speaker, copy.label, copy.soft, copy.session) == ("s0", "ang", {"ang": 1.0}, "S")
        assert copy.source == source.id
        assert (copy.fold, copy.start_s, copy.content) == (None, None, None)

    def test_the_order_depends_on_the_seed_alone(self):
        manifest = unequal()
        folds = make_folds(manifest, "strict")
        assert balanced(manifest, folds, 7, 0) == balanced(manifest, folds, 7, 0)
        assert balanced(manifest, folds, 7, 0).folds != balanced(manifest, folds, 7, 1).folds

    def test_the_rest_stays_in_its_order(self):
        manifest = unequal()
        folds = make_folds(manifest, "strict")
        found = balanced(manifest, folds, 7, 0).folds
        for before, after in zip(folds.folds, found.folds, strict=True):
            kept = [name for name in after.train if "#" not in name]
            assert kept == [name for name in before.train if name in set(kept)]


def test_every_protocol_divides_one_of_the_corpora():
    assert {name for manifest, name in DIVIDED if divided(manifest, name, 12)[0].folds} == set(protocols.names())


class TestTheReleasedOrder:
    def test_dev_has_siblings_of_train_and_the_audit_shows_it(self):
        manifest = unequal()
        found = balanced(manifest, make_folds(manifest, "paper-d-released"), 80, seed=0)
        corpus = whole(manifest, found)
        findings = audit.audit(corpus, found.folds, protocols.get("paper-d-released"))
        siblings = [item for item in findings if item.kind == "sibling"]
        assert [(item.between, item.status) for item in siblings] == [(("train", "dev"), "declared")]
        assert siblings[0].count / siblings[0].of > 0.7
        audit.refuse_leaks(findings, protocols.get("paper-d-released"), "unequal")

    def test_the_same_division_leaks_under_a_protocol_that_does_not_say_so(self):
        manifest = unequal()
        found = balanced(manifest, make_folds(manifest, "paper-d-released"), 80, seed=0)
        findings = audit.audit(whole(manifest, found), found.folds, protocols.get("paper-d"))
        with pytest.raises(ProtocolError, match="sibling: train and dev share"):
            audit.refuse_leaks(findings, protocols.get("paper-d"), "unequal")

    def test_all_of_the_pool_is_balanced_and_test_is_not(self):
        manifest = unequal()
        folds = make_folds(manifest, "paper-d-released")
        found = balanced(manifest, folds, 80, seed=0)
        corpus = whole(manifest, found)
        (fold,) = found.folds.folds
        assert counts(corpus, (*fold.train, *fold.dev)) == {"ang": 80, "sad": 80}
        assert counts(corpus, fold.dev) == {"ang": 16, "sad": 16}
        assert fold.test == folds.folds[0].test

    def test_its_record_differs_from_that_of_paper_d(self):
        manifest = unequal()
        one, other = (record(manifest, make_folds(manifest, name)) for name in ("paper-d", "paper-d-released"))
        assert one["sha256"] != other["sha256"]
        assert "siblings_in_dev" not in one
        assert other["siblings_in_dev"] is True


def test_balanced_and_not_are_one_division(tmp_path):
    """What is tested and selected on is the same, so that both can be compared."""
    manifest = unequal()
    folds = make_folds(manifest, "strict")
    found = balanced(manifest, folds, 30, 0)
    corpus = whole(manifest, found)
    assert record(corpus, found.folds)["split_sha256"] == record(manifest, folds)["split_sha256"]
    assert found.folds.sha256() != folds.sha256()
    found.folds.write(tmp_path / "folds.json")
    assert Folds.read(tmp_path / "folds.json") == found.folds


def test_an_id_that_is_taken_is_named():
    manifest = unequal()
    taken = dataclasses.replace(manifest.utterances[0], id=f"{manifest.utterances[0].id}#1")
    manifest = manifest.with_utterances((*manifest.utterances, taken))
    with pytest.raises(ProtocolError, match=r"the id 's0-ang-0#1' is that of a copy"):
        balanced(manifest, make_folds(manifest, "strict"), 500, 0)


@pytest.mark.parametrize("given", ["0", "-1", "many", "", "1.5", "٣", "9" * 50, "1000001"])
def test_sizes_that_are_none(given):
    with pytest.raises(ValueError, match="expected how many utterances of each class"):
        parse_size(given)


@pytest.mark.parametrize(("given", "size"), [("2000", 2000), ("1", 1), ("max", "max"), ("median", "median")])
def test_sizes(given, size):
    assert parse_size(given) == size
