"""S3PRL's metadata of IEMOCAP, and its order of utterances."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path, PurePosixPath
from typing import Any

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora._corpus import Corpus
from s3prl_emotion.corpora._files import Stored, check_slashes, read_list
from s3prl_emotion.corpora.manifest import Manifest, Utterance, json_object
from s3prl_emotion.errors import CorpusError, suggest

# What the name of an utterance of IEMOCAP's tells, in whatever corpus it appears.
#
# A speaker is the session plus the F or M before the last number: in ``Ses01F_impro01_M003`` the first F tells who wore
# the markers, the M tells who speaks.

_NAME = re.compile(r"^(Ses(\d\d))[FM]_(.+)_([FM])[A-Za-z]*\d+$")
_SEXES = {"F": "female", "M": "male"}
_SCENARIOS = {"impro": "improvised", "script": "scripted"}
SCENARIOS = tuple(_SCENARIOS.values())
ATTRIBUTES = ("sex", "scenario")


def speaker_of(name: str) -> str | None:
    """Who speaks in an utterance with a name of IEMOCAP's form (``Ses01F_impro01_M003``: ``Ses01M``), or None."""
    match = _NAME.match(name)
    return match.group(1) + match.group(4) if match else None


def session_of(name: str) -> int | None:
    """The session number of an utterance with a name of IEMOCAP's form, or None."""
    match = _NAME.match(name)
    return int(match.group(2)) if match else None


def attributes_of(name: str) -> dict[str, str] | None:
    """Sex of who speaks, and whether the scenario is improvised or scripted (``impro``, ``script``); None elsewhere."""
    match = _NAME.match(name)
    if match is None:
        return None
    scenario = next((value for prefix, value in _SCENARIOS.items() if match.group(3).startswith(prefix)), None)
    return {"sex": _SEXES[match.group(4)], **({} if scenario is None else {"scenario": scenario})}


# IEMOCAP, or any corpus, through the ``meta_data`` folder that S3PRL's own emotion task reads.
#
# ``Session<k>/train_meta_data.json`` and ``Session<k>/test_meta_data.json`` hold
# ``{"labels": {"neu": 0, ...}, "meta_data": [{"path", "label", "speaker"}, ...]}``; fold k tests on session k.
# S3PRL divides the training list by position, so its order is kept exactly. Its speaker field names the session, not
# who speaks; speakers of utterances with names of IEMOCAP's form are taken from the name, as its attributes are.

LAYOUT = "the folder that the paths in the metadata start from, with meta_data/Session<k>/{train,test}_meta_data.json"


def read_superb_metadata(root: Path, meta_data: str | Path | None = None) -> Manifest:
    """Read S3PRL's metadata.

    Args:
        root: the corpus' folder
        meta_data: the folder with ``Session<k>``; ``<root>/meta_data`` if not given

    Returns:
        the test lists of all folds one after the other, then utterances that only training lists name;
        :attr:`Manifest.train_order` keeps every fold's training list

    Raises:
        CorpusError: naming the file and the entry, if something is missing or two files contradict each other
    """
    stored = Stored()
    folder = root / "meta_data" if meta_data is None else Path(meta_data).expanduser()
    sessions: dict[int, Path] = {}
    for place in sorted(folder.glob("Session*")):
        if (match := re.fullmatch(r"Session(\d+)", place.name)) and place.is_dir():
            first = sessions.setdefault(int(match[1]), place)
            if first != place:
                raise CorpusError(
                    f"{folder}: {first.name} and {place.name} are both session {int(match[1])}. Take one away"
                )
    if not sessions:
        raise CorpusError(f"{folder}: expected Session<k>/train_meta_data.json and test_meta_data.json, found none")
    labels: dict[str, int] = {}
    known: dict[str, Utterance] = {}
    train: dict[int, list[Utterance]] = {}
    for fold, session in sorted(sessions.items()):
        for item in _read_list(session / "test_meta_data.json", labels, fold, root, stored):
            if item.id in known:
                raise CorpusError(f"{session / 'test_meta_data.json'}: {item.id!r} is in the test list of two folds")
            known[item.id] = item
    for fold, session in sorted(sessions.items()):
        path = session / "train_meta_data.json"
        train[fold] = _read_list(path, labels, None, root, stored)
        for item in train[fold]:
            other = known.setdefault(item.id, item)
            if (other.path, other.label) != (item.path, item.label):
                raise CorpusError(
                    f"{path}: {item.id!r} is {item.path!r}, {item.label!r} here and {other.path!r}, {other.label!r} in "
                    "another list. Make the metadata again"
                )
    order = {fold: tuple(item.id for item in items) for fold, items in train.items()}
    names = tuple(sorted(labels, key=lambda name: labels[name]))
    return Manifest("superb_metadata", names, root.as_posix(), tuple(known.values()), order)


