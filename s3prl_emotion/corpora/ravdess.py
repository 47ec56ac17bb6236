"""RAVDESS, its speech recorded as audio only: 24 actors, two sentences, eight emotions, 1440 clips at 48 kHz.

``03-01-05-02-01-02-11.wav`` is audio only (03), speech (01), anger (05), strong (02; 01 is normal), sentence 01, second
repetition, actor 11; odd actors are men, even ones are women: attributes are intensity, statement (its number),
repetition and sex. Songs and videos are left out. A copy that holds every file twice is read once; where the two
differ, the option ``folder`` chooses. The six folds, which share no speaker, are those of EmoBox (Ma et al.,
Interspeech 2024).
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora._corpus import Corpus
from s3prl_emotion.corpora._files import AUDIO, audio_files, version, without_copies
from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.errors import CorpusError

logger = logging.getLogger(__name__)

_EMOTIONS = {
    "05": "angry",
    "02": "calm",
    "07": "disgust",
    "06": "fearful",
    "03": "happy",
    "01": "neutral",
    "04": "sad",
    "08": "surprised",
}
LABELS = tuple(_EMOTIONS.values())
TEXTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
_INTENSITIES = {"01": "normal", "02": "strong"}
FOLDS = ((1, 11, 20, 21), (4, 10, 12, 14), (8, 9, 19, 23), (3, 5, 7, 24), (2, 15, 16, 18), (6, 13, 17, 22))
"""The actors that each of the six folds tests on."""
_NAME = re.compile(r"^(0[123])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])$")
LAYOUT = "the folder of RAVDESS, with files such as Actor_01/03-01-05-02-01-02-01.wav in it or in subfolders"


def read_ravdess(root: Path, folder: str | None = None) -> Manifest:
    """Read the speech of RAVDESS that is recorded as audio only.

    Args:
        root: the corpus' folder
        folder: where it holds two versions, the folder in it of the one to read

    Raises:
        CorpusError: if the folder holds no file with the name of such a clip, or two with other content under one name
    """
    fold_of = {f"{actor:02d}": number for number, actors in enumerate(FOLDS, start=1) for actor in actors}
    files = audio_files(version(root, folder), (*AUDIO, ".mp4"))
    matches = [(path, match) for path in files if (match := _NAME.match(path.stem))]
    speech = [path for path, match in matches if path.suffix.lower() in AUDIO and match.groups()[:2] == ("03", "01")]
    if not speech:
        raise CorpusError(f"{root}: no speech of RAVDESS (03-01-*.wav) found. Expected {LAYOUT}")
    if len(speech) < len(matches):
        logger.warning("%s: %d songs or videos of RAVDESS are left out", root, len(matches) - len(speech))
    if len(matches) < len(files):
        logger.warning("%s: %d files have no RAVDESS name and are left out", root, len(files) - len(matches))
    utterances = []
    for name, path in without_copies(((path.stem, path) for path in speech), root, folder).items():
        _, _, emotion, intensity, sentence, repetition, actor = name.split("-")
        utterances.append(
            Utterance(
                id=name,
                path=path.relative_to(root).as_posix(),
                label=_EMOTIONS[emotion],
                speaker=actor,
                fold=fold_of[actor],
                text=TEXTS[sentence],
                attributes={
                    "intensity": _INTENSITIES[intensity],
                    "statement": sentence,
                    "repetition": repetition,
                    "sex": "male" if int(actor) % 2 else "female",
                },
            )
        )
    return Manifest("ravdess", LABELS, root.as_posix(), tuple(utterances))


corpora.register("ravdess")(
    Corpus(
        name="ravdess",
        reader=read_ravdess,
        labels=LABELS,
        licence="CC BY-NC-SA 4.0",
        citation="Livingstone and Russo, The Ryerson audio-visual database of emotional speech and song (RAVDESS), "
        "PLoS ONE 13(5), 2018",
        source="Ryerson University (now Toronto Metropolitan University), SMART Lab",
        layout=LAYOUT,
        counts={label: 96 if label == "neutral" else 192 for label in LABELS},
        fold_counts=dict.fromkeys(range(1, 7), 240),
        speaker_counts={f"{actor:02d}": 60 for actor in range(1, 25)},
        folds=len(FOLDS),
        attributes=("intensity", "statement", "repetition", "sex"),
    )
)
