"""The manifest: what a corpus becomes before anything else looks at it.

On disk it is JSON lines: a header line, then one line per utterance.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from s3prl_emotion.config import from_mapping, shown
from s3prl_emotion.errors import ConfigError, CorpusError, suggest
from s3prl_emotion.files import parse_json, write_atomically

SCHEMA = 1
SOFT_TOLERANCE = 1e-6
UNLABELLED = "unlabelled"
"""The label of speech of which nobody says what emotion it has; only pretraining takes such."""
SPEAKERS_ARE = ("distinct", "strangers")
"""What may be said of a corpus' speakers: names that look alike are different people's; those whose names are not known
are none of those whose names are."""
MAX_NAME = 1000
"""The longest name of anything, in characters; the bound is ours."""
MAX_SAID = 100_000
"""The longest text of one utterance, in characters: more than two hours of speech; the bound is ours."""
_LISTS = ("train_order", "dev_order")


@dataclass(frozen=True)
class Utterance:
    """One labelled stretch of speech.

    Raises:
        ValueError: if a required text is empty or the times are not a stretch of time
    """

    id: str  # unique in the manifest
    path: str  # of the audio file: posix, relative to the manifest's root, or absolute
    label: str
    speaker: str  # empty where it is not known who speaks
    session: str | None = None
    fold: int | None = None  # the fold that tests on this utterance
    text: str | None = None  # what is said
    start_s: float | None = None  # where it begins in the file; at its beginning if not given
    end_s: float | None = None  # where it ends in the file; at its end if not given
    duration_s: float | None = None  # filled by validation
    content: str | None = None  # fingerprint of the waveform at 16 kHz; filled by validation
    trimmed: str | None = None  # the same without digital zeros at both ends, where it has some, or of the recording
    # before it was cleaned: what audits compare; filled by validation
    corpus: str | None = None  # the corpus it comes from, in a manifest that combines several
    source: str | None = None  # id of the utterance that this one was made from by augmentation
    augmentation: tuple[dict[str, Any], ...] | None = (
        None  # the effects by which, in their order, with their parameters
    )
    soft: dict[str, float] | None = None  # annotators' votes as rates over classes, summing to 1
    attributes: dict[str, str] | None = None  # what else the corpus tells: sex, intensity, sentence, ...
    official_part: str | None = None  # where the corpus' own division has it: train, dev, test, test2, ...

    def __post_init__(self) -> None:
        for name in ("id", "path", "label"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty")
        for name in ("start_s", "end_s", "duration_s"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a finite number of seconds, not below 0; found {value}")
        if self.end_s is not None and self.end_s <= (self.start_s or 0.0):
            raise ValueError(f"end_s ({self.end_s:g}) must come after start_s ({self.start_s or 0.0:g})")
        if self.soft is not None:
            rates = list(self.soft.values())
            if not all(isinstance(rate, (int, float)) and 0 <= rate <= 1 for rate in rates):
                raise ValueError(f"soft must hold a rate in [0, 1] for each class, found {self.soft}")
            if abs(math.fsum(rates) - 1) > SOFT_TOLERANCE:
                raise ValueError(f"soft must sum to 1, found {math.fsum(rates):.6g}")
        for name, value in (self.attributes or {}).items():
            if not (isinstance(name, str) and isinstance(value, str) and name.strip() and value.strip()):
                raise ValueError(f"attributes must hold names with texts that are not empty, found {name!r}: {value!r}")
            if name in _FIELDS:
                raise ValueError(f"attributes: {name!r} is a key of its own, and no attribute")

    @property
    def sound(self) -> str | None:
        """Fingerprint of the recording without digital zeros at its ends; None before validation."""
        return self.trimmed or self.content

    def rates(self, labels: Sequence[str]) -> tuple[float, ...]:
        """The annotators' votes in the order of ``labels``; where there are none, 1 for the label."""
        votes = self.soft or {self.label: 1.0}
        return tuple(votes.get(label, 0.0) for label in labels)


_FIELDS = frozenset(field.name for field in dataclasses.fields(Utterance))


