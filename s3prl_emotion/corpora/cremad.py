"""CREMA-D: 91 actors, twelve sentences, five emotions and neutral; 7442 clips at 16 kHz.

``1001_IEO_ANG_HI.wav`` is actor 1001, sentence IEO, anger, at a high level (LO, MD and HI for IEO only, else XX). The
label is the emotion that was acted. Attributes are ``level`` (low, medium, high, or unspecified), ``sentence`` (its
code) and, where the folder has ``VideoDemographics.csv`` (``ActorID,Age,Sex,Race,Ethnicity``), what it says of the
actor: age, sex, race and ethnicity. Where the folder has ``processedResults/tabulatedVotes.csv``, what raters heard is
given as :attr:`Utterance.soft`: its columns ``A D F H N S`` count votes for the clip ``fileName``, and its first
column, a number without a name, tells what the raters were given: 100000 to 199999 is the voice alone, which is what
counts here; faces and both follow from 200000.

One file is misnamed ``1040_ITH_SAD_X.wav``; its id is ``1040_ITH_SAD_XX``. ``1076_MTI_SAD_XX.wav`` is silent. It stays
in, since published counts hold it; validation reports it.
"""

from __future__ import annotations

import csv
import logging
import math
import re
from collections import defaultdict
from pathlib import Path

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora._corpus import Corpus
from s3prl_emotion.corpora._files import audio_files, read_list, version, without_copies
from s3prl_emotion.corpora.labels import renormalised
from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.errors import CorpusError

logger = logging.getLogger(__name__)

_EMOTIONS = {"ANG": "angry", "DIS": "disgust", "FEA": "fearful", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
_VOTES = {"A": "angry", "D": "disgust", "F": "fearful", "H": "happy", "N": "neutral", "S": "sad"}
LABELS = tuple(_EMOTIONS.values())
KNOWN_SILENT = ("1076_MTI_SAD_XX",)
TEXTS = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
_NAME = re.compile(rf"^(1\d\d\d)_({'|'.join(TEXTS)})_({'|'.join(_EMOTIONS)})_(LO|MD|HI|XX?)$", re.IGNORECASE)
_LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified"}
_ABOUT = {"Sex": "sex", "Age": "age", "Race": "race", "Ethnicity": "ethnicity"}
ACTORS_FILE = "VideoDemographics.csv"
VOTES_FILE = "processedResults/tabulatedVotes.csv"
LAYOUT = "the folder of CREMA-D, with files such as 1001_IEO_ANG_HI.wav in it or in its subfolder AudioWAV"


def read_cremad(root: Path, folder: str | None = None) -> Manifest:
    """Read CREMA-D. There are no official folds; speaker-disjoint ones are made.

    Args:
        root: the corpus' folder
        folder: where it holds two versions, the folder in it of the one to read

    Raises:
        CorpusError: if the folder holds no file with a CREMA-D name, or two with other content under one name
    """
    files = audio_files(version(root, folder))
    named = [(_id(path.stem), path) for path in files if _NAME.match(path.stem)]
    if not named:
        raise CorpusError(
            f"{root}: not a CREMA-D folder. Expected {LAYOUT}. Only WAV and FLAC files are read; in a clone, "
            "`git lfs pull` fetches them"
        )
    if len(named) < len(files):
        logger.warning("%s: %d audio files have no CREMA-D name and are left out", root, len(files) - len(named))
    for silent in KNOWN_SILENT:
        if any(name == silent for name, _ in named):
            logger.info("%s: %s is silent in the corpus itself; it stays in, as in published counts", root, silent)
    votes = _read_votes(_beside(root, VOTES_FILE))
    actors = _read_actors(_beside(root, ACTORS_FILE))
    utterances = []
    for name, path in without_copies(named, root, folder).items():
        actor, text, emotion, level = name.split("_")
        utterances.append(
            Utterance(
                id=name,
                path=path.relative_to(root).as_posix(),
                label=_EMOTIONS[emotion],
                speaker=actor,
                text=TEXTS[text],
                soft=renormalised(votes.get(name, {}), LABELS),
                attributes={"level": _LEVELS[level], "sentence": text, **actors.get(actor, {})},
            )
        )
    return Manifest("cremad", LABELS, root.as_posix(), tuple(utterances))


def _id(stem: str) -> str:
    return stem.upper() + "X" * (stem[-2:].upper() == "_X")


def _beside(root: Path, name: str) -> Path | None:
    """A table of the corpus, in its folder or, where that is the folder of its audio, above."""
    return next((file for base in (root, root.parent) if (file := base / name).is_file()), None)


def _read_actors(path: Path | None) -> dict[str, dict[str, str]]:
    """What is known of each actor; nothing, with a warning, if the table cannot be used."""
    if path is None:
        return {}
    try:
        rows = list(csv.DictReader(read_list(path, errors="replace").removeprefix("\ufeff").splitlines()))
    except csv.Error as error:
        raise CorpusError(f"{path}: not readable as a table: {error}. Fetch the file again") from error
    missing = [name for name in ("ActorID", "Sex") if not rows or name not in rows[0]]
    if missing:
        logger.warning(
            "%s: no column %r, so nothing is known of actors. If it is a git-lfs pointer, run `git lfs pull`",
            path,
            missing[0],
        )
        return {}
    return {
        (row["ActorID"] or "").strip(): {
            name: text.casefold() for column, name in _ABOUT.items() if (text := (row.get(column) or "").strip())
        }
        for row in rows
    }


def _read_votes(path: Path | None) -> dict[str, dict[str, float]]:
    """Votes on the voice alone, by clip and label; empty, with a warning, if the table cannot be used."""
    votes: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    if path is None:
        return votes
    rows = csv.DictReader(read_list(path, errors="replace").removeprefix("\ufeff").splitlines())
    columns = rows.fieldnames or []
    missing = [name for name in ("fileName", *_VOTES) if name not in columns]
    if missing:
        logger.warning(
            "%s: no column %r, so no votes are read. If it is a git-lfs pointer, run `git lfs pull`", path, missing[0]
        )
        return votes
    try:
        for number, row in enumerate(rows, start=2):
            where = f"{path}, line {number}"
            try:
                if int(row[columns[0]]) // 100_000 != 1:
                    continue
                counts = {label: float(row[letter]) for letter, label in _VOTES.items()}
            except (TypeError, ValueError):
                counts = {"": math.nan}
            if not all(0 <= count < math.inf for count in counts.values()):
                raise CorpusError(f"{where}: expected whole numbers of votes, found {row}")
            for label, count in counts.items():
                votes[row["fileName"]][label] += count
    except csv.Error as error:
        raise CorpusError(f"{path}: not readable as a table: {error}. Fetch the file again") from error
    return votes


corpora.register("cremad")(
    Corpus(
        name="cremad",
        reader=read_cremad,
        labels=LABELS,
        licence="Open Database License (ODbL) 1.0",
        citation="Cao et al., CREMA-D: Crowd-sourced emotional multimodal actors dataset, "
        "IEEE Transactions on Affective Computing 5(4), 2014",
        source="Cheyney University, Department of Computer Science, as a git repository with git-lfs",
        layout=LAYOUT,
        counts={label: 1087 if label == "neutral" else 1271 for label in LABELS},
        speakers=91,
        attributes=("level", "sentence", *_ABOUT.values()),
    )
)
