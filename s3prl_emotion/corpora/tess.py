"""TESS: two women, 200 words, seven emotions; 2800 clips at 24.414 kHz (one, ``OAF_food_fear``, at 96 kHz).

``OAF_back_angry.wav`` is the older woman (64 years; YAF: 26), "Say the word back", anger. One file is misnamed
``OA_bite_neutral.wav`` in the copies that are about; it is read as ``OAF_bite_neutral``. Copies with a complete second
copy inside are read once; where the two differ, the option ``folder`` chooses.

With two speakers there are two folds and nobody left to select on, so the default protocol is ``superb``: dev is a
random 20 % of the training speaker's clips, and the speaker that is tested on is unheard. Attributes are sex, age and
the word.
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

_EMOTIONS = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fearful",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "pleasant_surprise",
    "sad": "sad",
}
LABELS = tuple(_EMOTIONS.values())
SPEAKERS = ("OAF", "YAF")
_AGES = {"OAF": "64", "YAF": "26"}
_NAME = re.compile(rf"^([OY]A)F?_([a-z]+(?:-[a-z]+)*)_({'|'.join(_EMOTIONS)})$", re.IGNORECASE)
LAYOUT = "the folder of TESS, with files such as OAF_back_angry.wav in it or in subfolders"


def read_tess(root: Path, folder: str | None = None) -> Manifest:
    """Read TESS; a speaker's fold tests on her.

    Args:
        root: the corpus' folder
        folder: where it holds two versions, the folder in it of the one to read

    Raises:
        CorpusError: if the folder holds no file with a TESS name, or two with other content under one name
    """
    files = audio_files(version(root, folder))
    named = [(_id(match), path) for path in files if (match := _NAME.match(path.stem))]
    if not named:
        raise CorpusError(f"{root}: not a TESS folder. Expected {LAYOUT}")
    if len(named) < len(files):
        logger.warning("%s: %d audio files have no TESS name and are left out", root, len(files) - len(named))
    utterances = []
    for name, path in without_copies(named, root, folder).items():
        speaker, word, emotion = name.split("_")
        utterances.append(
            Utterance(
                id=name,
                path=path.relative_to(root).as_posix(),
                label=_EMOTIONS[emotion],
                speaker=speaker,
                fold=SPEAKERS.index(speaker) + 1,
                text=f"Say the word {word}",
                attributes={"sex": "female", "age": _AGES[speaker], "word": word},
            )
        )
    return Manifest("tess", LABELS, root.as_posix(), tuple(utterances))


def _id(match: re.Match[str]) -> str:
    speaker, word, emotion = match.groups()
    return f"{speaker.upper()}F_{word.lower()}_{emotion.lower()}"


corpora.register("tess")(
    Corpus(
        name="tess",
        reader=read_tess,
        labels=LABELS,
        licence="CC BY-NC-ND 4.0",
        citation="Pichora-Fuller and Dupuis, Toronto emotional speech set (TESS), University of Toronto, 2010",
        source="University of Toronto, Psychology Department",
        layout=LAYOUT,
        counts=dict.fromkeys(LABELS, 400),
        fold_counts={1: 1400, 2: 1400},
        speaker_counts=dict.fromkeys(SPEAKERS, 1400),
        folds=len(SPEAKERS),
        attributes=("sex", "age", "word"),
        default_protocol="superb",
    )
)
