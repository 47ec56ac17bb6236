"""Several corpora as one: for testing across corpora, and the seven-class corpus of five."""

from __future__ import annotations

import logging
from collections import Counter

import pytest

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora.validation import validate
from s3prl_emotion.errors import CorpusError
from s3prl_emotion.protocols import make_folds

EVALUATION = """[0.0 - 1.0]\tSes01F_a_F000\tneu\t[]
[1.0 - 2.0]\tSes01F_a_M000\tang\t[]
C-E1:\tAnger; Surprise;\t()
C-E2:\tNeutral;\t()
[2.0 - 3.0]\tSes01F_a_F001\thap\t[]
C-E1:\tExcited;\t()
[3.0 - 4.0]\tSes01F_a_M001\texc\t[]
[4.0 - 5.0]\tSes01F_a_F002\tsad\t[]
[5.0 - 6.0]\tSes01F_a_M002\tfea\t[]
[6.0 - 7.0]\tSes01F_a_F003\tsur\t[]
[7.0 - 8.0]\tSes01F_a_M003\tdis\t[]
[8.0 - 9.0]\tSes01F_a_F004\tfru\t[]
[9.0 - 9.5]\tSes01F_a_M004\txxx\t[]
[9.5 - 9.9]\tSes01F_a_M005\toth\t[]
"""


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.wav").touch()


@pytest.fixture
def root(tmp_path):
    """A folder with a small copy of each corpus under its name."""
    letters = "WLEAFTN"
    touch(
        tmp_path / "emodb" / "wav", *(f"{speaker}a01{letter}a" for speaker in ("03", "08", "09") for letter in letters)
    )
    emotions = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
    touch(
        tmp_path / "cremad" / "AudioWAV", *(f"{actor}_TIE_{emo}_XX" for actor in (1001, 1002, 1003) for emo in emotions)
    )
    touch(tmp_path / "ravdess", *(f"03-01-0{emo}-01-01-01-{actor:02d}" for emo in range(1, 9) for actor in range(1, 7)))
    for speaker in ("DC", "JE", "JK", "KL"):
        touch(tmp_path / "savee" / speaker, *(f"{code}01" for code in ("a", "d", "f", "h", "n", "sa", "su")))
    for emotion in ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad"):
        touch(tmp_path / "tess", f"OAF_back_{emotion}", f"YAF_back_{emotion}")
    path = tmp_path / "iemocap" / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_a.txt"
    path.parent.mkdir(parents=True)
    path.write_text(EVALUATION)
    return tmp_path


def combined(root, **options):
    return corpora.get("combined").read(root, **options)


def five(root, **options):
    return corpora.get("five").read(root, **options)


def test_leave_one_corpus_out(root, caplog):
    with caplog.at_level(logging.WARNING):
        manifest = combined(root, parts="cremad, ravdess,emodb")
    assert caplog.text.count("not the complete") == 3, "each corpus is checked by itself"
    assert manifest.corpus == "combined_cremad+ravdess+emodb"
    assert manifest.labels == ("angry", "disgust", "fearful", "happy", "neutral", "sad")
    assert Counter((u.corpus, u.fold) for u in manifest.utterances) == {
        ("cremad", 1): 18,
        ("ravdess", 2): 36,
        ("emodb", 3): 18,
    }
    item = manifest.by_id["emodb/03a01Ta"]
    assert (item.label, item.speaker, item.path) == ("sad", "emodb/03", "emodb/wav/03a01Ta.wav")
    assert item.text == "Der Lappen liegt auf dem Eisschrank."
    assert manifest.root == root.as_posix()
    folds = make_folds(manifest, corpora.get("combined").default_protocol)
    for fold, part in zip(folds.folds, ("cremad", "ravdess", "emodb"), strict=True):
        assert {manifest.by_id[name].corpus for name in fold.test} == {part}
        assert part not in {manifest.by_id[name].corpus for name in (*fold.train, *fold.dev)}


