"""IEMOCAP with SUPERB's four classes: neutral, happy (with excited), angry and sad; or with others, by an option.

The labels are those of ``Session<k>/dialog/EmoEvaluation/*.txt``, lines of the form
``[6.2901 - 8.2357]<TAB>Ses01F_impro01_F000<TAB>neu<TAB>[2.5000, 2.5000, 2.5000]``. Lines below, such as
``C-E2:<TAB>Anger; Frustration;<TAB>()``, are the votes of single annotators, which become :attr:`Utterance.soft`: a
vote for several emotions is split evenly, votes for emotions outside of the classes are dropped, and the rest is made
to sum to 1. The actors' own votes (``C-F1``, ``C-M1``) do not count. Attributes are the speaker's sex, and the
scenario: improvised or scripted.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora._corpus import Corpus
from s3prl_emotion.corpora._files import Stored, audio_files, read_list, version, without_copies
from s3prl_emotion.corpora.labels import renormalised
from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.corpora.superb_metadata import (
    ATTRIBUTES,
    SCENARIOS,
    attributes_of,
    in_order_of,
    installed_metadata,
    speaker_of,
)
from s3prl_emotion.errors import CorpusError, suggest

logger = logging.getLogger(__name__)

LABELS = ("neu", "hap", "ang", "sad")
_MERGED = {"neu": "neu", "hap": "hap", "exc": "hap", "ang": "ang", "sad": "sad"}
_COUNTS = {"neu": 1708, "hap": 595, "exc": 1041, "ang": 1103, "sad": 1084, "fea": 40, "sur": 107, "dis": 2}
_COUNTS |= {"fru": 1849, "oth": 3, "xxx": 2507}  # 10039 utterances
_IMPROVISED = {"neu": 1099, "hap": 284, "exc": 663, "ang": 289, "sad": 608}  # as far as they are known
_EVERY = {name: name for name in _COUNTS}
_SUPERB = "neu-hap+exc-ang-sad"
_VOTES = {
    "neutral state": "neu",
    "neutral": "neu",
    "happiness": "hap",
    "excited": "exc",
    "anger": "ang",
    "sadness": "sad",
    "fear": "fea",
    "surprise": "sur",
    "disgust": "dis",
    "frustration": "fru",
}  # any other name is a vote for "oth"
_VOTE = re.compile(r"^C-E\d+:\s*(.*?)\s*(?:\(|$)")
_TRANSCRIPT = re.compile(r"^(Ses\d\d[FM]_\S+)\s+\[[\d.]+\s*-\s*[\d.]+\]:\s*(.*)$")
LAYOUT = "folders Session1 to Session5, each with dialog/EmoEvaluation/*.txt and sentences/wav/<dialog>/*.wav"


def read_sessions(
    root: Path,
    corpus: str,
    merged: Mapping[str, str] = _MERGED,
    scenario: str | None = None,
    folder: str | None = None,
) -> Manifest:
    """Read a folder in IEMOCAP's layout; the fold that tests on an utterance is its session.

    Args:
        root: the folder with the sessions, or the one that contains ``IEMOCAP_full_release``
        corpus: the name given to the manifest
        merged: the class of each of IEMOCAP's labels; utterances with other labels are left out
        scenario: ``improvised`` or ``scripted``: utterances of the other are left out
        folder: where it holds two versions, the folder in it of the one to read

    Returns:
        utterances of the classes in the order of sessions, label files and lines

    Raises:
        CorpusError: if the folder has another layout, no label of the classes or two versions, or a line cannot be
            read
    """
    classes = tuple(dict.fromkeys(merged.values()))
    root = _find_root(root, folder)
    stored = Stored()
    utterances: list[Utterance] = []
    for session in _sessions(root):
        number = int(session.name.removeprefix("Session"))
        texts = _read_transcriptions(session / "dialog" / "transcriptions")
        for labels in _text_files(session / "dialog" / "EmoEvaluation"):
            for turn in _read_labels(labels):
                attributes = attributes_of(turn.name) or {}
                if turn.label not in merged or scenario not in (None, attributes.get("scenario")):
                    continue
                path = f"{session.name}/sentences/wav/{turn.name.rpartition('_')[0]}/{turn.name}.wav"
                utterances.append(
                    Utterance(
                        id=turn.name,
                        path=stored.path(root, path, has_ending=False),
                        label=merged[turn.label],
                        speaker=_known_speaker(turn),
                        session=session.name,
                        fold=number,
                        text=texts.get(turn.name),
                        soft=_soft(turn.votes, merged, classes),
                        attributes=attributes or None,
                    )
                )
    if not utterances:
        which = "utterance" if scenario is None else f"{scenario} utterance"
        raise CorpusError(f"{root}: no {which} labelled {', '.join(merged)} in Session*/dialog/EmoEvaluation/*.txt")
    without_text = sum(item.text is None for item in utterances)
    if without_text:
        logger.info("%s: %d of %d utterances have no transcription", root, without_text, len(utterances))
    return Manifest(corpus, classes, root.as_posix(), tuple(utterances))


def _find_root(root: Path, folder: str | None) -> Path:
    """The folder with the sessions: the one given, or one in it; of several, which must have equal files, the first."""
    top = version(root, folder)
    below = [item for item in sorted(top.iterdir()) if item.name[0] != "." and item.is_dir()] if top.is_dir() else []
    places = [place for place in (top, *below) if _sessions(place)]
    if folder is not None and places[:1] == [top]:
        places = [top]
    if not places:
        raise CorpusError(f"{root}: not an IEMOCAP folder. Expected {LAYOUT}, or the folder above IEMOCAP_full_release")
    if len(places) > 1:
        without_copies(((file.relative_to(place).as_posix(), file) for place in places for file in _files(place)), root)
    return places[0]


def _files(place: Path) -> Iterator[Path]:
    """Labels and recordings of a copy."""
    for session in _sessions(place):
        yield from _text_files(session / "dialog" / "EmoEvaluation")
        yield from audio_files(session / "sentences" / "wav")


def _sessions(root: Path) -> list[Path]:
    return [folder for folder in sorted(root.glob("Session[0-9]")) if (folder / "dialog" / "EmoEvaluation").is_dir()]


def _text_files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.glob("*.txt")) if not file.name.startswith(".")]


@dataclass(frozen=True)
class _Turn:
    """What a label file says of an utterance."""

    name: str
    label: str
    where: str  # file and line
    votes: dict[str, float] = field(default_factory=dict)  # of annotators, by IEMOCAP's labels; filled line by line


def _read_labels(path: Path) -> Iterator[_Turn]:
    """Every utterance of a label file."""
    turn: _Turn | None = None
    lines = read_list(path, errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.startswith("["):
            if turn is not None and (vote := _VOTE.match(line)):
                _count(vote.group(1), turn.votes)
            continue
        if turn is not None:
            yield turn
        fields = [item.strip() for item in line.split("\t") if item.strip()]
        if len(fields) < 3:
            raise CorpusError(
                f"{path}, line {number}: expected [start - end], name and label between tabs, found {line!r}"
            )
        turn = _Turn(fields[1], fields[2], f"{path}, line {number}")
    if turn is not None:
        yield turn


def _count(vote: str, votes: dict[str, float]) -> None:
    """Add one annotator's vote, split evenly over the emotions that it names."""
    names = [name.strip().casefold() for name in vote.split(";") if name.strip()]
    for name in names:
        label = _VOTES.get(name, "oth")
        votes[label] = votes.get(label, 0.0) + 1 / len(names)


