"""Leaks planted in each way are refused, or declared and shown."""

from __future__ import annotations

import dataclasses
import json
import math
import random

import pytest

from s3prl_emotion.cli import main
from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.errors import ProtocolError
from s3prl_emotion.experiment.preparation import check_leaks
from s3prl_emotion.protocols import Fold, Folds, make_folds, protocols
from s3prl_emotion.protocols import audit as audit_module
from s3prl_emotion.protocols.audit import (
    Pretraining,
    PretrainingData,
    audit,
    audit_once,
    read,
    refuse_leaks,
    summary,
    write,
)
from s3prl_emotion.protocols.leaks import without_leaks
from s3prl_emotion.protocols.matching import Stretches, facts
from s3prl_emotion.runs.folder import RunFolder

LABELS = ("neu", "ang")


def corpus(texts=False):
    """Six speakers, two in each fold; the third utterance of each class has a text that all speakers say."""
    utterances = [
        Utterance(
            f"s{s}-{label}-{n}",
            f"{s}/{label}{n}.wav",
            label,
            f"s{s}",
            fold=s % 3 + 1,
            text="the same words" if texts and n == 2 else None,
            content=f"{s}{label}{n}",
        )
        for s in range(6)
        for label in LABELS
        for n in range(4)
    ]
    return Manifest("mine", LABELS, ".", tuple(utterances))


def altered(manifest, name, **changes):
    return manifest.with_utterances(
        dataclasses.replace(item, **changes) if item.id == name else item for item in manifest.utterances
    )


def look(manifest, protocol="strict", pretraining=None):
    data = [Pretraining(name, other) for name, other in (pretraining or {}).items()]
    return audit(manifest, make_folds(manifest, protocol), protocols.get(protocol), data)


def kinds(findings, status="leak"):
    return {(item.fold, item.kind, item.between) for item in findings if item.status == status}


def test_nothing_is_found_where_nothing_is_shared():
    assert look(corpus()) == []


def test_a_shared_speaker_in_folds_made_by_hand():
    manifest = corpus()
    fold = make_folds(manifest, "strict")[1]
    moved = Fold(1, (*fold.train, fold.test[0]), fold.dev, fold.test[1:])
    findings = audit(manifest, Folds("strict", (moved,)), protocols.get("strict"))
    assert kinds(findings) == {(1, "speaker", ("train", "test"))}
    with pytest.raises(ProtocolError, match=r"fold 1: speaker: train and test share 1 of test's 2 \(s0\)"):
        refuse_leaks(findings, protocols.get("strict"), "mine")


def test_speakers_shared_with_dev_are_declared_by_superb():
    findings = look(corpus(), "superb")
    assert kinds(findings) == set()
    assert kinds(findings, "declared") == {(k, "speaker", ("train", "dev")) for k in (1, 2, 3)}


def test_duplicated_audio_under_another_name():
    manifest = altered(corpus(), "s0-neu-0", content="1neu1")  # s0 is tested in fold 1, s1 in fold 2, s2 in fold 3
    findings = look(manifest)
    assert kinds(findings) == {
        (1, "audio", ("dev", "test")),
        (2, "audio", ("train", "test")),
        (3, "audio", ("train", "dev")),
    }
    with pytest.raises(ProtocolError, match=r"--drop-leaks|Drop-leaks"):
        refuse_leaks(findings, protocols.get("strict"), "mine")


def test_drop_leaks_takes_them_out_of_the_earlier_part_only():
    manifest = altered(corpus(), "s0-neu-0", content="1neu1")
    folds = make_folds(manifest, "strict")
    cleaned, dropped = without_leaks(manifest, folds, protocols.get("strict"))
    assert dropped == 3
    assert {item.kind for item in audit(manifest, cleaned, protocols.get("strict"))} == {"voice"}
    assert [fold.test for fold in cleaned.folds] == [fold.test for fold in folds.folds]
    assert set(folds[1].dev) - set(cleaned[1].dev) == {"s1-neu-1"}
    assert set(folds[2].train) - set(cleaned[2].train) == {"s0-neu-0"}
    assert cleaned.sha256() != folds.sha256()


def test_drop_leaks_leaves_the_oracle_its_dev_set():
    manifest = corpus()
    folds = make_folds(manifest, "oracle")
    assert without_leaks(manifest, folds, protocols.get("oracle")) == (folds, 0)


