"""EmoBox' lists, in a fabricated clone with the traps of the real one."""

from __future__ import annotations

import json
import logging

import pytest

from s3prl_emotion.corpora import corpora
from s3prl_emotion.errors import CorpusError, ProtocolError
from s3prl_emotion.protocols import make_folds

MAP = {"anger": "Angry", "JOY": "Happy", "Neutral": "Neutral"}


def row(name, label, **more):
    wav = f"downloads/mine/wav/{name}.wav"
    return {"key": f"mine-{name}", "dataset": "mine", "wav": wav, "length": 2.1, "emo": label, "channel": 1, **more}


def older(name, label):
    new = row(name, label)
    return {"key": new["key"], "dataset": "mine", "audio": new["wav"], "label": new["emo"]}


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(item) for item in rows) + "\n\n")


CLIPS = {
    1: [("a1", "anger"), ("a2", "neutral")],
    2: [("b1", "happy"), ("b2", "ANGER")],
    3: [("c1", "neutral"), ("c2", "happy")],
}


@pytest.fixture
def root(tmp_path):
    """Three folds, in each of which two clips of one speaker (named in the stm) are tested on."""
    root = tmp_path / "clone" / "data" / "mine"
    for number, clips in CLIPS.items():
        others = [clip for k, group in CLIPS.items() if k != number for clip in group]
        write(root / f"fold_{number}" / f"mine_test_fold_{number}.jsonl", [row(*clip) for clip in clips])
        write(root / f"fold_{number}" / f"mine_train_fold_{number}.jsonl", [row(*clip) for clip in reversed(others)])
    (root / "label_map.json").write_text(json.dumps(MAP))
    stm = [
        f"mine-{name} 1 {name[0]}x 0 2.1 <id=mine-{name},lang=en,spk=male_{name[0]},emotion={label}> {label}"
        for clips in CLIPS.values()
        for name, label in clips
    ]
    (root / "data.seg.wrd.stm").write_text(";; a comment\n" + "\n".join(stm) + "\n")
    return root


def read(root, **options):
    return corpora.get("emobox").read(root, **options)


def test_lists_folds_and_speakers(root, caplog):
    with caplog.at_level(logging.WARNING):
        manifest = read(root)
    assert not caplog.records
    assert (manifest.corpus, manifest.labels) == ("emobox_mine", ("Angry", "Happy", "Neutral"))
    assert manifest.root == root.parent.parent.as_posix()
    assert [(u.id, u.label, u.speaker, u.fold) for u in manifest.utterances] == [
        ("mine-a1", "Angry", "male_a", 1),
        ("mine-a2", "Neutral", "male_a", 1),
        ("mine-b1", "Happy", "male_b", 2),
        ("mine-b2", "Angry", "male_b", 2),
        ("mine-c1", "Neutral", "male_c", 3),
        ("mine-c2", "Happy", "male_c", 3),
    ]
    assert manifest.path_of(manifest.utterances[0]) == root.parent.parent / "downloads/mine/wav/a1.wav"
    assert manifest.train_order[1] == ("mine-c2", "mine-c1", "mine-b2", "mine-b1")
    assert manifest.dev_order == {}
    assert read(root, audio_root=root).root == root.as_posix()


def test_converted_audio(root):
    assert read(root, suffix=".flac").by_id["mine-a1"].path == "downloads/mine/wav/a1.flac"
    with pytest.raises(CorpusError, match=r"option suffix: expected an ending such as \.wav, found 'flac'"):
        read(root, suffix="flac")


def test_default_protocol_takes_the_lists_as_they_are(root):
    clips = [(f"t{k}", label) for k, label in enumerate(("anger", "neutral", "happy") * 4)]
    write(root / "fold_1" / "mine_train_fold_1.jsonl", [row(*clip) for clip in clips])
    write(root / "fold_1" / "mine_valid_fold_1.jsonl", [row("v1", "happy"), row("v2", "anger")])
    manifest = read(root, fold="1")
    assert manifest.dev_order == {1: ("mine-v1", "mine-v2")}
    assert manifest.by_id["mine-v1"].fold is None
    (fold,) = make_folds(manifest, corpora.get("emobox").default_protocol).folds
    assert fold.train == tuple(f"mine-t{k}" for k in range(12))
    assert (fold.dev, fold.test) == (("mine-v1", "mine-v2"), ("mine-a1", "mine-a2"))


def test_older_files(root, caplog):
    """``audio`` and ``label`` as keys, ``_fold1`` at the end, and ``label_dict.json``; the newer spelling wins."""
    (root / "label_map.json").rename(root / "label_dict.json")
    expected = read(root)
    for number, clips in CLIPS.items():
        folder = root / f"fold_{number}"
        (folder / f"mine_test_fold_{number}.jsonl").unlink()
        write(folder / f"mine_test_fold{number}.jsonl", [older(*clip) for clip in clips])
        write(folder / f"mine_train_fold{number}.jsonl", [older("other", "anger")])
        (folder / f"._mine_test_fold_{number}.jsonl").write_text("x")
    assert read(root) == expected