@dataclass(frozen=True)
class Manifest:
    """A corpus as a list of utterances, in a fixed order.

    Args:
        corpus: the corpus' name
        labels: the classes, in the order of the class indices
        root: the folder that relative paths start from
        utterances: the order matters, since a protocol may divide by position
        train_order: for corpora that prescribe it, the ids of each fold's training list in their order
        dev_order: for corpora that prescribe it, the ids of each fold's dev list in their order
        speakers_are: what the user says of the speakers, of :data:`SPEAKERS_ARE`

    Raises:
        CorpusError: if an id or a class appears twice, a list names an unknown utterance, votes an unknown class, or a
            name cannot be written as UTF-8
    """

    corpus: str
    labels: tuple[str, ...]
    root: str
    utterances: tuple[Utterance, ...]
    train_order: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    dev_order: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    speakers_are: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        twice = [name for name, count in Counter(item.id for item in self.utterances).items() if count > 1]
        if twice:
            raise CorpusError(f"{self.corpus}: {len(twice)} utterance ids appear twice: {', '.join(twice[:10])}")
        if not self.labels or len(set(self.labels)) != len(self.labels):
            raise CorpusError(f"{self.corpus}: expected different class names, found {list(self.labels)}")
        _check_lengths((self.corpus, *self.labels), "", shown(self.corpus))
        if not is_encodable(self.root):
            raise CorpusError(f"{self.corpus}: the folder's name {self.root!r} is not UTF-8. Rename it, or give a link")
        for item in self.utterances:
            if not is_encodable(item.path):
                raise CorpusError(f"{self.corpus}: the file name {item.path!r} is not UTF-8. Rename the file")
            attributes = (part for pair in (item.attributes or {}).items() for part in pair)
            texts = (item.id, item.label, item.speaker, item.session or "", *attributes)
            _check_lengths(texts, item.text or "", f"{self.corpus}: {shown(item.id)}")
            if not is_encodable("".join((*texts, item.text or ""))):
                raise CorpusError(f"{self.corpus}: {item.id!r} has texts that are no UTF-8 (half a surrogate pair)")
        for kind, lists in (("training", self.train_order), ("dev", self.dev_order)):
            for fold, ids in lists.items():
                unknown = [name for name in ids if name not in self.by_id]
                if unknown:
                    raise CorpusError(
                        f"{self.corpus}: the {kind} list of fold {fold} names {unknown[0]!r}, not a known id"
                    )
                if len(set(ids)) < len(ids):
                    (name, count), *_ = Counter(ids).most_common(1)
                    raise CorpusError(f"{self.corpus}: the {kind} list of fold {fold} names {name!r} {count} times")
        for item in self.utterances:
            if item.soft is not None and not set(item.soft) <= set(self.labels):
                strange = sorted(set(item.soft) - set(self.labels))
                raise CorpusError(
                    f"{self.corpus}: {item.id}: soft names {strange[0]!r}. {suggest(strange[0], self.labels)}"
                )

    @cached_property
    def by_id(self) -> dict[str, Utterance]:
        """Utterances by their id."""
        return {item.id: item for item in self.utterances}

    @property
    def speakers(self) -> tuple[str, ...]:
        """All speakers that are known, sorted."""
        return tuple(sorted({item.speaker for item in self.utterances if item.speaker}))

    @property
    def nameless(self) -> int:
        """How many utterances' speakers are not known."""
        return sum(not item.speaker for item in self.utterances)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of all attributes that some utterance has, sorted."""
        return tuple(sorted({name for item in self.utterances for name in item.attributes or ()}))

    def path_of(self, utterance: Utterance) -> Path:
        """Where the audio file of ``utterance`` is."""
        return Path(self.root) / utterance.path

    def counts(self) -> dict[str, int]:
        """Utterances per label, classes first, in order; labels outside of the set follow."""
        found = Counter(item.label for item in self.utterances)
        outside = sorted(set(found) - set(self.labels))
        return {label: found[label] for label in (*self.labels, *outside)}

    def with_utterances(self, utterances: Iterable[Utterance]) -> Manifest:
        """The same corpus with other utterances; training lists lose the ids that are gone."""
        kept = tuple(utterances)
        ids = {item.id for item in kept}

        def thinned(lists: Mapping[int, tuple[str, ...]]) -> dict[int, tuple[str, ...]]:
            return {fold: tuple(name for name in names if name in ids) for fold, names in lists.items()}

        return dataclasses.replace(
            self, utterances=kept, train_order=thinned(self.train_order), dev_order=thinned(self.dev_order)
        )

    def sha256(self) -> str:
        """Fingerprint of what decides a result: corpus, classes, and of each utterance, in order, the id, label,
        votes, speaker, fold and segment, and the prescribed lists. Folders, texts, durations and attributes do not
        enter."""
        rows = [
            [u.id, u.label, u.speaker, u.fold, u.start_s, u.end_s, u.corpus, u.soft and sorted(u.soft.items())]
            for u in self.utterances
        ]
        orders = [[[fold, list(ids)] for fold, ids in sorted(o.items())] for o in (self.train_order, self.dev_order)]
        content = json.dumps([self.corpus, list(self.labels), rows, orders], ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(content.encode("utf-8")).hexdigest()

    def write(self, path: str | Path) -> None:
        """Write the manifest as JSON lines, atomically."""
        header: dict[str, Any] = {
            "schema": SCHEMA,
            "corpus": self.corpus,
            "labels": list(self.labels),
            "root": self.root,
            "count": len(self.utterances),
        }
        for key in _LISTS:
            if lists := getattr(self, key):
                header[key] = {str(fold): list(ids) for fold, ids in sorted(lists.items())}
        if self.speakers_are:
            header["speakers_are"] = list(self.speakers_are)
        rows = [{k: v for k, v in dataclasses.asdict(item).items() if v is not None} for item in self.utterances]
        lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in (header, *rows)]
        write_atomically(path, "\n".join(lines) + "\n")

    @classmethod
    def read(cls, path: str | Path, root: str | Path | None = None) -> Manifest:
        """Read a manifest that :meth:`write` wrote.

        Args:
            path: the file
            root: the corpus folder, when it is elsewhere than the manifest says

        Raises:
            CorpusError: naming file, line and key, if something is missing, unknown or of another type, and if the
                file holds fewer or more utterances than its header says
        """
        path = Path(path)
        if not path.is_file():
            raise CorpusError(f"{path}: no such manifest. Make it with the command `prepare`")
        try:
            lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        except UnicodeDecodeError as error:
            raise CorpusError(f"{path}: not a manifest: not UTF-8 text ({error})") from error
        if lines == [""]:
            raise CorpusError(f"{path}: the manifest is empty")
        header = _read_header(json_object(lines[0], f"{path}, line 1"), f"{path}, line 1")
        utterances = []
        for number, line in enumerate(lines[1:], start=2):
            where = f"{path}, line {number}"
            try:
                utterances.append(from_mapping(Utterance, json_object(line, where), where))
            except ConfigError as error:
                raise CorpusError(str(error)) from error
        if len(utterances) != header["count"]:
            raise CorpusError(f"{path}: its header says {header['count']} utterances, found {len(utterances)}")
        lists = {key: _read_lists(header.get(key, {}), f"{path}, line 1: header key {key!r}") for key in _LISTS}
        folder = Path(header["root"] if root is None else root).as_posix()
        said = tuple(header.get("speakers_are", ()))
        try:
            return cls(header["corpus"], tuple(header["labels"]), folder, tuple(utterances), **lists, speakers_are=said)
        except CorpusError as error:
            raise CorpusError(f"{path}: {error}") from error


def _check_lengths(names: Iterable[str], said: str, where: str) -> None:
    """Refuse names and texts that no recording has, before file names and tokens are made of them."""
    if len(said) > MAX_SAID:
        raise CorpusError(
            f"{where}: its text has {len(said)} characters, expected at most {MAX_SAID}: is it that of one utterance?"
        )
    for name in names:
        if len(name) > MAX_NAME:
            raise CorpusError(f"{where}: {shown(name)} has {len(name)} characters, expected at most {MAX_NAME}")


def json_object(line: str, where: str) -> dict[str, Any]:
    """The object that a line of JSON holds.

    Raises:
        CorpusError: beginning with ``where``, if it is not JSON or holds something else
    """
    try:
        content = parse_json(line)
    except ValueError as error:
        raise CorpusError(f"{where}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise CorpusError(f"{where}: expected a JSON object, found {type(content).__name__}")
    return content


def is_encodable(text: str) -> bool:
    """Whether a text can be written as UTF-8: no half of a surrogate pair, as from a file name in another encoding."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _read_header(header: dict[str, Any], where: str) -> dict[str, Any]:
    expected: dict[str, type] = {"schema": int, "corpus": str, "labels": list, "root": str, "count": int}
    for key, kind in expected.items():
        if not isinstance(header.get(key), kind) or isinstance(header[key], bool):
            raise CorpusError(f"{where}: header key {key!r}: expected {kind.__name__}, found {header.get(key)!r}")
    if not all(isinstance(label, str) and label for label in header["labels"]):
        raise CorpusError(f"{where}: header key 'labels': expected names of classes, found {header['labels']}")
    said = header.get("speakers_are", [])
    if not isinstance(said, list) or any(word not in SPEAKERS_ARE for word in said):
        raise CorpusError(f"{where}: header key 'speakers_are': expected some of {list(SPEAKERS_ARE)}, found {said!r}")
    for key in header:
        if key not in (*expected, *_LISTS, "speakers_are"):
            raise CorpusError(f"{where}: unknown header key {key!r}. {suggest(key, expected)}")
    if header["schema"] != SCHEMA:
        raise CorpusError(f"{where}: header key 'schema': this version reads {SCHEMA}, found {header['schema']}")
    return header


def _read_lists(content: Any, where: str) -> dict[int, tuple[str, ...]]:
    try:
        lists = {int(fold): tuple(ids) for fold, ids in content.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise CorpusError(f"{where}: expected fold numbers and lists of ids: {error}") from error
    if not all(isinstance(name, str) for ids in lists.values() for name in ids):
        raise CorpusError(f"{where}: expected fold numbers and lists of ids, found other things than texts")
    return lists