def test_augmented_siblings_also_over_two_steps():
    manifest = altered(corpus(), "s3-neu-0", source="s0-neu-0")  # same fold: no leak
    assert look(manifest) == []
    manifest = altered(manifest, "s1-neu-0", source="s3-neu-0")
    assert {(1, "sibling", ("dev", "test")), (2, "sibling", ("train", "test"))} <= kinds(look(manifest))
    cleaned, _ = without_leaks(manifest, make_folds(manifest, "strict"), protocols.get("strict"))
    assert audit(manifest, cleaned, protocols.get("strict")) == []


def test_a_circle_of_sources_ends():
    manifest = altered(altered(corpus(), "s0-neu-0", source="s0-neu-1"), "s0-neu-1", source="s0-neu-0")
    assert kinds(look(manifest)) == set()


def test_siblings_of_a_recording_that_is_not_in_the_corpus():
    manifest = altered(altered(corpus(), "s0-neu-0", source="gone"), "s1-neu-0", source="gone")
    assert (1, "sibling", ("dev", "test")) in kinds(look(manifest))


def test_pretraining_on_test_audio_is_refused_or_declared():
    manifest = corpus()
    heard = Manifest("pretraining", LABELS, ".", (dataclasses.replace(manifest.utterances[0], id="x", speaker="y"),))
    findings = look(manifest, "strict", {"data": heard})
    assert kinds(findings) == {(1, "pretraining", ("pretraining data data", "test"))}
    with pytest.raises(ProtocolError, match=r"share 1 of test's 16 \(x = s0-neu-0\)\nStrict-transductive declares"):
        refuse_leaks(findings, protocols.get("strict"), "mine")
    declared = look(manifest, "strict-transductive", {"data": heard})
    assert kinds(declared, "declared") == kinds(findings)
    refuse_leaks(declared, protocols.get("strict-transductive"), "mine")


def test_pretraining_on_a_test_speakers_other_audio_is_reported():
    other = Manifest("other", LABELS, ".", (Utterance("x", "x.wav", "neu", "s0", content="new"),))
    findings = look(corpus(), "strict", {"data": other})
    assert [(item.kind, item.status, item.examples) for item in findings] == [
        ("pretraining speaker", "reported", ("s0",))
    ]


def test_pretraining_data_without_fingerprints_is_an_error():
    other = Manifest("other", LABELS, ".", (Utterance("x", "x.wav", "neu", "s0"),))
    with pytest.raises(ProtocolError, match=r"data: 1 utterances have no 'content', first 'x'.*`prepare`"):
        look(corpus(), "strict", {"data": other})


def test_sentences_are_reported_never_refused():
    findings = look(corpus(texts=True))
    assert {item.status for item in findings} == {"reported"}
    share = {tuple(entry["between"]): entry for entry in summary(findings)}
    assert share["train", "test"]["share"] == 0.25
    assert share["train", "test"]["folds"] == [1, 2, 3]


def test_oracle_and_paper_d_declare_what_they_share():
    declared = {item[1:] for item in kinds(look(corpus(), "oracle"), "declared")}
    assert declared == {("utterance", ("dev", "test")), ("speaker", ("dev", "test"))}
    findings = look(corpus(), "paper-d")
    assert kinds(findings) == set()
    assert ("speaker", ("train", "test")) in {item[1:] for item in kinds(findings, "declared")}


def test_files(tmp_path):
    findings = look(corpus(texts=True))
    write(findings, tmp_path / "audit.json")
    assert read(tmp_path / "audit.json") == findings
    (tmp_path / "audit.json").write_text('[{"fold": 1}]')
    with pytest.raises(ProtocolError, match=r"audit\.json: not an audit"):
        read(tmp_path / "audit.json")


@pytest.fixture
def prepared(tmp_path):
    manifest = corpus(texts=True)
    manifest.write(tmp_path / "manifest.jsonl")
    make_folds(manifest, "strict").write(tmp_path / "folds.json")
    return tmp_path


def test_the_command_prints_findings_and_refuses_leaks(prepared, capsys):
    assert main(["audit", str(prepared)]) == 0
    printed = capsys.readouterr().out
    assert "reported fold 1: sentence: train and test share 4 of test's 16" in printed
    assert "mine, protocol strict, 3 folds: no undeclared leak" in printed
    manifest = Manifest.read(prepared / "manifest.jsonl")
    manifest.with_utterances(manifest.utterances[:1]).write(prepared / "pretraining.jsonl")
    assert main(["audit", str(prepared), "--pretraining-data", str(prepared / "pretraining.jsonl")]) == 2
    captured = capsys.readouterr()
    assert "leak     fold 1: pretraining" in captured.out
    assert "which protocol strict does not declare" in captured.err


