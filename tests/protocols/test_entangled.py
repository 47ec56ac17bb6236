"""Corpora of whose speakers most have only some of the classes: what can be had is had, and what cannot is named."""

from __future__ import annotations

import dataclasses
import itertools
import logging

import numpy as np
import pytest

from s3prl_emotion.cli import main
from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.protocols import Folds, make_folds, protocols
from s3prl_emotion.protocols.behaviour import record
from s3prl_emotion.protocols.folding import assign, folds_by_speaker, lacking, stratified_folds

LABELS = ("angry", "happy", "neutral", "sad")


def corpus(speakers_of: dict[str, range | tuple[int, ...]], speakers: int = 29, size: int = 6) -> Manifest:
    """Each class is spoken by some of the speakers, ``size`` utterances and a few more each."""
    items = [
        Utterance(f"s{s:02}-{label}-{n}", f"{s}/{label}{n}.wav", label, f"s{s:02}")
        for s in range(speakers)
        for label, names in speakers_of.items()
        if s in names
        for n in range(size + 3 * s % 7)
    ]
    return Manifest("mine", tuple(speakers_of), ".", tuple(items))


# 29 speakers; the five who are sad are also among those that decide where the others go
ENTANGLED = {
    "angry": (0, 1, 2, 3, 4, 5, 6),
    "happy": (0, 7, 8, 9, 10),
    "neutral": tuple(range(5, 29)),
    "sad": (0, 1, 7, 11, 12),
}


def without(manifest: Manifest, numbers: list[int]) -> list[tuple[int, str]]:
    """Folds and the classes that they lack."""
    return [
        (fold, label)
        for fold in sorted(set(numbers))
        for label in manifest.labels
        if not any(item.label == label for item, of in zip(manifest.utterances, numbers, strict=True) if of == fold)
    ]


def parts(manifest: Manifest, folds: Folds) -> list[set[str]]:
    return [
        {manifest.by_id[name].label for name in part}
        for fold in folds.folds
        for part in (fold.train, fold.dev, fold.test)
    ]


def test_every_part_has_every_class_where_speakers_allow_it() -> None:
    manifest = corpus(ENTANGLED)
    before = stratified_folds(manifest.utterances, 5)
    assert without(manifest, before), "scikit-learn's own division has every class: this corpus shows nothing"
    folds = make_folds(manifest, "strict")
    assert len(folds.folds) == 5
    assert parts(manifest, folds) == [set(LABELS)] * 15
    assert folds.lacking == ()
    assert make_folds(manifest, "strict") == folds
    backwards = manifest.with_utterances(manifest.utterances[::-1])
    assert [set(fold.test) for fold in make_folds(backwards, "strict").folds] == [
        set(fold.test) for fold in folds.folds
    ]


@pytest.mark.parametrize("sad", [3, 4])
def test_fewer_folds_where_only_they_have_every_class(sad: int, caplog: pytest.LogCaptureFixture) -> None:
    manifest = corpus({**ENTANGLED, "sad": tuple(range(sad))})
    with caplog.at_level(logging.INFO):
        folds = make_folds(manifest, "strict")
    assert len(folds.folds) == sad
    assert parts(manifest, folds) == [set(LABELS)] * 3 * sad
    assert f"mine: {sad} folds, since no 5 have every class and share no speaker" in caplog.messages


