"""A corpus of which some speakers are not known: who may be where, what is said, and that it works end to end."""

from __future__ import annotations

import csv
import dataclasses
import json

import pytest

from s3prl_emotion.cli import main
from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.errors import ProtocolError
from s3prl_emotion.protocols import make_folds, protocols
from s3prl_emotion.protocols.audit import audit

LABELS = ("ang", "hap")
APART = [name for name in protocols.names() if protocols.get(name).needs_speakers and not name.startswith("cross")]


def corpus(every=5, folds=False, **changes):
    """Six speakers; of every fifth utterance nobody knows whose it is."""
    items = [
        Utterance(
            f"s{s}-{label}-{n}",
            f"{s}/{label}{n}.wav",
            label,
            "" if every and (8 * s + 4 * k + n) % every == 0 else f"s{s}",
            fold=s % 3 + 1 if folds else None,
        )
        for s in range(6)
        for k, label in enumerate(LABELS)
        for n in range(4)
    ]
    return Manifest("mine", LABELS, ".", tuple(items), **changes)


def ids(fold, *parts):
    return {name for part in parts for name in getattr(fold, part)}


@pytest.mark.parametrize("folds", [False, True])
@pytest.mark.parametrize("name", APART)
def test_they_are_in_no_part_where_speakers_are_kept_apart(name, folds, caplog):
    manifest = corpus(folds=folds)
    unknown = {item.id for item in manifest.utterances if not item.speaker}
    known = manifest.with_utterances(item for item in manifest.utterances if item.speaker)
    made = make_folds(manifest, name)
    assert not any(unknown & ids(fold, "train", "dev", "test") for fold in made.folds)
    assert "10 of 48 utterances, whose speakers are unknown, are left out of train, dev and test" in caplog.text
    assert made.folds == make_folds(known, name).folds
    assert not [item for item in audit(manifest, made, protocols.get(name)) if item.kind == "unknown speaker"]


@pytest.mark.parametrize("name", APART)
def test_strangers_train_and_neither_select_nor_test(name, caplog):
    manifest = corpus(speakers_are=("strangers",))
    unknown = {item.id for item in manifest.utterances if not item.speaker}
    for fold, other in zip(make_folds(manifest, name).folds, make_folds(corpus(), name).folds, strict=True):
        assert ids(fold, "train") - ids(other, "train") == unknown
        assert (fold.dev, fold.test) == (other.dev, other.test)
    assert "are strangers to the others (speakers=strangers), and neither select nor test" in caplog.text


def test_strangers_do_not_train_the_fold_that_the_corpus_tests_on_them():
    """As of a combined corpus, of which a fold tests on a whole part."""
    manifest = corpus(folds=True, speakers_are=("strangers",))
    for fold in make_folds(manifest, "strict").folds:
        added = {name for name in fold.train if not manifest.by_id[name].speaker}
        assert added
        assert all(manifest.by_id[name].fold != fold.number for name in added)


def test_strangers_train_where_a_list_has_them():
    manifest = corpus(folds=True, speakers_are=("strangers",))
    rest = {k: tuple(item.id for item in manifest.utterances if item.fold != k) for k in (1, 2, 3)}
    unknown = [item.id for item in manifest.utterances if not item.speaker]
    lists = {k: tuple(name for name in names if name != unknown[0]) for k, names in rest.items()}
    listed = dataclasses.replace(manifest, train_order=lists, dev_order={1: (unknown[-1],)})
    for fold in make_folds(listed, "strict").folds:
        assert unknown[0] not in fold.train
        assert (unknown[-1] in fold.train) == (fold.number in (2, 3) and listed.by_id[unknown[-1]].fold != fold.number)


@pytest.mark.parametrize("name", ["published", "paper-d"])
def test_elsewhere_they_are_where_they_are_put_and_it_is_said(name):
    manifest = corpus(folds=True)
    folds = make_folds(manifest, name)
    assert any(not manifest.by_id[key].speaker for fold in folds.folds for key in fold.test)
    found = audit(manifest, folds, protocols.get(name))
    assert "unknown speaker" in {item.kind for item in found if item.status == "reported"}


def test_a_manifest_of_an_earlier_version_has_no_speaker_of_that_name():
    items = [dataclasses.replace(item, speaker=item.speaker or "Unknown") for item in corpus().utterances]
    findings = audit(corpus().with_utterances(items), make_folds(corpus(0), "strict"), protocols.get("strict"))
    assert {item.kind for item in findings} == {"unknown speaker"}


def test_where_nobody_is_known_it_is_refused_before_audio_is_read(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("path,label,speaker\na.wav,x,Unknown\nb.wav,y,\nc.wav,y,?\n")
    assert main(["prepare", "--corpus", "table", "--data", str(tmp_path / "t.csv"), "--out", str(tmp_path / "p")]) == 2
    assert "3 of 3 utterances are not known, so protocol strict cannot keep speakers apart" in capsys.readouterr().err


def test_too_few_known_speakers_are_refused():
    with pytest.raises(ProtocolError):
        make_folds(corpus().with_utterances(i for i in corpus().utterances if i.speaker in ("", "s1")), "strict")


def test_from_prepare_to_compare(tmp_path, demo_manifest, cache_root, capsys):
    """The demo corpus, of which every fifth utterance is by ``Unknown``."""
    rows = [(demo_manifest.path_of(item), item.label, item.speaker) for item in demo_manifest.utterances]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "label", "speaker"))
        table.writerows((path, label, name if k % 5 else "Unknown") for k, (path, label, name) in enumerate(rows))
    corpus_of = ("--corpus", "table", "--data", str(tmp_path / "t.csv"))
    assert main(["prepare", *corpus_of, "--out", str(tmp_path / "p")]) == 0
    assert "10 speakers, 16 utterances of unknown speakers" in capsys.readouterr().out
    assert main(["audit", str(tmp_path / "p")]) == 0
    runs = []
    for statistics in ("mean", "mean_std"):
        argv = ["classical", "-u", "fbank_no_cmvn", *corpus_of, "--statistics", statistics]
        assert main([*argv, "--root", str(tmp_path / statistics), "--cache-root", str(cache_root)]) == 0
        runs += [str(path.parent) for path in (tmp_path / statistics).rglob("results.json")]
    results = json.loads((tmp_path / runs[0] / "results.json").read_text())
    assert "16 of 80 utterances left out, whose speakers are unknown" in results["settings"]["deviations"]
    assert "its 10 speakers are drawn" in results["ci95_method"]
    capsys.readouterr()
    assert main(["compare", *runs]) == 0
    assert "minus A" in capsys.readouterr().out
    assert main(["audit", runs[0]]) == 0


def test_strangers_of_the_corpus_that_is_tested_do_not_train():
    one, two = (
        [
            dataclasses.replace(
                i, id=f"{part}/{i.id}", speaker=i.speaker and f"{part}/{i.speaker}", corpus=part, fold=k
            )
            for i in corpus().utterances
        ]
        for k, part in enumerate(("demo", "table"), start=1)
    )
    manifest = Manifest("combined_demo+table", LABELS, ".", (*one, *two), speakers_are=("strangers",))
    for fold, tested in zip(make_folds(manifest, "cross").folds, ("demo", "table"), strict=True):
        assert {manifest.by_id[name].corpus for name in fold.test} == {tested}
        assert {manifest.by_id[name].corpus for name in fold.train} == {"demo", "table"} - {tested}
        assert any(not manifest.by_id[name].speaker for name in fold.train)
        assert all(manifest.by_id[name].speaker for name in (*fold.dev, *fold.test))