def test_train_on_some_and_test_on_another(root):
    manifest = combined(root, train=["savee", "cremad"], test="emodb4", emodb4=root / "emodb")
    assert manifest.corpus == "combined_savee+cremad-to-emodb4"
    assert manifest.labels == ("angry", "happy", "neutral", "sad")
    assert {(u.corpus, u.fold) for u in manifest.utterances} == {("savee", None), ("cremad", None), ("emodb4", 1)}
    assert manifest.train_order == {1: tuple(u.id for u in manifest.utterances if u.corpus != "emodb4")}
    assert Counter(name.split("/")[0] for name in manifest.train_order[1]) == {"savee": 16, "cremad": 12}
    (fold,) = make_folds(manifest, "cross").folds
    assert {name.split("/")[0] for name in fold.test} == {"emodb4"}
    assert len(fold.train) + len(fold.dev) == 28


def test_union_of_labels(root):
    manifest = combined(root, parts="ravdess,emodb", labels="union")
    assert manifest.labels == ("angry", "bored", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised")
    assert len(manifest.utterances) == 48 + 21


def test_folders_of_their_own_and_audio_that_is_found(root, tmp_path_factory, demo_root):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "berlin"
    (root / "emodb").rename(elsewhere)
    manifest = combined(root, parts="ravdess,emodb,demo", emodb=str(elsewhere), demo=demo_root)
    assert manifest.by_id["emodb/03a01Ta"].path == (elsewhere / "wav" / "03a01Ta.wav").as_posix()
    assert manifest.labels == ("angry", "happy", "neutral", "sad")
    assert all(manifest.path_of(u).is_file() for u in manifest.utterances)
    spoken = [u for u in manifest.utterances if u.corpus == "demo"]
    assert {u.speaker for u in spoken} == {f"demo/Ses0{k}{sex}" for k in range(1, 6) for sex in "FM"}
    assert all(u.soft == {u.label: 1.0} for u in spoken)
    assert validate(manifest.with_utterances(spoken[:4]))[1] == []
    with pytest.raises(
        CorpusError, match=r"emodb: no such file or folder\. .* give its own with --corpus-option emodb=DIR"
    ):
        combined(root, parts="ravdess,emodb")


def test_votes_follow_the_labels(root):
    spoken = {u.id: u.soft for u in combined(root, parts="iemocap,tess").utterances}
    # anger and surprise share the first vote; surprise is no class of the reader, so anger has 1/2 of 3/2
    assert spoken["iemocap/Ses01F_a_M000"] == pytest.approx({"angry": 1 / 3, "neutral": 2 / 3})
    assert spoken["iemocap/Ses01F_a_F001"] == {"happy": 1.0}
    without_neutral = {u.id: u.soft for u in five(root, parts="iemocap,tess").utterances}
    assert without_neutral["iemocap/Ses01F_a_M000"] == {"angry": 0.5, "surprised": 0.5}
    assert without_neutral["iemocap/Ses01F_a_F001"] is None, "the only vote is for excited, which is left out"
    merged = {u.id: u.soft for u in five(root, parts="iemocap,tess", exc="happy").utterances}
    assert merged["iemocap/Ses01F_a_F001"] == {"happy": 1.0}


def test_a_table_takes_part(root):
    (root / "table").mkdir()
    path = root / "table" / "mine.csv"
    path.write_text("path,label,speaker,source,id\nx.wav,Joy,s,,x\ny.wav,anger,s,x,y\n")
    manifest = combined(root, parts="table,cremad", table=path)
    assert manifest.labels == ("angry", "happy")
    item = manifest.by_id["table/y"]
    assert (item.label, item.path, item.source) == ("angry", "table/y.wav", "table/x")
    path.write_text("path,label,speaker\nx.wav,poker,s\n")
    with pytest.raises(CorpusError, match="table: no canonical name is known for the label 'poker'"):
        combined(root, parts="table,cremad", table=path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, r"expected the option parts=A,B with two corpora or more, or train=A,B together with test=C"),
        ({"parts": "cremad"}, "two corpora or more"),
        ({"train": "cremad"}, "together with test=C"),
        ({"test": "cremad"}, "together with test=C"),
        ({"parts": "cremad,emodb", "train": "cremad", "test": "emodb"}, "found parts 'cremad,emodb'"),
        ({"train": "cremad,emodb", "test": "emodb"}, "emodb is both in train and in test"),
        ({"parts": "cremad,cremad"}, "option parts: 'cremad' is named twice"),
        ({"parts": "cremad,emdb"}, r"option parts: 'emdb' is not a corpus that can be combined. Did you mean 'emodb'"),
        ({"parts": "cremad,emodb", "labels": "all"}, "option labels: expected intersection or union, found 'all'"),
        ({"parts": "cremad,emodb", "emdb": "x"}, "corpus combined: unknown option 'emdb'. Did you mean 'emodb'"),
    ],
)
def test_wrong_options(root, options, words):
    with pytest.raises(CorpusError, match=words):
        combined(root, **options)


