"""IEMOCAP with SUPERB's four classes: neutral, happy (with excited), angry and sad.

The labels are those of ``Session<k>/dialog/EmoEvaluation/*.txt``, lines of the form
``[6.2901 - 8.2357]<TAB>Ses01F_impro01_F000<TAB>neu<TAB>[2.5000, 2.5000, 2.5000]``.
A speaker is the session plus the F or M before the last number: in ``Ses01F_impro01_M003`` the first F tells who wore
the markers, the M tells who speaks.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora._corpus import Corpus
from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.errors import CorpusError

logger = logging.getLogger(__name__)

LABELS = ("neu", "hap", "ang", "sad")
_MERGED = {"neu": "neu", "hap": "hap", "exc": "hap", "ang": "ang", "sad": "sad"}
_NAME = re.compile(r"^(Ses(\d\d))[FM]_.+_([FM])[A-Za-z]*\d+$")
_TRANSCRIPT = re.compile(r"^(Ses\d\d[FM]_\S+)\s+\[[\d.]+\s*-\s*[\d.]+\]:\s*(.*)$")
LAYOUT = "folders Session1 to Session5, each with dialog/EmoEvaluation/*.txt and sentences/wav/<dialog>/*.wav"


def speaker_of(name: str) -> str | None:
    """Who speaks in an utterance with a name of IEMOCAP's form (``Ses01F_impro01_M003``: ``Ses01M``), or None."""
    match = _NAME.match(name)
    return match.group(1) + match.group(3) if match else None


def session_of(name: str) -> int | None:
    """The session number of an utterance with a name of IEMOCAP's form, or None."""
    match = _NAME.match(name)
    return int(match.group(2)) if match else None


def read_sessions(root: Path, corpus: str) -> Manifest:
    """Read a folder in IEMOCAP's layout; the fold that tests on an utterance is its session.

    Args:
        root: the folder with the sessions, or the one that contains ``IEMOCAP_full_release``
        corpus: the name given to the manifest

    Returns:
        utterances of the four classes in the order of sessions, label files and lines

    Raises:
        CorpusError: if the folder has another layout, no label of the four classes, or a line cannot be read
    """
    root = _find_root(root)
    utterances: list[Utterance] = []
    for folder in _sessions(root):
        number = int(folder.name.removeprefix("Session"))
        texts = _read_transcriptions(folder / "dialog" / "transcriptions")
        for labels in _text_files(folder / "dialog" / "EmoEvaluation"):
            for name, label, speaker in _read_labels(labels):
                utterances.append(
                    Utterance(
                        id=name,
                        path=f"{folder.name}/sentences/wav/{name.rpartition('_')[0]}/{name}.wav",
                        label=label,
                        speaker=speaker,
                        session=folder.name,
                        fold=number,
                        text=texts.get(name),
                    )
                )
    if not utterances:
        raise CorpusError(f"{root}: no utterance labelled {', '.join(_MERGED)} in Session*/dialog/EmoEvaluation/*.txt")
    without_text = sum(item.text is None for item in utterances)
    if without_text:
        logger.info("%s: %d of %d utterances have no transcription", root, without_text, len(utterances))
    return Manifest(corpus, LABELS, root.as_posix(), tuple(utterances))


def _find_root(root: Path) -> Path:
    for candidate in (root, root / "IEMOCAP_full_release"):
        if _sessions(candidate):
            return candidate
    raise CorpusError(f"{root}: not an IEMOCAP folder. Expected {LAYOUT}, or the folder above IEMOCAP_full_release")


def _sessions(root: Path) -> list[Path]:
    return [folder for folder in sorted(root.glob("Session[0-9]")) if (folder / "dialog" / "EmoEvaluation").is_dir()]


def _text_files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.glob("*.txt")) if not file.name.startswith(".")]


def _read_labels(path: Path) -> Iterator[tuple[str, str, str]]:
    """Name, class and speaker of every utterance of the four classes in a label file."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.startswith("["):
            continue
        fields = [field.strip() for field in line.split("\t") if field.strip()]
        if len(fields) < 3:
            raise CorpusError(
                f"{path}, line {number}: expected [start - end], name and label between tabs, found {line!r}"
            )
        if fields[2] not in _MERGED:
            continue
        speaker = speaker_of(fields[1])
        if speaker is None:
            raise CorpusError(f"{path}, line {number}: expected a name like Ses01F_impro01_F000, found {fields[1]!r}")
        yield fields[1], _MERGED[fields[2]], speaker


def _read_transcriptions(folder: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for path in _text_files(folder):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            match = _TRANSCRIPT.match(line)
            if match:
                texts[match.group(1)] = match.group(2).strip()
    return texts


def read_iemocap(root: Path) -> Manifest:
    """Read IEMOCAP, see :func:`read_sessions`."""
    return read_sessions(root, "iemocap")


corpora.register("iemocap")(
    Corpus(
        name="iemocap",
        reader=read_iemocap,
        labels=LABELS,
        licence="by agreement with the University of Southern California, for research",
        citation="Busso et al., IEMOCAP: Interactive emotional dyadic motion capture database, LREV 42, 2008",
        source="Signal Analysis and Interpretation Laboratory, University of Southern California",
        layout=LAYOUT,
        counts={"neu": 1708, "hap": 1636, "ang": 1103, "sad": 1084},
        fold_counts={1: 1085, 2: 1023, 3: 1151, 4: 1031, 5: 1241},
        folds=5,
        default_protocol="superb",
    )
)