def test_a_leak_stops_a_run_before_training(run, tmp_path, demo_manifest, demo_root, capsys):
    """Through the command line: the checkpoint's own record of its pretraining data, and a duplicated recording."""
    manifest = tmp_path / "data.jsonl"
    run_folder = tmp_path / "first"
    assert main(["prepare", "--corpus", "demo", "--data", str(demo_root), "--out", str(run_folder)]) == 0
    (run_folder / "manifest.jsonl").rename(manifest)
    assert run("-u", "fbank", "-d", "emotion_mean_std", "--fold", "1", "--pretraining-data", str(manifest)) == 2
    assert "pretraining data" in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("fold*/*.ckpt"))
    options = ("-u", "fbank", "-d", "emotion_mean_std", "--fold", "1", "--protocol", "superb-transductive")
    assert run(*options, "--pretraining-data", str(manifest)) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["protocol"]["transductive"] is True
    shared = {(entry["kind"], entry["status"]) for entry in results["protocol"]["shared"]}
    assert ("pretraining", "declared") in shared
    assert "transductive" in capsys.readouterr().out


def test_dropping_leaks_until_nothing_is_left_is_refused():
    """Every angry utterance but those of s0 is a copy of one of the fold that s0 is tested in."""
    manifest = corpus()
    copied = {f"s{s}-ang-{n}": f"0ang{n}" for s in (1, 2, 4, 5) for n in range(4)}
    items = [dataclasses.replace(item, content=copied.get(item.id, item.content)) for item in manifest.utterances]
    manifest = manifest.with_utterances(items)
    with pytest.raises(ProtocolError, match="fold 1: nothing to train on for ang"):
        without_leaks(manifest, make_folds(manifest, "superb"), protocols.get("superb"))


def test_padding_with_zeros_hides_nothing():
    """The padded copy has another waveform, and the same one without its zeros, whichever side has them."""
    manifest = altered(corpus(), "s0-neu-0", content="padded", trimmed="1neu1")
    assert (1, "audio", ("dev", "test")) in kinds(look(manifest))
    heard = Manifest("other", LABELS, ".", (Utterance("x", "x.wav", "neu", "y", content="padded2", trimmed="0neu1"),))
    assert kinds(look(corpus(), "strict", {"data": heard})) == {(1, "pretraining", ("pretraining data data", "test"))}


def test_overlapping_segments_of_one_file(tmp_path):
    manifest = altered(corpus(), "s0-neu-0", path="long.wav", start_s=0.0, end_s=2.0)
    manifest = altered(manifest, "s1-neu-0", path="long.wav", start_s=1.9, end_s=3.0)
    assert (1, "segment", ("dev", "test")) in kinds(look(manifest))
    cleaned, _ = without_leaks(manifest, make_folds(manifest, "strict"), protocols.get("strict"))
    assert audit(manifest, cleaned, protocols.get("strict")) == []
    assert look(altered(manifest, "s1-neu-0", start_s=2.0)) == []
    (tmp_path / "long.wav").touch()
    (tmp_path / "link.wav").symlink_to(tmp_path / "long.wav")
    linked = dataclasses.replace(altered(manifest, "s1-neu-0", path="link.wav"), root=str(tmp_path))
    assert (1, "segment", ("dev", "test")) in kinds(look(linked))
    assert (1, "segment", ("dev", "test")) in kinds(look(altered(manifest, "s1-neu-0", start_s=None, end_s=None)))


def renamed(names):
    """The corpus with other names of some speakers, as a manifest of an earlier version may have them."""
    items = [dataclasses.replace(item, speaker=names.get(item.speaker, item.speaker)) for item in corpus().utterances]
    return corpus().with_utterances(items)


@pytest.mark.parametrize(("one", "two"), [("Anna", "anna"), ("3", "03"), ("s 1", "s1"), ("spk-1", "spk01")])
def test_speakers_whose_names_are_spelled_in_two_ways_are_refused_where_they_are_kept_apart(one, two):
    manifest = renamed({"s0": one, "s1": two})
    with pytest.raises(
        ProtocolError, match=rf"strict keeps speakers apart.*'{min(one, two)}' \(8\) and '{max(one, two)}'"
    ):
        make_folds(manifest, "strict")
    findings = audit(manifest, make_folds(corpus(), "strict"), protocols.get("strict"))
    assert {(item.kind, item.status) for item in findings} == {("speaker spelling", "reported")}
    assert f"{two} and {one}" in findings[0].examples[0] or f"{one} and {two}" in findings[0].examples[0]
    apart = dataclasses.replace(manifest, speakers_are=("distinct",))
    assert make_folds(apart, "strict").folds == make_folds(corpus(), "strict").folds


