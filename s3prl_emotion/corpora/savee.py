"""SAVEE: four British men, seven emotions, 480 clips at 44.1 kHz.

``DC/a01.wav`` or ``DC_a01.wav`` is speaker DC, anger, sentence 1. What is said cannot be told from the name.
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
    "a": "angry",
    "d": "disgust",
    "f": "fearful",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprised",
}
LABELS = tuple(_EMOTIONS.values())
SPEAKERS = ("DC", "JE", "JK", "KL")
"""Each is tested on in one of the four folds, in this order."""
_CLIP = re.compile(r"^(sa|su|[adfhn])\d\d$", re.IGNORECASE)
_FLAT = re.compile(r"^(DC|JE|JK|KL)_((?:sa|su|[adfhn])\d\d)$", re.IGNORECASE)
LAYOUT = "the folder of SAVEE, with files such as DC/a01.wav or DC_a01.wav in it or in a subfolder"


def read_savee(root: Path, folder: str | None = None) -> Manifest:
    """Read SAVEE, in either layout.

    Args:
        root: the corpus' folder
        folder: where it holds two versions, the folder in it of the one to read

    Raises:
        CorpusError: if the folder holds no file with a SAVEE name, or two with other content under one name
    """
    files = audio_files(version(root, folder))
    named = [(name, path) for path in files if (name := _name(path))]
    if not named:
        raise CorpusError(f"{root}: not a SAVEE folder. Expected {LAYOUT}")
    if len(named) < len(files):
        logger.warning("%s: %d audio files have no SAVEE name and are left out", root, len(files) - len(named))
    utterances = []
    for name, path in without_copies(named, root, folder).items():
        speaker, clip = name.split("_")
        utterances.append(
            Utterance(
                id=name,
                path=path.relative_to(root).as_posix(),
                label=_EMOTIONS[clip[:-2]],
                speaker=speaker,
                fold=SPEAKERS.index(speaker) + 1,
                attributes={"sex": "male"},
            )
        )
    return Manifest("savee", LABELS, root.as_posix(), tuple(utterances))


def _name(path: Path) -> str | None:
    """``DC_a01`` for a file in either layout, None for any other."""
    if match := _FLAT.match(path.stem):
        return f"{match[1].upper()}_{match[2].lower()}"
    speaker = path.parent.name.upper()
    return f"{speaker}_{path.stem.lower()}" if speaker in SPEAKERS and _CLIP.match(path.stem) else None


corpora.register("savee")(
    Corpus(
        name="savee",
        reader=read_savee,
        labels=LABELS,
        licence="free for research, on registration",
        citation="Haq and Jackson, Speaker-dependent audio-visual emotion recognition, AVSP 2009",
        source="University of Surrey, Centre for Vision, Speech and Signal Processing",
        layout=LAYOUT,
        counts={label: 120 if label == "neutral" else 60 for label in LABELS},
        fold_counts=dict.fromkeys(range(1, 5), 120),
        speaker_counts=dict.fromkeys(SPEAKERS, 120),
        folds=len(SPEAKERS),
        attributes=("sex",),
    )
)
