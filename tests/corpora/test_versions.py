"""Copies and versions of a corpus in one folder, other endings, and other places of its files."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from corpora.copies import COPIES
from s3prl_emotion.corpora import Manifest, corpora
from s3prl_emotion.corpora.speech import SpeechSource
from s3prl_emotion.errors import CorpusError

READERS = ("emodb", "emodb4", "ravdess", "cremad", "savee", "tess", "iemocap")
every_reader = pytest.mark.parametrize("name", READERS)
Fill = Callable[[Path], Manifest]


def noise(seed: int, count: int = 800) -> np.ndarray:
    return (3000 * np.random.default_rng(seed).standard_normal(count)).astype(np.int16)


def fill(name: str, folder: Path, first: int = 0) -> list[Path]:
    """A copy with audio of its own in every file."""
    COPIES[name](folder)
    manifest = corpora.get(name).read(folder)
    paths = [manifest.path_of(item) for item in manifest.utterances]
    for seed, path in enumerate(paths, start=first):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, noise(seed), 16000, format="WAV")
    return paths


def read(name: str, root: Path, caplog: pytest.LogCaptureFixture, **options: str) -> tuple[Manifest, str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        return corpora.get(name).read(root, **options), caplog.text


@every_reader
def test_equal_content_is_read_once(name: str, tmp_path: Path, caplog) -> None:
    paths = fill(name, tmp_path / "original")
    alone, _ = read(name, tmp_path / "original", caplog)
    shutil.copytree(tmp_path / "original", tmp_path / "again")
    manifest, said = read(name, tmp_path, caplog)
    assert [item.id for item in manifest.utterances] == [item.id for item in alone.utterances]
    # of the labels of IEMOCAP and of recordings that are of no class, there are copies, too
    count = int(said.split(" clips are there more than once, with equal content")[0].rpartition(": ")[2].split()[-1])
    assert count >= len(paths)
    assert "such as again/" in said


@every_reader
def test_other_content_is_refused_and_the_folder_chosen(name: str, tmp_path: Path, caplog) -> None:
    """Additive noise leaves names, lengths and sizes as they are."""
    paths = fill(name, tmp_path / "original")
    shutil.copytree(tmp_path / "original", tmp_path / "noisy")
    changed = tmp_path / "noisy" / paths[3].relative_to(tmp_path / "original")
    soundfile.write(changed, noise(99), 16000)
    with pytest.raises(CorpusError) as caught:
        corpora.get(name).read(tmp_path)
    said = str(caught.value)
    assert ": 1 of " in said
    assert f"{changed.relative_to(tmp_path)} is not {paths[3].relative_to(tmp_path)}" in said
    assert "in the folders noisy and original. Choose one: --corpus-option folder=noisy, or folder=original" in said
    for version in ("original", "noisy"):
        manifest, _ = read(name, tmp_path, caplog, folder=version)
        places = {manifest.path_of(item).relative_to(tmp_path).parts[0] for item in manifest.utterances}
        assert places == {version}
        alone = corpora.get(name).read(tmp_path / version)
        assert [item.id for item in manifest.utterances] == [item.id for item in alone.utterances]


@every_reader
@pytest.mark.parametrize("folder", ["nowhere", "../original", "/etc"])
def test_a_folder_that_is_not_there(name: str, folder: str, tmp_path: Path) -> None:
    fill(name, tmp_path / "original")
    (tmp_path.parent / "original").mkdir(exist_ok=True)
    with pytest.raises(
        CorpusError, match=rf"option folder: expected a folder in it, such as original, found '{folder}'"
    ):
        corpora.get(name).read(tmp_path, folder=folder)


@every_reader
@pytest.mark.parametrize("ending", [".WAV", ".flac", ".FLAC"])
def test_other_endings(name: str, ending: str, tmp_path: Path, caplog) -> None:
    paths = fill(name, tmp_path)
    before, _ = read(name, tmp_path, caplog)
    for path in paths:
        samples, rate = soundfile.read(path, dtype="int16")
        path.unlink()
        soundfile.write(path.with_suffix(ending), samples, rate, format=ending[1:].upper())
    for path in (path for path in tmp_path.rglob("*.wav") if path.stat().st_size == 0):
        path.rename(path.with_suffix(ending))
    after, _ = read(name, tmp_path, caplog)
    assert [(item.id, item.label) for item in after.utterances] == [(item.id, item.label) for item in before.utterances]
    assert all(after.path_of(item).is_file() for item in after.utterances)
    assert {Path(item.path).suffix for item in after.utterances} == {ending}


@every_reader
def test_the_same_samples_in_another_format_are_one_clip(name: str, tmp_path: Path, caplog) -> None:
    """A copy as FLAC beside the WAV files: the bytes differ, the audio does not."""
    paths = fill(name, tmp_path)
    before, _ = read(name, tmp_path, caplog)
    for path in paths:
        soundfile.write(path.with_suffix(".flac"), soundfile.read(path, dtype="int16")[0], 16000)
    after, said = read(name, tmp_path, caplog)
    assert after == before
    if name != "iemocap":  # whose lists name what it holds
        assert f"{len(paths)} clips are there more than once, with equal content" in said
    soundfile.write(paths[0].with_suffix(".flac"), noise(99), 16000)
    with pytest.raises(CorpusError, match=r"with other content: .*\.wav is not .*\.flac\. Take one of the two away"):
        corpora.get(name).read(tmp_path)


def test_the_copy_of_ravdess_that_holds_every_file_twice(tmp_path: Path, caplog) -> None:
    """Some of its files were exported again: the outer folder is chosen by its own name, a dot."""
    paths = fill("ravdess", tmp_path)
    inner = tmp_path / "audio_speech_actors_01-24"
    for folder in sorted(tmp_path.glob("Actor_*")):
        shutil.copytree(folder, inner / folder.name)
    manifest, said = read("ravdess", tmp_path, caplog)
    assert len(manifest.utterances) == 192
    assert "192 clips are there more than once, with equal content, and are read once" in said
    assert all(item.path.startswith("Actor_") for item in manifest.utterances)
    for path in paths[:9]:
        soundfile.write(inner / path.relative_to(tmp_path), noise(7, 551), 11025)
    with pytest.raises(CorpusError) as caught:
        corpora.get("ravdess").read(tmp_path)
    said = str(caught.value)
    assert "9 of 192 names are there more than once, with other content" in said
    assert (
        "in the folders . and audio_speech_actors_01-24. Choose one: --corpus-option folder=., or folder=audio" in said
    )
    outer, _ = read("ravdess", tmp_path, caplog, folder=".")
    assert [item.path for item in outer.utterances] == [item.path for item in manifest.utterances]
    other, _ = read("ravdess", tmp_path, caplog, folder="audio_speech_actors_01-24")
    assert all(item.path.startswith("audio_speech_actors_01-24/") for item in other.utterances)


def test_content_is_looked_at_where_names_collide_only(tmp_path: Path, monkeypatch) -> None:
    fill("emodb", tmp_path)
    monkeypatch.setattr("s3prl_emotion.corpora._files._is_same", lambda *_: pytest.fail("nothing collides"))
    assert corpora.get("emodb").read(tmp_path).utterances


@pytest.mark.parametrize("place", ["wav/wav", "data/EmoDB/wav", "."])
def test_emodb_wherever_it_was_unpacked(place: str, tmp_path: Path, caplog) -> None:
    fill("emodb", tmp_path / "made")
    (tmp_path / "data" / place).mkdir(parents=True, exist_ok=True)
    for path in (tmp_path / "made" / "wav").iterdir():
        path.rename(tmp_path / "data" / place / path.name)
    manifest, _ = read("emodb", tmp_path / "data", caplog)
    assert len(manifest.utterances) == 70
    assert manifest.by_id["03a01Fa"].path == (Path(place) / "03a01Fa.wav").as_posix()


def test_names_in_capitals(tmp_path: Path, caplog) -> None:
    for name, path, expected in (
        ("emodb", "03A01FA.WAV", "03a01Fa"),
        ("savee", "dc/A01.WAV", "DC_a01"),
        ("savee", "dc_sa01.wav", "DC_sa01"),
        ("cremad", "1001_ieo_ang_hi.wav", "1001_IEO_ANG_HI"),
    ):
        root = tmp_path / path.replace("/", "-")
        (root / path).parent.mkdir(parents=True)
        (root / path).touch()
        assert [item.id for item in read(name, root, caplog)[0].utterances] == [expected]


def test_a_linked_folder_is_read_and_no_file_twice(tmp_path: Path, caplog) -> None:
    fill("emodb", tmp_path / "store")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "wav").symlink_to(tmp_path / "store" / "wav")
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    manifest, said = read("emodb", tmp_path / "data", caplog)
    assert len(manifest.utterances) == 70
    assert manifest.by_id["03a01Fa"].path == "wav/03a01Fa.wav"
    assert "more than once" not in said


def test_several_corpora_name_the_folder_of_one(tmp_path: Path) -> None:
    fill("savee", tmp_path / "savee" / "original")
    fill("savee", tmp_path / "savee" / "noisy", first=500)
    fill("emodb", tmp_path / "emodb")
    with pytest.raises(CorpusError, match=r"savee: 56 of 56 names .* or give the corpus the folder of one"):
        corpora.get("combined").read(tmp_path, parts="emodb,savee")
    options = {"parts": "emodb,savee", "savee": str(tmp_path / "savee" / "noisy")}
    assert corpora.get("combined").read(tmp_path, **options).utterances


def speech(folder: Path, *names: str, seed: int = 0, count: int = 800) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, noise(seed + number, count + 100 * number), 16000)


def test_versions_in_speech_by_a_pattern(tmp_path: Path, caplog) -> None:
    names = ("anna/1.wav", "anna/2.wav", "ben/1.wav")
    speech(tmp_path / "original", *names)
    shutil.copytree(tmp_path / "original", tmp_path / "again")
    source = SpeechSource.parse(f"mine={tmp_path}/*/{{speaker}}/{{utterance}}.wav")
    with caplog.at_level(logging.WARNING):
        manifest = source.read()
    assert [item.id for item in manifest.utterances] == ["again/anna/1", "again/anna/2", "again/ben/1"]
    assert "3 clips are there more than once, with equal content, and are read once" in caplog.text
    speech(tmp_path / "again", *names, seed=50)
    with pytest.raises(
        CorpusError, match=r"in the folders again and original\. Write the folder of one into the pattern"
    ):
        source.read()
    only = SpeechSource.parse(f"mine={tmp_path}/original/{{speaker}}/{{utterance}}.wav").read()
    assert [item.id for item in only.utterances] == ["anna/1", "anna/2", "ben/1"]


def test_sessions_of_a_speaker_are_no_versions(tmp_path: Path) -> None:
    """Numbers begin anew in each session: other recordings, which last otherwise."""
    speech(tmp_path / "session1", "anna/1.wav", "anna/2.wav")
    speech(tmp_path / "session2", "anna/1.wav", "anna/2.wav", seed=9, count=3000)
    manifest = SpeechSource.parse(f"mine={tmp_path}/*/{{speaker}}/{{utterance}}.wav").read()
    assert len(manifest.utterances) == 4
    manifest = SpeechSource.parse(f"mine={tmp_path}/*/{{speaker}}/*.wav").read()
    assert len(manifest.utterances) == 4


def test_lists_of_emobox_and_superb_name_wav_files_that_are_flac(tmp_path: Path) -> None:
    for name in ("emobox", "superb_metadata"):
        root, options = COPIES[name](tmp_path / name)
        before = corpora.get(name).read(root, **options)
        for item in before.utterances:
            path = before.path_of(item).with_suffix(".flac")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        after = corpora.get(name).read(root, **options)
        assert [item.path for item in after.utterances] == [
            str(Path(item.path).with_suffix(".flac")) for item in before.utterances
        ]


@pytest.mark.parametrize("name", ["table", "emobox", "superb_metadata"])
def test_backslashes_are_named(name: str, tmp_path: Path) -> None:
    root, options = COPIES[name](tmp_path / "data")
    if name == "table":
        root.write_text("path,label,speaker\naudio\\a.wav,sad,s1\n")
    for path in (tmp_path / "data").rglob("*.json*"):
        if path.name != "label_map.json":
            path.write_text(path.read_text().replace("wav/", "wav\\\\").replace("Session1/Ses", "Session1\\\\Ses"))
    with pytest.raises(CorpusError, match=r"has backslashes, as Windows writes them; .* Write it with slashes: '\w+/"):
        corpora.get(name).read(root, **options)


def iemocap(folder: Path) -> Path:
    """Every label in both scenarios: as many as its place in the list."""
    labels = ("neu", "hap", "exc", "ang", "sad", "fru", "xxx")
    for session in range(1, 6):
        for dialogue in ("impro01", "script01_1"):
            turns = [label for place, label in enumerate(labels, start=1) for _ in range(place)]
            lines = [
                f"[{k}.0 - {k + 1}.0]\tSes0{session}F_{dialogue}_{'FM'[k % 2]}{k:03d}\t{label}\t[]"
                for k, label in enumerate(turns)
            ]
            path = folder / f"Session{session}" / "dialog" / "EmoEvaluation" / f"Ses0{session}F_{dialogue}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize(
    ("options", "name", "counts", "expected"),
    [
        ({}, "iemocap", {"neu": 10, "hap": 50, "ang": 40, "sad": 50}, 5531),
        ({"classes": "neu,hap+exc,ang,sad"}, "iemocap", {"neu": 10, "hap": 50, "ang": 40, "sad": 50}, 5531),
        (
            {"classes": "neu,hap,ang,sad"},
            "iemocap_neu-hap-ang-sad",
            {"neu": 10, "hap": 20, "ang": 40, "sad": 50},
            1708 + 595 + 1103 + 1084,
        ),
        (
            {"classes": "neu,hap+exc,ang,sad,fru"},
            "iemocap_neu-hap+exc-ang-sad-fru",
            {"neu": 10, "hap": 50, "ang": 40, "sad": 50, "fru": 60},
            5531 + 1849,
        ),
        (
            {"classes": "neu,ang,sad,hap,exc,fru"},
            "iemocap_neu-ang-sad-hap-exc-fru",
            {"neu": 10, "ang": 40, "sad": 50, "hap": 20, "exc": 30, "fru": 60},
            7380,
        ),
        ({"scenario": "improvised"}, "iemocap_improvised", {"neu": 5, "hap": 25, "ang": 20, "sad": 25}, 2943),
        ({"scenario": "scripted"}, "iemocap_scripted", {"neu": 5, "hap": 25, "ang": 20, "sad": 25}, None),
        (
            {"scenario": "improvised", "classes": "neu,hap,ang,sad"},
            "iemocap_improvised_neu-hap-ang-sad",
            {"neu": 5, "hap": 10, "ang": 20, "sad": 25},
            2280,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_classes_and_scenarios_of_iemocap(options, name, counts, expected, tmp_path: Path, caplog) -> None:
    manifest, said = read("iemocap", iemocap(tmp_path), caplog, **options)
    assert manifest.corpus == name
    assert manifest.counts() == counts
    assert manifest.labels == tuple(counts)
    if expected is None:
        assert said == "", "nothing is known of a complete copy"
    else:
        assert f"not the complete {name} corpus: {sum(counts.values())} utterances, expected {expected} (neu " in said
    if "scenario" in options:
        assert {(item.attributes or {})["scenario"] for item in manifest.utterances} == {options["scenario"]}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"classes": "neu,happy"}, r"option classes: unknown label 'happy'. Did you mean 'hap'\?"),
        ({"classes": "neu,hap+neu"}, "option classes: 'neu' is named twice"),
        ({"classes": "neu+hap"}, "option classes: expected two classes or more"),
        ({"classes": "neu,"}, "option classes: unknown label ''"),
        ({"scenario": "impro"}, "option scenario: expected improvised or scripted, found 'impro'"),
        ({"scenario": "improvised", "metadata": "x"}, "option metadata: S3PRL lists its four classes"),
    ],
)
def test_options_of_iemocap_that_are_wrong(options, says: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=says):
        corpora.get("iemocap").read(iemocap(tmp_path), **options)


def test_json_of_emobox_is_still_read_with_its_suffix(tmp_path: Path) -> None:
    root, _ = COPIES["emobox"](tmp_path)
    first = next(root.rglob("*_test_fold_1.jsonl"))
    assert json.loads(first.read_text().splitlines()[0])["wav"].endswith(".wav")
    assert all(item.path.endswith(".flac") for item in corpora.get("emobox").read(root, suffix=".flac").utterances)