def _read_list(path: Path, labels: dict[str, int], fold: int | None, root: Path, stored: Stored) -> list[Utterance]:
    """Read one file; ``labels`` is filled by the first file and has to agree with all others."""
    if not path.exists():
        raise CorpusError(f"{path}: no such file. Make it with S3PRL's preprocessing of IEMOCAP")
    content = json_object(read_list(path), str(path))
    for key, kind in (("labels", dict), ("meta_data", list)):
        if not isinstance(content.get(key), kind):
            raise CorpusError(f"{path}: key {key!r}: expected a {kind.__name__}")
    indices = list(content["labels"].values())
    if not indices or any(type(item) is not int for item in indices) or sorted(indices) != list(range(len(indices))):
        raise CorpusError(f"{path}: key 'labels': expected class indices 0, 1, ..., found {content['labels']}")
    if labels and labels != content["labels"]:
        raise CorpusError(f"{path}: key 'labels': {content['labels']} here, {labels} in another list")
    labels.update(content["labels"])
    utterances = [
        _utterance(entry, f"{path}, entry {i}", labels, fold, root, stored)
        for i, entry in enumerate(content["meta_data"])
    ]
    seen: set[str] = set()
    for item in utterances:
        if item.id in seen:
            raise CorpusError(f"{path}: {item.id!r} appears twice")
        seen.add(item.id)
    return utterances


def _utterance(
    entry: Any, where: str, labels: dict[str, int], fold: int | None, root: Path, stored: Stored
) -> Utterance:
    for key in ("path", "label", "speaker"):
        if not isinstance(entry, dict) or not isinstance(entry.get(key), str) or not (entry[key] or key == "speaker"):
            raise CorpusError(f"{where}: key {key!r}: expected a text, found {entry!r}")
    if entry["label"] not in labels:
        raise CorpusError(f"{where}: key 'label': unknown label {entry['label']!r}. {suggest(entry['label'], labels)}")
    if "\0" in entry["path"] or not (name := PurePosixPath(entry["path"]).stem):
        raise CorpusError(f"{where}: key 'path': {entry['path']!r} cannot be a file's name")
    check_slashes(entry["path"], where)
    session = session_of(name)
    return Utterance(
        id=name,
        path=stored.path(root, entry["path"]),
        label=entry["label"],
        speaker=speaker_of(name) or entry["speaker"],
        session=None if session is None else f"Session{session}",
        fold=fold,
        attributes=attributes_of(name),
    )


corpora.register("superb_metadata")(
    Corpus(
        name="superb_metadata",
        reader=read_superb_metadata,
        labels=(),
        licence="that of the corpus the metadata describe",
        citation="Yang et al., SUPERB: Speech processing universal performance benchmark, Interspeech 2021",
        source="made by S3PRL's preprocessing from a user's own copy of the corpus",
        layout=LAYOUT,
        attributes=ATTRIBUTES,
        default_protocol="superb",
    )
)


def installed_metadata() -> Path | None:
    """The ``meta_data`` folder of the installed S3PRL's emotion task; None where it has none, as its wheels do."""
    spec = importlib.util.find_spec("s3prl")
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        folder = Path(place) / "downstream" / "emotion" / "meta_data"
        if any(folder.glob("Session*/train_meta_data.json")):
            return folder
    return None


def in_order_of(manifest: Manifest, folder: Path) -> Manifest:
    """The same utterances and speakers, with test and training lists and class indices as in S3PRL's metadata.

    Args:
        manifest: the corpus, with a fold for every utterance
        folder: ``meta_data``, with ``Session<k>/{train,test}_meta_data.json``

    Raises:
        CorpusError: if the metadata cannot be read, or do not list exactly these utterances with these labels and folds
    """
    listed = read_superb_metadata(Path(manifest.root), folder)
    here, there = set(manifest.by_id), set(listed.by_id)
    if here != there:
        only = [
            f"{len(names)} of them are {where} only, first {min(names)!r}"
            for names, where in ((here - there, "in the corpus"), (there - here, "in the metadata"))
            if names
        ]
        raise CorpusError(f"{folder}: lists other utterances than {manifest.root} has: {'; '.join(only)}")
    if set(listed.labels) != set(manifest.labels):
        found = ", ".join(listed.labels)
        raise CorpusError(f"{folder}: has the classes {found}, expected {', '.join(manifest.labels)}")
    for item in listed.utterances:
        own = manifest.by_id[item.id]
        if (item.label, item.fold) != (own.label, own.fold):
            raise CorpusError(
                f"{folder}: {item.id!r} has label {item.label!r} and is tested in fold {item.fold}, in the corpus "
                f"label {own.label!r} and fold {own.fold}"
            )
    for fold, names in listed.train_order.items():
        wanted = {item.id for item in manifest.utterances if item.fold != fold}
        if set(names) != wanted:
            raise CorpusError(
                f"{folder}: Session{fold} trains on {len(names)} utterances, expected {len(wanted)} others"
            )
    ordered = tuple(manifest.by_id[item.id] for item in listed.utterances)
    return dataclasses.replace(manifest, labels=listed.labels, utterances=ordered, train_order=listed.train_order)
