"""The reader of IEMOCAP on a fabricated folder with the traps of real copies."""

from __future__ import annotations

import json
import logging
import random

import pytest

from s3prl_emotion.corpora import corpora, iemocap
from s3prl_emotion.corpora.iemocap import IEMOCAP_LABELS
from s3prl_emotion.corpora.superb_metadata import session_of, speaker_of
from s3prl_emotion.errors import CorpusError
from s3prl_emotion.protocols import make_folds

LINES = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
C-E3:\tAnger; Frustration;\t(annoyed)
C-E4:\tNeutral state; Happiness; Excited; Other;\t()
C-F1:\tSadness;\t(curious)
A-F1:\tval 3; act 2; dom  2;\t(curious)

[10.0100 - 11.3925]\tSes01F_impro01_M003\texc\t[2.5000, 2.5000, 2.5000]
C-E1:\tFrustration;\t()
C-M1:\tExcited;\t()
[14.8872 - 18.0175]\tSes01F_impro01_F001\txxx\t[2.5000, 2.5000, 2.5000]
[19.2900 - 20.7875]\tSes01F_impro01_F002\tfru\t[2.0000, 3.5000, 3.5000]
[21.0 - 22.0]\tSes01F_impro01_M001\tsad\t[2.0000, 3.5000, 3.5000]
"""
TEXTS = """Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.
Ses01F_impro01_MXX0 [008.0-009.0]: Yeah.
M: [LAUGHTER]
Ses01F_impro01_M003 [010.0100-011.3925]: Is there a problem?
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "IEMOCAP_full_release"
    dialog = root / "Session1" / "dialog"
    write(dialog / "EmoEvaluation" / "Ses01F_impro01.txt", LINES)
    write(dialog / "EmoEvaluation" / "._Ses01F_impro01.txt", "[0 - 1]\tSes01F_impro01_F009\tneu\t[]\n")
    write(dialog / "EmoEvaluation" / "Categorical" / "Ses01F_impro01_e2_cat.txt", "[0 - 1]\tx\tneu\t[]\n")
    write(dialog / "transcriptions" / "Ses01F_impro01.txt", TEXTS)
    write(dialog / "transcriptions" / "._Ses01F_impro01.txt", "Ses01F_impro01_M001 [1-2]: wrong\n")
    other = "[1.0 - 2.0]\tSes02M_script01_1_F000\tang\t[1, 1, 1]\n[2.0 - 3.0]\tSes02M_script01_1_M000\thap\t[1, 1, 1]\n"
    write(root / "Session2" / "dialog" / "EmoEvaluation" / "Ses02M_script01_1.txt", other)
    write(root / "Session2" / "dialog" / "EmoEvaluation" / "Ses02F_impro01.txt", "")
    return root


def test_utterances(root, caplog):
    with caplog.at_level(logging.WARNING):
        manifest = corpora.get("iemocap").read(root)
    rows = [(u.id, u.label, u.speaker, u.session, u.fold) for u in manifest.utterances]
    assert rows == [
        ("Ses01F_impro01_F000", "neu", "Ses01F", "Session1", 1),
        ("Ses01F_impro01_M003", "hap", "Ses01M", "Session1", 1),
        ("Ses01F_impro01_M001", "sad", "Ses01M", "Session1", 1),
        ("Ses02M_script01_1_F000", "ang", "Ses02F", "Session2", 2),
        ("Ses02M_script01_1_M000", "hap", "Ses02M", "Session2", 2),
    ]
    assert [u.text for u in manifest.utterances] == ["Excuse me.", "Is there a problem?", None, None, None]
    expected = "Session2/sentences/wav/Ses02M_script01_1/Ses02M_script01_1_F000.wav"
    assert manifest.utterances[3].path == expected
    assert manifest.labels == ("neu", "hap", "ang", "sad")
    assert "5 utterances, expected 5531" in caplog.text
    assert "hap 2 of 1636" in caplog.text
    assert "fold 5 0 of 1241" in caplog.text


def test_annotators_votes(root):
    first, second, third = corpora.get("iemocap").read(root).utterances[:3]
    # neutral 1 + 1/4, angry 1/2, happy 2/4 (happiness and excited); frustration and other go; the actors do not vote
    assert first.soft == pytest.approx({"neu": 1.25 / 2.25, "hap": 0.5 / 2.25, "ang": 0.5 / 2.25})
    assert second.soft is None, "the only annotator heard frustration"
    assert third.soft is None


def test_own_labels(root):
    manifest = IEMOCAP_LABELS.read(root)
    assert [u.label for u in manifest.utterances] == ["neu", "exc", "xxx", "fru", "sad", "ang", "hap"]
    votes = {"neu": 1.25, "hap": 0.25, "exc": 0.25, "ang": 0.5, "fru": 0.5, "oth": 0.25}
    assert manifest.utterances[0].soft == pytest.approx({label: count / 3 for label, count in votes.items()})
    assert manifest.utterances[1].soft == {"fru": 1.0}


def test_complete_copy(tmp_path, caplog):
    """5531 utterances in five label files, session by session, as many of each class as IEMOCAP has."""
    counts = {"neu": 1708, "exc": 1041, "hap": 595, "ang": 1103, "sad": 1084}
    labels = iter([label for label, count in counts.items() for _ in range(count)])
    for session, size in enumerate((1085, 1023, 1151, 1031, 1241), start=1):
        lines = [
            f"[{k}.0 - {k + 1}.0]\tSes0{session}F_impro01_{'FM'[k % 2]}{k:04d}\t{next(labels)}\t[]" for k in range(size)
        ]
        write(tmp_path / f"Session{session}" / "dialog" / "EmoEvaluation" / "a.txt", "\n".join(lines))
    with caplog.at_level(logging.WARNING):
        manifest = corpora.get("iemocap").read(tmp_path)
        assert len(IEMOCAP_LABELS.read(tmp_path).utterances) == 5531
    assert len(manifest.utterances) == 5531
    assert not caplog.records