def test_too_few_classes_in_common(root):
    (root / "t.csv").write_text("path,label,speaker\nx.wav,calm,s\ny.wav,joy,s\n")
    with pytest.raises(CorpusError, match=r"fewer than two classes in common .*table: calm, happy"):
        combined(root, parts="emodb,table", table=root / "t.csv")


def test_five(root, caplog):
    with caplog.at_level(logging.WARNING):
        manifest = five(root)
    assert (
        "not the complete iemocap corpus: 11 utterances, expected 5531 (neu 1 of 1708; hap 1 of 595; exc 1"
        in caplog.text
    )
    assert manifest.corpus == "five"
    # CREMA-D 3 of each, SAVEE 4, TESS 2, RAVDESS 6, IEMOCAP 1; calm from RAVDESS alone, no surprise in CREMA-D
    assert manifest.counts() == {
        "angry": 16,
        "calm": 6,
        "disgust": 16,
        "fearful": 16,
        "happy": 16,
        "sad": 16,
        "surprised": 13,
    }
    assert {u.corpus for u in manifest.utterances if u.label == "calm"} == {"ravdess"}
    assert {u.fold for u in manifest.utterances} == {None}
    assert manifest.by_id["tess/YAF_back_ps"].label == "surprised"
    assert {u.id[-4:]: u.label for u in manifest.utterances if u.corpus == "iemocap"} == {
        "M000": "angry",
        "F001": "happy",
        "F002": "sad",
        "M002": "fearful",
        "F003": "surprised",
        "M003": "disgust",
    }
    folds = make_folds(manifest, corpora.get("five").default_protocol)
    assert len(folds.folds) == 5
    assert sum(len(fold.test) for fold in folds.folds) == len(manifest.utterances)


def test_five_with_excited_and_without_a_part(root):
    manifest = five(root, exc="happy")
    assert manifest.corpus == "five_with_excited"
    assert manifest.counts()["happy"] == 17
    assert manifest.by_id["iemocap/Ses01F_a_M001"].label == "happy"
    fewer = five(root, parts="savee,cremad")
    assert fewer.corpus == "five_cremad+savee"
    assert fewer.labels == ("angry", "disgust", "fearful", "happy", "sad", "surprised")
    with pytest.raises(CorpusError, match="option exc: expected exclude or happy, found 'sad'"):
        five(root, exc="sad")
    with pytest.raises(CorpusError, match="option parts: 'emodb' is not a corpus that can be combined"):
        five(root, parts="emodb,savee")


def test_one_corpus_under_two_names_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="combined: emodb and emodb4 are the same recordings"):
        corpora.get("combined").read(tmp_path, parts="emodb,emodb4")
