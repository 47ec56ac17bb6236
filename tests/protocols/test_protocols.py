"""The division into train, dev and test: S3PRL's to the bit, and the rules that none may break."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch.utils.data import random_split

from s3prl_emotion.corpora import Manifest, Utterance, corpora
from s3prl_emotion.errors import ProtocolError
from s3prl_emotion.protocols import Fold, Folds, make_folds, protocols
from s3prl_emotion.protocols.protocol import TrainingPool

LABELS = ("neu", "ang")


def corpus(speakers=6, per_class=3, folds=3, labels=LABELS):
    """Speakers take turns in the folds; no folds if ``folds`` is 0."""
    utterances = [
        Utterance(f"s{s}-{label}-{n}", f"{s}/{label}{n}.wav", label, f"s{s}", fold=s % folds + 1 if folds else None)
        for s in range(speakers)
        for label in labels
        for n in range(per_class)
    ]
    return Manifest("mine", labels, ".", tuple(utterances))


def stock_split(count):
    """What S3PRL's emotion expert does."""
    with torch.random.fork_rng():
        trainlen = int((1 - 0.2) * count)
        torch.manual_seed(0)
        train, dev = random_split(range(count), [trainlen, count - trainlen])
    return list(train), list(dev)


@pytest.mark.parametrize("count", [5, 7, 16, 100, 1023, 4290, 4380, 4446, 4500, 4508])
def test_superb_is_bit_exact(count):
    utterances = tuple(Utterance(str(k), "a.wav", "neu", "s") for k in range(count))
    torch.manual_seed(123)
    state = torch.random.get_rng_state()
    train, dev = protocols.get("superb").divide(TrainingPool(1, utterances, {1: frozenset()}))
    assert torch.equal(torch.random.get_rng_state(), state), "the global random state was touched"
    expected_train, expected_dev = stock_split(count)
    assert [int(name) for name in train] == expected_train
    assert [int(name) for name in dev] == expected_dev


def test_superb_on_the_demo_follows_the_manifest_order(demo_manifest):
    folds = make_folds(demo_manifest, "superb")
    for fold in folds.folds:
        listed = [u.id for u in demo_manifest.utterances if u.fold != fold.number]
        train, dev = stock_split(len(listed))
        assert fold.train == tuple(listed[k] for k in train)
        assert fold.dev == tuple(listed[k] for k in dev)
        assert fold.test == tuple(u.id for u in demo_manifest.utterances if u.fold == fold.number)


def test_superb_follows_the_order_of_the_metadata(demo_manifest, demo_root, tmp_path):
    """The lists in an order that no sorting gives, as the file system gave it to S3PRL's preprocessing."""
    labels = {name: index for index, name in enumerate(demo_manifest.labels)}
    lists = {}
    for number in range(1, 6):
        for part in ("train", "test"):
            items = [u for u in demo_manifest.utterances if (u.fold == number) == (part == "test")]
            items = [items[k] for k in torch.randperm(len(items), generator=torch.Generator().manual_seed(number))]
            lists[number, part] = [u.id for u in items]
            path = tmp_path / f"Session{number}" / f"{part}_meta_data.json"
            path.parent.mkdir(exist_ok=True)
            rows = [{"path": u.path, "label": u.label, "speaker": u.id.split("_")[0]} for u in items]
            path.write_text(json.dumps({"labels": labels, "meta_data": rows}))
    manifest = corpora.get("superb_metadata").read(demo_root, meta_data=tmp_path)
    manifest.write(tmp_path / "manifest.jsonl")
    folds = make_folds(Manifest.read(tmp_path / "manifest.jsonl"), "superb")
    for fold in folds.folds:
        train, dev = stock_split(len(lists[fold.number, "train"]))
        assert list(fold.train) == [lists[fold.number, "train"][k] for k in train]
        assert list(fold.dev) == [lists[fold.number, "train"][k] for k in dev]
        assert list(fold.test) == lists[fold.number, "test"]
    assert len(make_folds(manifest, "strict").folds) == 5


def test_strict_dev_is_the_next_folds_test(demo_manifest):
    folds = make_folds(demo_manifest, protocols.get("strict"))
    speaker = {u.id: u.speaker for u in demo_manifest.utterances}
    for fold in folds.folds:
        following = folds[fold.number % 5 + 1]
        assert set(fold.dev) == set(following.test)
        sets = [{speaker[name] for name in part} for part in (fold.train, fold.dev, fold.test)]
        assert [len(item) for item in sets] == [6, 2, 2]
        assert len(set.union(*sets)) == 10