@pytest.mark.parametrize(("one", "two"), [("1", "1.0"), ("Jose\u0301", "Jos\u00e9"), ("1", "\uff11"), ("a  b", "a b")])
def test_one_speaker_under_two_spellings_is_a_leak_in_manifests_of_earlier_versions(one, two):
    findings = audit(renamed({"s0": one, "s1": two}), make_folds(corpus(), "strict"), protocols.get("strict"))
    assert kinds(findings) == {
        (1, "speaker", ("dev", "test")),
        (2, "speaker", ("train", "test")),
        (3, "speaker", ("train", "dev")),
    }


def test_numbers_that_differ_are_different_speakers():
    items = [dataclasses.replace(item, speaker=f"{10 ** int(item.speaker[1])}") for item in corpus().utterances]
    assert look(corpus().with_utterances(items)) == []


def test_many_segments_of_one_file_are_compared_as_each_with_each_would_be():
    """The sweep against the definition: another stretch of the same file that shares time."""
    rng = random.Random(0)
    for _ in range(200):
        starts = [rng.choice([None, rng.randint(0, 9)]) for _ in range(12)]
        ends = [rng.choice([None, (start or 0) + rng.randint(1, 4)]) for start in starts]
        items = [
            Utterance(f"u{k}", f"{rng.randint(0, 1)}.wav", "neu", f"s{k}", start_s=start, end_s=end)
            for k, (start, end) in enumerate(zip(starts, ends, strict=True))
        ]
        known = facts(Manifest("mine", LABELS, ".", tuple(items)))
        earlier, later = items[:6], items[6:]
        stretches = Stretches(known[item.id] for item in earlier)

        def apart(a, b):
            one, two = ((i.start_s or 0, math.inf if i.end_s is None else i.end_s) for i in (a, b))
            return a.path != b.path or one == two or one[1] <= two[0] or two[1] <= one[0]

        for item in later:
            assert stretches.overlap(known[item.id]) is not all(apart(item, other) for other in earlier)


def test_an_audit_is_made_once_and_again_when_something_changed(tmp_path, monkeypatch):
    manifest, made = corpus(texts=True), []
    protocol, path = protocols.get("strict"), tmp_path / "audit.json"
    folds = make_folds(manifest, protocol)
    real = audit_module.audit
    monkeypatch.setattr(audit_module, "audit", lambda *args: made.append(1) or real(*args))
    first = audit_once(manifest, folds, protocol, (), path)
    assert audit_once(manifest, folds, protocol, (), path) == first
    assert len(made) == 1
    audit_once(altered(manifest, "s0-neu-0", content="1neu1"), folds, protocol, (), path)
    assert len(made) == 2
    audit_once(manifest, Folds("strict", folds.folds[:2]), protocol, (), path)
    assert len(made) == 3
    manifest.write(tmp_path / "pretraining.jsonl")
    audit_once(manifest, folds, protocol, (PretrainingData(tmp_path / "pretraining.jsonl"),), path)
    manifest.with_utterances(manifest.utterances[:3]).write(tmp_path / "pretraining.jsonl")
    audit_once(manifest, folds, protocol, (PretrainingData(tmp_path / "pretraining.jsonl"),), path)
    assert len(made) == 5
    path.write_text(json.dumps(json.loads(path.read_text())["findings"]))  # as an earlier version wrote it
    assert read(path)
    audit_once(manifest, folds, protocol, (PretrainingData(tmp_path / "pretraining.jsonl"),), path)
    assert len(made) == 6


def test_speakers_that_are_not_known_are_no_common_speakers():
    items = [dataclasses.replace(item, speaker="") for item in corpus().utterances]
    manifest = corpus().with_utterances(items)
    for protocol in ("strict", "superb", "loso", "oracle"):
        with pytest.raises(ProtocolError, match=rf"48 of 48 utterances are not known, so protocol {protocol} cannot"):
            make_folds(manifest, protocol)
    findings = look(manifest, "paper-d")
    assert {(item.kind, item.status) for item in findings} == {("unknown speaker", "reported")}
    assert "whether train and test share speakers cannot be told" in str(findings[1])


