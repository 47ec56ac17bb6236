"""Every named protocol beyond `superb` and `strict`: what it divides, what it declares, and its record."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.errors import ProtocolError
from s3prl_emotion.protocols import make_folds, protocols
from s3prl_emotion.protocols.behaviour import declared
from s3prl_emotion.protocols.folding import folds_by_speaker

LABELS = ("neu", "ang")


def corpus(speakers=6, per_class=5, folds=3, name="mine", within=None):
    utterances = [
        Utterance(
            f"{name}-s{s:02}-{label}-{n}",
            f"{s}/{label}{n}.wav",
            label,
            f"{name}-s{s:02}",
            fold=s % folds + 1 if folds else None,
            corpus=within,
        )
        for s in range(speakers)
        for label in LABELS
        for n in range(per_class)
    ]
    return Manifest(name, LABELS, ".", tuple(utterances))


def speakers_of(manifest, ids):
    return {manifest.by_id[name].speaker for name in ids}


def together(*manifests):
    """Several corpora in one manifest, each the test fold once."""
    items = [
        dataclasses.replace(item, corpus=m.corpus, fold=number)
        for number, m in enumerate(manifests, start=1)
        for item in m.utterances
    ]
    return Manifest("combined", LABELS, ".", tuple(items))


def test_loso_tests_every_speaker_once_and_holds_dev_speakers_out():
    manifest = corpus(speakers=11)
    folds = make_folds(manifest, "loso")
    assert [speakers_of(manifest, fold.test) for fold in folds.folds] == [{name} for name in manifest.speakers]
    for fold in folds.folds:
        sets = [speakers_of(manifest, part) for part in (fold.train, fold.dev, fold.test)]
        assert [len(part) for part in sets] == [8, 2, 1]  # a fifth of 10 is held out
        assert len(set.union(*sets)) == 11
    last = folds[11]
    assert speakers_of(manifest, last.dev) == {"mine-s00", "mine-s01"}  # cyclic


def test_losos_fifth_is_rounded_up():
    manifest = corpus(speakers=8)  # a fifth of 7
    assert {len(speakers_of(manifest, fold.dev)) for fold in make_folds(manifest, "loso").folds} == {2}


def test_loso_needs_three_speakers():
    with pytest.raises(
        ProtocolError, match=r"leaving one speaker out needs at least 3 speakers, found mine-s00, mine-s01"
    ):
        make_folds(corpus(speakers=2), "loso")


def test_paper_d_is_stratified_80_20_twice_and_shares_speakers():
    manifest = corpus(speakers=10, per_class=10)
    (fold,) = make_folds(manifest, "paper-d").folds
    assert [len(part) for part in (fold.train, fold.dev, fold.test)] == [128, 32, 40]
    for part in (fold.train, fold.dev, fold.test):
        assert set(Counter(manifest.by_id[name].label for name in part).values()) == {len(part) // 2}
    assert speakers_of(manifest, fold.train) & speakers_of(manifest, fold.test)
    assert sorted(fold.train + fold.dev + fold.test) == sorted(manifest.by_id)
    assert make_folds(manifest, "paper-d").folds == (fold,)


def test_paper_d_names_a_class_that_cannot_be_divided():
    manifest = corpus(per_class=1, speakers=1)
    with pytest.raises(ProtocolError, match="mine: cannot be divided into 80% and 20%"):
        make_folds(manifest, "paper-d")


def test_oracle_selects_on_the_test_set_and_says_so():
    manifest = corpus()
    folds = make_folds(manifest, "oracle")
    for fold in folds.folds:
        assert fold.dev == fold.test
        assert len(fold.train) == 40
    record = declared(protocols.get("oracle"))
    assert record["selection"] == "test ua"
    assert record["selection_on_test"] is True


def test_published_follows_the_lists_and_may_share_speakers():
    manifest = corpus(folds=2)
    shared = dataclasses.replace(manifest.utterances[0], fold=2)  # its speaker is tested in both folds
    manifest = manifest.with_utterances((shared, *manifest.utterances[1:]))
    with pytest.raises(ProtocolError, match="1 speakers are in several folds"):
        make_folds(manifest, "strict")
    ids = [item.id for item in manifest.utterances if item.fold != 1]
    manifest = dataclasses.replace(manifest, train_order={1: tuple(ids[:20])}, dev_order={1: tuple(ids[20:25])})
    folds = make_folds(manifest, "published")
    assert (folds[1].train, folds[1].dev) == (tuple(ids[:20]), tuple(ids[20:25]))
    assert len(folds[2].dev) == 6  # no list: a random fifth of the 29 others


def test_published_dev_that_is_listed_for_training_too_selects_only():
    manifest = corpus(folds=2)
    ids = tuple(item.id for item in manifest.utterances if item.fold != 1)
    manifest = dataclasses.replace(manifest, train_order={1: ids}, dev_order={1: ids[:5]})
    fold = make_folds(manifest, "published")[1]
    assert (fold.train, fold.dev) == (ids[5:], ids[:5])


def test_published_needs_folds():
    with pytest.raises(ProtocolError, match=r"mine: it prescribes no folds\. Use the protocol strict"):
        make_folds(corpus(folds=0), "published")


def test_cross_tests_on_a_corpus_that_it_does_not_train_on():
    manifest = together(*(corpus(speakers, folds=0, name=name) for name, speakers in (("a", 5), ("b", 4), ("c", 1))))
    folds = make_folds(manifest, "cross")
    for fold, tested in zip(folds.folds, "abc", strict=True):
        assert {manifest.by_id[name].corpus for name in fold.test} == {tested}
        assert tested not in {manifest.by_id[name].corpus for name in (*fold.train, *fold.dev)}
        assert not speakers_of(manifest, fold.train) & speakers_of(manifest, fold.dev)
    assert len(speakers_of(manifest, folds[3].dev)) == 2  # one of five and one of four
    first = {
        item.speaker
        for part in ("a", "b")
        for items in [[item for item in manifest.utterances if item.corpus == part]]
        for item, number in zip(items, folds_by_speaker(items, part), strict=True)
        if number == 1
    }
    assert speakers_of(manifest, folds[3].dev) == first
    assert "c-s00" in speakers_of(manifest, folds[1].train)  # a corpus of one speaker trains


def test_cross_with_named_training_and_test_corpora():
    parts = together(corpus(5, name="a", folds=0), corpus(5, name="b", folds=0))
    items = [dataclasses.replace(item, fold=1 if item.corpus == "b" else None) for item in parts.utterances]
    training = tuple(item.id for item in items if item.corpus == "a")
    manifest = Manifest("combined", LABELS, ".", tuple(items), {1: training})
    (fold,) = make_folds(manifest, "cross").folds
    assert len(fold.test) == 50
    assert sorted(fold.train + fold.dev) == sorted(training)


def test_cross_refuses_one_corpus_and_training_on_the_tested_one():
    with pytest.raises(ProtocolError, match=r"cross needs several corpora: --corpus combined"):
        make_folds(corpus(), "cross")
    mixed = together(corpus(name="a", folds=0), corpus(name="b", folds=0))
    items = [dataclasses.replace(item, fold=int(item.speaker[-1]) % 2 + 1) for item in mixed.utterances]
    with pytest.raises(ProtocolError, match="fold 1: trains and tests on a"):
        make_folds(mixed.with_utterances(items), "cross")


@pytest.mark.parametrize("name", ["superb", "strict"])
def test_transductive_variants_divide_alike_and_have_another_fingerprint(name):
    manifest = corpus()
    plain, transductive = protocols.get(name), protocols.get(f"{name}-transductive")
    assert transductive.transductive
    assert make_folds(manifest, plain).folds == make_folds(manifest, transductive).folds
    assert declared(plain)["sha256"] != declared(transductive)["sha256"]


@pytest.mark.parametrize("name", protocols.names())
def test_records_hold_what_is_declared(name):
    record = declared(protocols.get(name))
    assert record["name"] == name
    assert len(record["sha256"]) == 64
    assert len({declared(protocols.get(other))["sha256"] for other in protocols.names()}) == len(protocols.names())
    changed = declared(dataclasses.replace(protocols.get(name), dev="something else"))
    assert changed["sha256"] != record["sha256"]