def test_facts():
    assert {"superb", "strict"} <= set(protocols.names())
    superb, strict = protocols.get("superb"), protocols.get("strict")
    assert (superb.selection, superb.speaker_disjoint_dev, superb.transductive) == ("accuracy", False, False)
    assert (strict.selection, strict.speaker_disjoint_dev, strict.transductive) == ("ua", True, False)
    with pytest.raises(ValueError, match="protocol strict: selection must be one of"):
        dataclasses.replace(strict, selection="luck")


@pytest.mark.parametrize(("speakers", "count"), [(12, 5), (5, 5), (3, 3)])
def test_folds_are_made_where_the_corpus_has_none(speakers, count):
    manifest = corpus(speakers, folds=0)
    folds = make_folds(manifest, "strict")
    assert [fold.number for fold in folds.folds] == list(range(1, count + 1))
    assert sorted(name for fold in folds.folds for name in fold.test) == sorted(manifest.by_id)
    assert make_folds(manifest, "strict") == folds


def test_two_speakers_allow_superb_only():
    manifest = corpus(2, per_class=5, folds=0)
    assert len(make_folds(manifest, "superb").folds) == 2
    with pytest.raises(ProtocolError, match=r"strict: needs at least 3 folds .* found 2"):
        make_folds(manifest, "strict")


def test_one_speaker():
    with pytest.raises(ProtocolError, match="mine: speaker-disjoint folds need at least 2 speakers, found s0"):
        make_folds(corpus(1, folds=0), "superb")


def changed(manifest, **changes):
    first = dataclasses.replace(manifest.utterances[0], **changes)
    return manifest.with_utterances((first, *manifest.utterances[1:]))


@pytest.mark.parametrize("protocol", ["superb", "strict"])
def test_shared_speakers_are_named(protocol):
    with pytest.raises(ProtocolError, match="1 speakers are in several folds, such as s1 in 1, 2"):
        make_folds(changed(corpus(per_class=10), speaker="s1"), protocol)


def test_partly_given_and_single_folds():
    with pytest.raises(ProtocolError, match="1 of 36 utterances have no fold, first 's0-neu-0'"):
        make_folds(changed(corpus(), fold=None), "superb")
    with pytest.raises(ProtocolError, match="at least 2 folds are needed, found 1"):
        make_folds(corpus(folds=1), "superb")


def test_class_without_training_data():
    manifest = corpus(labels=("neu", "ang", "sad"))
    kept = [u for u in manifest.utterances if u.label != "sad" or u.fold == 1]
    with pytest.raises(ProtocolError, match="mine, protocol strict, fold 1: nothing to train on for sad"):
        make_folds(manifest.with_utterances(kept), "strict")


def test_empty_set():
    manifest = dataclasses.replace(corpus(), train_order={1: (), 2: ("s0-neu-0",), 3: ()})
    with pytest.raises(ProtocolError, match="fold 1: the train set is empty"):
        make_folds(manifest, "superb")


def test_tested_utterance_in_a_training_list():
    manifest = corpus()
    everything = tuple(u.id for u in manifest.utterances)
    with pytest.raises(ProtocolError, match=r"train and test share \d+ utterances"):
        make_folds(dataclasses.replace(manifest, train_order=dict.fromkeys((1, 2, 3), everything)), "superb")


def test_write_and_read(tmp_path):
    folds = make_folds(corpus(), "strict")
    path = tmp_path / "folds.json"
    folds.write(path)
    assert Folds.read(path) == folds
    with pytest.raises(ProtocolError, match=r"no fold 9\. Known: 1, 2, 3"):
        folds[9]
    content = json.loads(path.read_text())
    content["folds"][0]["train"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(ProtocolError, match=r"folds\.json: the folds were changed"):
        Folds.read(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not a file of folds"),
        ("{}", "key 'schema' is missing"),
        ('{"schema": 7}', "reads 1, found 7"),
        ("[]", "not a"),
    ],
)
def test_files_that_hold_no_folds(tmp_path, content, words):
    path = tmp_path / "folds.json"
    with pytest.raises(ProtocolError, match="no such folds"):
        Folds.read(path)
    path.write_text(content)
    with pytest.raises(ProtocolError, match=words):
        Folds.read(path)


def test_sha256():
    one = Folds("superb", (Fold(1, ("a", "b"), ("c",), ("d",)),))
    other_order = Folds("superb", (Fold(1, ("b", "a"), ("c",), ("d",)),))
    assert len({one.sha256(), other_order.sha256(), dataclasses.replace(one, protocol="strict").sha256()}) == 3