def test_parent_folder_gives_the_same_manifest(root):
    assert corpora.get("iemocap").read(root.parent) == corpora.get("iemocap").read(root)


def test_errors_name_file_and_line(root):
    path = root / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    write(path, "% header\n[1.0 - 2.0] Ses01F_impro01_F000 neu\n")
    with pytest.raises(CorpusError, match=r"Ses01F_impro01\.txt, line 2: expected"):
        corpora.get("iemocap").read(root)
    write(path, "[1.0 - 2.0]\tclip7\tneu\t[]\n")
    with pytest.raises(CorpusError, match=r"Ses01F_impro01\.txt, line 1: .* found 'clip7'"):
        corpora.get("iemocap").read(root)


def test_other_folders(root, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(CorpusError, match=r"other: not an IEMOCAP folder. Expected folders Session1 to Session5"):
        corpora.get("iemocap").read(tmp_path / "other")
    for path in root.rglob("Ses0*.txt"):
        write(path, "nothing\n")
    with pytest.raises(CorpusError, match="no utterance labelled neu"):
        corpora.get("iemocap").read(root)


@pytest.mark.parametrize(
    ("name", "speaker", "session"),
    [
        ("Ses01F_impro01_M003", "Ses01M", 1),
        ("Ses05M_script03_2_F000", "Ses05F", 5),
        ("Ses03M_script01_1b_F011", "Ses03F", 3),
        ("03a01Fa", None, None),
    ],
)
def test_speaker_of(name, speaker, session):
    assert (speaker_of(name), session_of(name)) == (speaker, session)


ORDERED = {"neu": 0, "hap": 1, "ang": 2, "sad": 3}


@pytest.fixture
def shuffled(tmp_path):
    """A complete layout of three sessions, and S3PRL's metadata of it in an order that no sorting gives."""
    root, rng = tmp_path / "corpus", random.Random(4)
    entries = {}
    for session in (1, 2, 3):
        lines, entries[session] = [], []
        for number in range(24):
            label = list(ORDERED)[number % 4]
            name = f"Ses{session:02d}F_impro01_{'FM'[number % 2]}{number:03d}"
            lines.append(f"[{number}.0 - {number + 1}.0]\t{name}\t{label}\t[2.5, 2.5, 2.5]")
            path = f"Session{session}/sentences/wav/Ses{session:02d}F_impro01/{name}.wav"
            entries[session].append({"path": path, "label": label, "speaker": f"Ses{session:02d}F"})
        write(root / f"Session{session}" / "dialog" / "EmoEvaluation" / "all.txt", "\n".join(lines))
    for session in (1, 2, 3):
        lists = {
            "test": entries[session][:],
            "train": [entry for other in (1, 2, 3) if other != session for entry in entries[other]],
        }
        for part, listed in lists.items():
            rng.shuffle(listed)
            text = json.dumps({"labels": ORDERED, "meta_data": listed})
            write(tmp_path / "lists" / f"Session{session}" / f"{part}_meta_data.json", text)
    return root


def division(manifest):
    return [(fold.train, fold.dev, fold.test) for fold in make_folds(manifest, "superb").folds]


def test_s3prls_order_gives_s3prls_division(shuffled):
    lists = shuffled.parent / "lists"
    theirs = corpora.get("superb_metadata").read(shuffled, meta_data=lists)
    ours = corpora.get("iemocap").read(shuffled, metadata=str(lists))
    assert division(ours) == division(theirs)
    assert (ours.corpus, ours.labels, ours.speakers) == ("iemocap", tuple(ORDERED), theirs.speakers)
    plain = corpora.get("iemocap").read(shuffled)
    assert division(plain) != division(theirs)
    assert not plain.train_order


def test_an_installed_s3prls_metadata_are_followed_if_they_fit(shuffled, monkeypatch, caplog):
    monkeypatch.setattr(iemocap, "installed_metadata", lambda: shuffled.parent / "lists")
    ours = corpora.get("iemocap").read(shuffled)
    assert ours == corpora.get("iemocap").read(shuffled, metadata=shuffled.parent / "lists")
    label_file = shuffled / "Session1" / "dialog" / "EmoEvaluation" / "all.txt"
    label_file.write_text("\n".join(label_file.read_text().splitlines()[1:]))
    assert not corpora.get("iemocap").read(shuffled).train_order
    assert "metadata is not followed" in caplog.text


def test_metadata_that_do_not_fit_are_refused(shuffled):
    lists = shuffled.parent / "lists"
    read = corpora.get("iemocap").read
    with pytest.raises(CorpusError, match=r"nowhere: expected Session<k>/train_meta_data\.json"):
        read(shuffled, metadata=shuffled.parent / "nowhere")
    path = lists / "Session1" / "test_meta_data.json"
    content = path.read_text()
    path.write_text(content.replace('"label": "neu"', '"label": "sad"', 1))
    with pytest.raises(CorpusError, match="in another list"):
        read(shuffled, metadata=lists)
    short = json.loads(content)
    del short["meta_data"][0]
    path.write_text(json.dumps(short))
    with pytest.raises(CorpusError, match="tested in fold None, in the corpus"):
        read(shuffled, metadata=lists)
    path.write_text(content)
    for file in (lists / "Session3").iterdir():
        file.unlink()
    (lists / "Session3").rmdir()
    with pytest.raises(CorpusError, match="tested in fold None"):
        read(shuffled, metadata=lists)