def test_both_of_a_pair_are_named():
    """So that the user sees which file is wrong."""
    manifest = altered(corpus(), "s0-neu-0", content="1neu1")
    assert {item.examples for item in look(manifest) if item.kind == "audio"} == {
        ("s1-neu-1 = s0-neu-0",),
        ("s0-neu-0 = s1-neu-1",),
    }
    manifest = altered(corpus(), "s0-neu-0", path="long.wav", start_s=0.0, end_s=2.0)
    manifest = altered(manifest, "s1-neu-0", path="long.wav", start_s=1.9, end_s=3.0)
    shown = {item.examples for item in look(manifest) if item.kind == "segment"}
    assert ("s1-neu-0 overlaps s0-neu-0",) in shown
    manifest = altered(corpus(), "s1-neu-0", source="s0-neu-0")
    assert ("s1-neu-0 and s0-neu-0",) in {item.examples for item in look(manifest) if item.kind == "sibling"}


def test_one_recording_under_two_speakers_of_one_part_is_reported(tmp_path, caplog):
    """s0 and s3 are tested in one fold: nothing leaks, but whose recording is it?"""
    manifest = altered(corpus(), "s0-neu-0", content="3neu1")
    findings = look(manifest)
    assert {(item.fold, item.kind, item.between, item.status) for item in findings} == {
        (1, "voice", ("test", "test"), "reported"),
        (2, "voice", ("train", "train"), "reported"),
        (3, "voice", ("dev", "dev"), "reported"),
    }
    assert str(findings[0]) == (
        "fold 1: voice: 2 of test's 2 speakers have a recording in common with another of test, and the two may be one "
        "person: s0 and s3 (s0-neu-0 = s3-neu-1)"
    )
    assert summary(findings)[0]["share"] == 1.0
    prepared = RunFolder(tmp_path)
    check_leaks(manifest, make_folds(manifest, "strict"), prepared, ())
    assert "speakers with the same recording, who may be one person: s0 and s3 (s0-neu-0 = s3-neu-1)" in caplog.text
    assert read(prepared.audit) == findings


def test_one_recording_under_two_speakers_stays_said_when_the_leak_is_dropped():
    manifest = altered(corpus(), "s0-neu-0", content="1neu1")
    cleaned, _ = without_leaks(manifest, make_folds(manifest, "strict"), protocols.get("strict"))
    assert (1, "voice", ("dev", "test")) in kinds(audit(manifest, cleaned, protocols.get("strict")), "reported")


def test_unknown_speakers_and_one_speaker_have_no_two_voices():
    assert look(altered(corpus(), "s0-neu-0", content="0neu1")) == []
    manifest = altered(altered(corpus(), "s0-neu-0", content="3neu1"), "s0-neu-0", speaker="")
    assert not [item for item in look(manifest) if item.kind == "voice"]


def other_corpus():
    return corpus().with_utterances(dataclasses.replace(item, id=f"x{item.id}") for item in corpus().utterances)


@pytest.mark.parametrize("swapped", ["folds.json", "manifest.jsonl"])
def test_the_command_refuses_files_of_another_folder(prepared, swapped, capsys):
    other = RunFolder(prepared / "other")
    other.path.mkdir()
    other.write_division(other_corpus(), make_folds(other_corpus(), "strict"))
    (prepared / swapped).write_bytes((other.path / swapped).read_bytes())
    assert main(["audit", str(prepared)]) == 2
    said = capsys.readouterr().err
    assert said.count("error:") == 1
    assert str(prepared) in said
    assert "another" in said
    assert "Restore it" in said


def test_the_command_refuses_a_manifest_with_other_speakers_of_the_same_utterances(tmp_path, capsys):
    RunFolder(tmp_path).write_division(corpus(), make_folds(corpus(), "strict"))
    assert main(["audit", str(tmp_path)]) == 0
    renamed({"s0": "s9"}).write(tmp_path / "manifest.jsonl")
    capsys.readouterr()
    assert main(["audit", str(tmp_path)]) == 2
    assert "folds.json was made of another manifest than manifest.jsonl" in capsys.readouterr().err


def test_folds_of_another_corpus_are_no_traceback_in_python_either():
    with pytest.raises(ProtocolError, match="name 48 of 48 utterances that the manifest of mine lacks, first 'xs"):
        audit(corpus(), make_folds(other_corpus(), "strict"), protocols.get("strict"))


def test_pretraining_on_a_test_speaker_under_another_spelling():
    other = Manifest("other", LABELS, ".", (Utterance("x", "x.wav", "neu", "77.0", content="new"),))
    manifest = renamed({"s0": "77"})
    found = audit(manifest, make_folds(manifest, "strict"), protocols.get("strict"), [Pretraining("data", other)])
    assert [(item.kind, item.examples) for item in found] == [("pretraining speaker", ("77",))]
