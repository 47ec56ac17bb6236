"""A small fabricated copy of every corpus, in its own layout; audio files are empty, since no reader decodes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Copy = tuple[Path, dict[str, Any]]
"""What ``--data`` names, and the reader's options."""

EMOTIONS = ("neu", "hap", "ang", "sad")


def _touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.wav").touch()
    return folder


def cremad(folder: Path) -> Copy:
    emotions = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
    _touch(folder / "AudioWAV", *(f"{actor}_TIE_{emo}_XX" for actor in range(1001, 1007) for emo in emotions))
    actors = [f"{actor},51,{'Male' if actor % 2 else 'Female'},Asian,Not Hispanic" for actor in range(1001, 1007)]
    (folder / "VideoDemographics.csv").write_text("\n".join(["ActorID,Age,Sex,Race,Ethnicity", *actors]) + "\n")
    return folder, {}


def demo(folder: Path) -> Copy:
    from s3prl_emotion.corpora.demo import make_demo_corpus

    return make_demo_corpus(folder, utterances_per_speaker_and_emotion=1), {}


def emobox(folder: Path) -> Copy:
    for fold in (1, 2, 3):
        for part, numbers in (("test", (fold,)), ("train", [k for k in (1, 2, 3) if k != fold])):
            rows = [
                {"key": f"mine-{k}{label}", "dataset": "mine", "wav": f"wav/{k}{label}.wav", "emo": label, "channel": 1}
                for k in numbers
                for label in ("anger", "happy")
            ]
            path = folder / "mine" / f"fold_{fold}" / f"mine_{part}_fold_{fold}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps({**row, "length": 1.0}) + "\n" for row in rows))
    (folder / "mine" / "label_map.json").write_text(json.dumps({"anger": "Angry", "happy": "Happy"}))
    spoken = [
        f"mine-{k}{e} 1 {k}x 0 1.0 <id=mine-{k}{e},lang=en,spk=male_{k},emotion={e}> {e}"
        for k in (1, 2, 3)
        for e in ("anger", "happy")
    ]
    (folder / "mine" / "data.seg.wrd.stm").write_text("\n".join(spoken) + "\n")
    return folder / "mine", {}


def emodb(folder: Path) -> Copy:
    speakers = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
    _touch(folder / "wav", *(f"{speaker}a01{letter}a" for speaker in speakers for letter in "WLEAFTN"))
    return folder, {}


def iemocap(folder: Path) -> Copy:
    for session in range(1, 6):
        turns = [(gender, label) for gender in "FM" for label in EMOTIONS]
        lines = [
            f"[{k}.0 - {k + 1}.0]\tSes0{session}F_impro01_{gender}{k:03d}\t{label}\t[]"
            for k, (gender, label) in enumerate(turns)
        ]
        path = folder / f"Session{session}" / "dialog" / "EmoEvaluation" / "a.txt"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(lines))
    return folder, {}


def ravdess(folder: Path) -> Copy:
    for actor in range(1, 25):
        _touch(folder / f"Actor_{actor:02d}", *(f"03-01-0{emotion}-01-01-01-{actor:02d}" for emotion in range(1, 9)))
    return folder, {}


def savee(folder: Path) -> Copy:
    for speaker in ("DC", "JE", "JK", "KL"):
        _touch(
            folder / speaker,
            *(f"{code}{take:02d}" for code in ("a", "d", "f", "h", "n", "sa", "su") for take in (1, 2)),
        )
    return folder, {}


def superb_metadata(folder: Path) -> Copy:
    labels = {label: index for index, label in enumerate(EMOTIONS)}
    names = {k: [f"Ses{k:02d}F_impro00_{g}{n:03d}" for g in "FM" for n in range(4)] for k in (1, 2, 3)}
    for fold in names:
        for part, sessions in (("test", [fold]), ("train", [k for k in names if k != fold])):
            rows = [
                {"path": f"Session{k}/{name}.wav", "label": EMOTIONS[place % 4], "speaker": name.split("_")[0]}
                for k in sessions
                for place, name in enumerate(names[k])
            ]
            path = folder / "meta_data" / f"Session{fold}" / f"{part}_meta_data.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"labels": labels, "meta_data": rows}))
    return folder, {}


def table(folder: Path) -> Copy:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{k}/{label}.wav,{label},s{k}" for k in range(6) for label in EMOTIONS]
    (folder / "clips.csv").write_text("\n".join(["path,label,speaker", *rows]) + "\n")
    return folder / "clips.csv", {}


def tess(folder: Path) -> Copy:
    for emotion in ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad"):
        names = [f"{speaker}_{word}_{emotion}" for speaker in ("OAF", "YAF") for word in ("back", "bar", "base")]
        _touch(folder / emotion, *names)
    return folder, {}


def five(folder: Path) -> Copy:
    for make in (cremad, iemocap, ravdess, savee, tess):
        make(folder / make.__name__)
    return folder, {}


def combined(folder: Path) -> Copy:
    for make in (emodb, savee):
        make(folder / make.__name__)
    return folder, {"parts": "emodb,savee"}


COPIES: dict[str, Callable[[Path], Copy]] = {
    **{
        make.__name__: make
        for make in (combined, cremad, demo, emobox, emodb, five, iemocap, ravdess, savee, superb_metadata, table, tess)
    },
    "emodb4": emodb,
}