def test_utterances_that_are_tested_twice(root):
    write(root / "fold_2" / "mine_test_fold_2.jsonl", [row(*CLIPS[1][0]), row(*CLIPS[2][0])])
    with pytest.raises(CorpusError, match=r"folds 1 and 2 both test on 'mine-a1'.*--corpus-option fold=<k>"):
        read(root)
    manifest = read(root, fold=2)
    assert [u.id for u in manifest.utterances if u.fold == 2] == ["mine-a1", "mine-b1"]
    assert list(manifest.train_order) == [2]
    for fold in (4, "two"):
        with pytest.raises(CorpusError, match=rf"option fold: no fold {fold!r}\. Known: 1, 2, 3"):
            read(root, fold=fold)


def test_train_and_test_overlap_is_refused(root):
    write(root / "fold_1" / "mine_train_fold_1.jsonl", [row(*clip) for clip in (*CLIPS[1], *CLIPS[2], *CLIPS[3])])
    with pytest.raises(ProtocolError, match=r"(train|dev) and test share \d utterances: mine-a"):
        make_folds(read(root), "published")


def test_speakers_that_are_not_known(root, caplog):
    (root / "data.seg.wrd.stm").unlink()
    with caplog.at_level(logging.WARNING):
        manifest = read(root)
    assert (manifest.speakers, manifest.nameless) == ((), 6)
    assert "the speakers of 6 of 6 utterances are not known" in caplog.text
    with pytest.raises(ProtocolError, match="6 of 6 utterances are not known, so protocol strict cannot"):
        make_folds(manifest, "strict")


def test_a_speaker_that_is_the_utterance_is_not_known(root, caplog):
    """As in the stm of resd and mer2023."""
    stm = root / "data.seg.wrd.stm"
    clips = [clip for group in CLIPS.values() for clip in group]
    stm.write_text("".join(f"mine-{n} 1 {n} 0 2 <id=mine-{n},lang=en,spk={n},emotion={e}> {e}\n" for n, e in clips))
    with caplog.at_level(logging.WARNING):
        manifest = read(root)
    assert (manifest.speakers, manifest.nameless) == ((), 6)
    assert "data.seg.wrd.stm: names another speaker for each of 6 clips, so none is known" in caplog.text
    assert "intervals draw these utterances one by one" in caplog.text


def test_iemocap_speakers_come_from_names(root):
    """EmoBox' stm gives Ses01F for both people of a dialogue."""
    item = row("Ses01F_impro01_M003", "neutral")
    write(root / "fold_1" / "mine_test_fold_1.jsonl", [item])
    with (root / "data.seg.wrd.stm").open("a") as file:
        file.write(f"{item['key']} 1 Ses01F 0 4.3 <id={item['key']},lang=en,spk=Ses01F,emotion=neu> neu\n")
    assert read(root, fold=1).by_id[item["key"]].speaker == "Ses01M"


def test_labels_left_out_and_chosen(root, caplog):
    write(
        root / "fold_1" / "mine_test_fold_1.jsonl",
        [row("a1", "Angry"), row("a3", "X"), row("a4", "joy"), row("a2", "neutral")],
    )
    with caplog.at_level(logging.WARNING):
        manifest = read(root)
    assert "labels outside of the classes are left out of the lists: X 1" in caplog.text
    assert manifest.by_id["mine-a1"].label == "Angry", "the name of a class is understood too"
    assert manifest.by_id["mine-a4"].label == "Happy", "case does not matter"
    chosen = read(root, labels="Happy, Angry")
    assert chosen.labels == ("Happy", "Angry")
    assert "mine-a2" not in chosen.by_id
    with pytest.raises(CorpusError, match=r"option labels: unknown class 'happy'\. Did you mean 'Happy'"):
        read(root, labels="happy,Angry")
    (root / "label_map.json").unlink()
    with caplog.at_level(logging.WARNING):
        assert read(root, fold=3).labels == ("ANGER", "anger", "happy", "neutral")
    assert "no label_map.json: raw labels are the classes" in caplog.text


def test_segments_of_longer_files(root):
    write(root / "fold_1" / "mine_test_fold_1.jsonl", [row("a1", "anger", start_time=0.5, end_time=2.25)])
    item = read(root, fold=1).by_id["mine-a1"]
    assert (item.start_s, item.end_s) == (0.5, 2.25)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", r"line 1: not JSON"),
        ("[]", r"line 1: expected a JSON object, found list"),
        ('{"key": "k", "emo": "anger"}', r"line 1: key 'wav' or 'audio': expected a text"),
        ('{"key": "k", "wav": "k.wav"}', r"line 1: key 'emo' or 'label': expected a text"),
        (json.dumps(row("a1", "anger", start_time=2, end_time=1)), r"line 1: end_s \(1\) must come after start_s"),
        (json.dumps(row("a1", "anger")) + "\n" + json.dumps(row("a1", "anger")), r"line 2: 'mine-a1' is there twice"),
    ],
)
def test_bad_lines(root, line, words):
    (root / "fold_1" / "mine_test_fold_1.jsonl").write_text(line)
    with pytest.raises(CorpusError, match=r"mine_test_fold_1\.jsonl, " + words):
        read(root)


def test_missing_and_contradicting_lists(root):
    write(root / "fold_2" / "mine_train_fold_2.jsonl", [row("a1", "happy")])
    with pytest.raises(
        CorpusError, match=r"'mine-a1' is .* 'Happy' in the train list of fold 2 and .* 'Angry' in another"
    ):
        read(root)
    (root / "fold_2" / "mine_train_fold_2.jsonl").unlink()
    with pytest.raises(CorpusError, match=r"fold_2: no train list\. Expected \*_train_fold_2\.jsonl"):
        read(root)
