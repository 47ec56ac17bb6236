"""EMO-DB, the Berlin database of emotional speech: ten actors, ten German sentences, seven emotions.

``03a01Fa.wav`` is speaker 03, text a01, emotion F (Freude, happiness), take a. Attributes are the actor's sex and
``sentence``, the text's code. Two corpora are registered, so that a
corpus' name alone tells its classes: ``emodb`` with all seven and ``emodb4`` with anger, happiness, neutral, sadness.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora._corpus import Corpus
from s3prl_emotion.corpora._files import audio_files, version, without_copies
from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.errors import CorpusError

logger = logging.getLogger(__name__)

_NAME = re.compile(r"^(\d\d)([ab]\d\d)([WLEAFTN])([a-z])$", re.IGNORECASE)
_EMOTIONS = {
    "W": "anger",  # Wut
    "L": "boredom",  # Langeweile
    "E": "disgust",  # Ekel
    "A": "fear",  # Angst
    "F": "happiness",  # Freude
    "N": "neutral",
    "T": "sadness",  # Trauer
}
_ACTORS = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
_SPEAKERS = {
    "emodb": dict(zip(_ACTORS, (49, 58, 43, 38, 55, 35, 61, 69, 56, 71), strict=True)),
    "emodb4": dict(zip(_ACTORS, (39, 42, 30, 21, 35, 22, 36, 41, 34, 39), strict=True)),
}
_WOMEN = ("08", "09", "13", "14", "16")
_COUNTS = {"anger": 127, "boredom": 81, "disgust": 46, "fear": 69, "happiness": 71, "neutral": 79, "sadness": 62}
LABELS = tuple(_COUNTS)
LABELS_4 = ("anger", "happiness", "neutral", "sadness")
FOLDS = (("03", "08"), ("10", "09"), ("11", "13"), ("12", "14"), ("15", "16"))
"""The speakers, one man and one woman, that each of the five folds tests on."""
TEXTS = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
LAYOUT = "the folder of EMO-DB, with files such as 03a01Fa.wav in it or in its subfolder wav"


def _read(root: Path, corpus: str, labels: tuple[str, ...], folder: str | None) -> Manifest:
    fold_of = {speaker: number for number, pair in enumerate(FOLDS, start=1) for speaker in pair}
    files = audio_files(version(root, folder))
    named = [(_id(match), file) for file in files if (match := _NAME.match(file.stem))]
    if not named:
        raise CorpusError(f"{root}: not an EMO-DB folder. Expected {LAYOUT}")
    if len(named) < len(files):
        logger.warning("%s: %d audio files have no EMO-DB name and are left out", root, len(files) - len(named))
    utterances = []
    for name, file in without_copies(named, root, folder).items():
        speaker, text, emotion = name[:2], name[2:5], name[5]
        if speaker not in fold_of:
            raise CorpusError(f"{file}: unknown speaker {speaker!r}. EMO-DB's are {', '.join(sorted(fold_of))}")
        if _EMOTIONS[emotion] in labels:
            utterances.append(
                Utterance(
                    id=name,
                    path=file.relative_to(root).as_posix(),
                    label=_EMOTIONS[emotion],
                    speaker=speaker,
                    fold=fold_of[speaker],
                    text=TEXTS.get(text),
                    attributes={"sex": "female" if speaker in _WOMEN else "male", "sentence": text},
                )
            )
    return Manifest(corpus, labels, root.as_posix(), tuple(utterances))


def _id(match: re.Match[str]) -> str:
    speaker, text, emotion, take = match.groups()
    return f"{speaker}{text.lower()}{emotion.upper()}{take.lower()}"


def read_emodb(root: Path, folder: str | None = None) -> Manifest:
    """Read EMO-DB with seven classes.

    Args:
        root: the corpus' folder
        folder: where it holds two versions, the folder in it of the one to read

    Raises:
        CorpusError: if the folder holds no file with an EMO-DB name, or two with other content under one name
    """
    return _read(root, "emodb", LABELS, folder)


def read_emodb4(root: Path, folder: str | None = None) -> Manifest:
    """Read EMO-DB with the four classes anger, happiness, neutral and sadness.

    Args:
        root: the corpus' folder
        folder: where it holds two versions, the folder in it of the one to read

    Raises:
        CorpusError: if the folder holds no file with an EMO-DB name, or two with other content under one name
    """
    return _read(root, "emodb4", LABELS_4, folder)


for _name, _reader, _labels in (("emodb", read_emodb, LABELS), ("emodb4", read_emodb4, LABELS_4)):
    corpora.register(_name)(
        Corpus(
            name=_name,
            reader=_reader,
            labels=_labels,
            licence="free to use",
            citation="Burkhardt et al., A database of German emotional speech, Interspeech 2005",
            source="Technical University of Berlin, Institute of Communication Science",
            layout=LAYOUT,
            counts={label: _COUNTS[label] for label in _labels},
            speaker_counts=_SPEAKERS[_name],
            folds=len(FOLDS),
            attributes=("sex", "sentence"),
        )
    )