def test_what_cannot_be_had_is_named(tmp_path, capsys, caplog) -> None:
    manifest = corpus({**ENTANGLED, "sad": (3, 9)})
    folds = make_folds(manifest, "strict")
    assert len(folds.folds) == 5  # no number of folds gives two speakers a third place: as many as ever
    without_sad = {
        part: [item.fold for item in folds.lacking if item.part == part] for part in ("train", "dev", "test")
    }
    assert [len(found) for found in without_sad.values()] == [0, 3, 3]
    assert {item.classes for item in folds.lacking} == {("sad",)}
    for item in folds.lacking:
        assert all(manifest.by_id[name].label != "sad" for name in getattr(folds[item.fold], item.part))
        assert f"fold {item.fold}: {'tests' if item.part == 'test' else 'selects'} on" in caplog.text
    folds.write(tmp_path / "folds.json")
    assert Folds.read(tmp_path / "folds.json") == folds
    manifest.write(tmp_path / "manifest.jsonl")
    assert record(manifest, folds)["lacking"][0] == {
        "fold": folds.lacking[0].fold,
        "part": folds.lacking[0].part,
        "classes": ["sad"],
    }
    assert record(manifest, dataclasses.replace(folds, lacking=())) == record(manifest, folds)  # of an earlier version
    assert main(["audit", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for item in folds.lacking:
        assert f"reported fold {item.fold}: {item.part} has no sad" in printed


def test_a_division_that_has_every_class_is_scikit_learns() -> None:
    for speakers, size in ((12, 2), (10, 6), (91, 1)):
        manifest = corpus(dict.fromkeys(LABELS, range(speakers)), speakers, size)
        assert folds_by_speaker(manifest.utterances, "mine") == stratified_folds(manifest.utterances, 5)
        folds = make_folds(manifest, "strict")
        assert "lacking" not in record(manifest, folds)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_better_is_found_by_trying_everything(seed: int) -> None:
    rng = np.random.default_rng(seed)
    folds = 3 + seed % 2
    counts = rng.integers(1, 9, (7, 4)) * (rng.random((7, 4)) < 0.45)
    counts = counts[:, counts.sum(axis=0) > 0]
    every = np.array(list(itertools.product(range(folds), repeat=7)))
    spoken = np.einsum("nsf,sk->nfk", (every[:, :, None] == np.arange(folds)).astype(float), counts)
    value, found = assign(counts, np.arange(7) % folds, folds)
    assert value == lacking(spoken).min()
    assert value == lacking(np.stack([counts[found == fold].sum(axis=0) for fold in range(folds)]).astype(float))


def test_loso_dev_has_every_class_where_speakers_allow_it() -> None:
    manifest = corpus({"angry": range(10), "happy": range(10, 20), "neutral": range(29), "sad": (4, 20, 28)})
    folds = make_folds(manifest, "loso")
    for fold in folds.folds:
        assert {manifest.by_id[name].label for name in fold.dev} == set(LABELS)
        assert {manifest.by_id[name].label for name in fold.train} == set(LABELS)
        assert len({manifest.by_id[name].speaker for name in fold.dev}) == 6
    assert {item.part for item in folds.lacking} == {"test"}


def test_loso_leaves_the_only_speaker_of_a_class_in_train() -> None:
    manifest = corpus({"angry": range(8), "sad": (1, 5)}, speakers=8)
    folds = make_folds(manifest, "loso")
    fold = folds[2]  # tests on s01: s05 alone is sad besides
    assert "s05" in {manifest.by_id[name].speaker for name in fold.train}
    assert [item.classes for item in folds.lacking if (item.fold, item.part) == (2, "dev")] == [("sad",)]


def test_cross_holds_out_a_fold_with_every_class() -> None:
    one = corpus({"angry": range(1, 6), "sad": (0, 2, 3)}, speakers=6)
    items = [dataclasses.replace(item, corpus="one", fold=1) for item in one.utterances]
    other = [
        dataclasses.replace(item, id=f"o{item.id}", speaker=f"o{item.speaker}", corpus="other", fold=2)
        for item in corpus({"angry": range(6), "sad": range(6)}, speakers=6).utterances
    ]
    manifest = Manifest("combined", ("angry", "sad"), ".", (*items, *other))
    folds = make_folds(manifest, "cross")
    assert folds.lacking == ()


def test_whose_order_of_utterances_is_on_record() -> None:
    manifest = dataclasses.replace(corpus(dict.fromkeys(LABELS, range(6)), 6), corpus="superb_metadata")
    with_folds = manifest.with_utterances(
        [dataclasses.replace(item, fold=int(item.speaker[1:]) % 3 + 1) for item in manifest.utterances]
    )
    orders = {fold: tuple(item.id for item in with_folds.utterances if item.fold != fold) for fold in (1, 2, 3)}
    for name, lists, expected in (
        ("superb_metadata", orders, "S3PRL's metadata"),
        ("iemocap", orders, "S3PRL's metadata"),
        ("iemocap", {}, "ours"),
        ("mine", orders, "the corpus' training lists"),
    ):
        listed = dataclasses.replace(with_folds, corpus=name, train_order=lists)
        assert record(listed, make_folds(listed, "superb"))["order"] == expected
        assert "order" not in record(listed, make_folds(listed, "strict"))
    assert "exact" not in protocols.get("superb").description