def _soft(votes: Mapping[str, float], merged: Mapping[str, str], classes: tuple[str, ...]) -> dict[str, float] | None:
    by_class = dict.fromkeys(classes, 0.0)
    for label, weight in votes.items():
        if label in merged:
            by_class[merged[label]] += weight
    return renormalised(by_class, classes)


def _known_speaker(turn: _Turn) -> str:
    speaker = speaker_of(turn.name)
    if speaker is None:
        raise CorpusError(f"{turn.where}: expected a name like Ses01F_impro01_F000, found {turn.name!r}")
    return speaker


def _read_transcriptions(folder: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for path in _text_files(folder):
        for line in read_list(path, errors="replace").splitlines():
            match = _TRANSCRIPT.match(line)
            if match:
                texts[match.group(1)] = match.group(2).strip()
    return texts


def read_iemocap(
    root: Path,
    metadata: str | Path | None = None,
    classes: Sequence[str] | str | None = None,
    scenario: str | None = None,
    folder: str | None = None,
) -> Manifest:
    """Read IEMOCAP, see :func:`read_sessions`.

    Args:
        root: the folder with the sessions
        metadata: S3PRL's ``meta_data`` folder, with ``Session<k>/{train,test}_meta_data.json``. Its order of utterances
            is followed, from which ``superb`` divides as S3PRL does; if not given, that of an installed S3PRL that has
            it, else the order is ours
        classes: IEMOCAP's labels that are read as classes, with commas: ``neu,hap,ang,sad`` without excited,
            ``neu,hap+exc,ang,sad,fru`` with excited as happy and frustration. SUPERB's are ``neu,hap+exc,ang,sad``
        scenario: ``improvised`` or ``scripted``: those dialogues only
        folder: where it holds two versions, the folder in it of the one to read

    Returns:
        a manifest ``iemocap``; of other classes or one scenario ``iemocap_improvised_neu-hap-ang-sad``

    Raises:
        CorpusError: as :func:`read_sessions`, if an option is wrong, and if the metadata given list other utterances or
            labels
    """
    merged = _MERGED if classes is None else _classes(classes)
    if scenario not in (None, *SCENARIOS):
        raise CorpusError(f"iemocap: option scenario: expected {' or '.join(SCENARIOS)}, found {scenario!r}")
    if scenario is not None or list(merged.items()) != list(_MERGED.items()):
        if metadata is not None:
            raise CorpusError(
                "iemocap: option metadata: S3PRL lists its four classes of all dialogues only; leave it out"
            )
        return _selection(root, merged, scenario, folder)
    manifest = read_sessions(root, "iemocap", folder=folder)
    if metadata is not None:
        return in_order_of(manifest, Path(metadata).expanduser().absolute())
    installed = installed_metadata()
    if installed is None:
        return manifest
    try:
        return in_order_of(manifest, installed)
    except CorpusError as error:
        logger.warning("%s: the order of the installed S3PRL's metadata is not followed: %s", root, error)
        return manifest


def _classes(given: Sequence[str] | str) -> dict[str, str]:
    """The class of each label that the option ``classes`` names; several make one class, called like the first."""
    merged: dict[str, str] = {}
    for part in given.split(",") if isinstance(given, str) else given:
        labels = [label.strip() for label in part.split("+")]
        for label in labels:
            if label not in _COUNTS:
                raise CorpusError(f"iemocap: option classes: unknown label {label!r}. {suggest(label, _COUNTS)}")
            if label in merged:
                raise CorpusError(f"iemocap: option classes: {label!r} is named twice")
            merged[label] = labels[0]
    if len(set(merged.values())) < 2:
        raise CorpusError(f"iemocap: option classes: expected two classes or more, found {given!r}")
    return merged


def _selection(root: Path, merged: Mapping[str, str], scenario: str | None, folder: str | None) -> Manifest:
    """Some classes or dialogues, under a name that tells them, beside the counts of a complete copy that are known."""
    parts: dict[str, list[str]] = {}
    for label, name in merged.items():
        parts.setdefault(name, []).append(label)
    named = "-".join("+".join(labels) for labels in parts.values())
    corpus = "_".join(["iemocap", *([scenario] if scenario else []), *([] if named == _SUPERB else [named])])
    manifest = read_sessions(root, corpus, merged, scenario, folder)
    known = {None: _COUNTS, "improvised": _IMPROVISED}.get(scenario, {})
    counts: Counter[str] = Counter()
    if all(label in known for label in merged):
        for label, name in merged.items():
            counts[name] += known[label]
    facts = replace(IEMOCAP, name=corpus, counts=dict(counts), fold_counts={})
    if difference := facts.difference(manifest):
        logger.warning("%s: %s", root, difference)
    return manifest


def read_iemocap_labels(root: Path) -> Manifest:
    """Read IEMOCAP with its own eleven labels, nothing merged or left out; ``xxx`` is where annotators disagree."""
    return read_sessions(root, "iemocap", _EVERY)


IEMOCAP = corpora.register("iemocap")(
    Corpus(
        name="iemocap",
        reader=read_iemocap,
        labels=LABELS,
        licence="for research, by agreement with USC",
        citation="Busso et al., IEMOCAP: Interactive emotional dyadic motion capture database, LREV 42, 2008",
        source="Signal Analysis and Interpretation Laboratory, University of Southern California",
        layout=LAYOUT,
        counts={"neu": 1708, "hap": 1636, "ang": 1103, "sad": 1084},
        fold_counts={1: 1085, 2: 1023, 3: 1151, 4: 1031, 5: 1241},
        speakers=10,
        folds=5,
        attributes=ATTRIBUTES,
        default_protocol="superb",
    )
)
IEMOCAP_LABELS = replace(
    IEMOCAP,
    reader=read_iemocap_labels,
    labels=tuple(_EVERY),
    counts={label: _COUNTS[label] for label in ("neu", "hap", "exc", "ang", "sad")},
    fold_counts={},
)
"""IEMOCAP with its own labels, for corpora that choose among them; the counts are of those whose number is known."""
