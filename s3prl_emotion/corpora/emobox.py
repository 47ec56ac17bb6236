"""Any corpus of EmoBox (Ma et al., Interspeech 2024) through the lists in a user's own clone of it.

``data/<name>/fold_<k>/<name>_{train,test,valid}_fold_<k>.jsonl`` has one row per utterance with ``key``, ``wav`` (from
the clone's root) and ``emo``; older files say ``audio`` and ``label``, and end in ``_fold<k>.jsonl``. The classes of
raw labels are in ``label_map.json`` (in one corpus ``label_dict.json``), whose case differs from the lists'. The lists
name no speakers: they are taken from ``data.seg.wrd.stm``, where it names them; else they are unknown. IEMOCAP's are
taken from the names of its utterances, since the stm says who wore the markers instead of who speaks.

Most corpora have no ``valid`` list, and many share speakers between train and test: protocol ``published`` allows and
shows it. Audio has to be of a kind that libsndfile decodes: MELD's mp4 and MEAD's m4a files have to be converted, say
to wav beside them, and read with ``suffix=.wav``.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora._attributes import AttributeColumns
from s3prl_emotion.corpora._corpus import Corpus
from s3prl_emotion.corpora._files import Stored, check_slashes, read_list
from s3prl_emotion.corpora._rows import Texts
from s3prl_emotion.corpora.manifest import Manifest, Utterance, json_object
from s3prl_emotion.corpora.superb_metadata import attributes_of, speaker_of
from s3prl_emotion.errors import CorpusError, suggest

logger = logging.getLogger(__name__)

_OWN = ("key", "wav", "audio", "emo", "label", "start_time", "end_time", *(item.name for item in fields(Utterance)))
LAYOUT = "CLONE/data/<name> of an EmoBox clone, with fold_<k>/<name>_{train,test}_fold_<k>.jsonl in it"


def read_emobox(
    root: Path,
    audio_root: str | Path | None = None,
    fold: int | str | None = None,
    labels: str | None = None,
    suffix: str | None = None,
    attributes: Sequence[str] | str | None = None,
) -> Manifest:
    """Read EmoBox' lists of one corpus.

    Args:
        root: the corpus' folder in the clone, ``CLONE/data/<name>``
        audio_root: the folder that paths of audio start from; ``CLONE`` if not given
        fold: read this fold only; needed where several folds test on the same utterance
        labels: the classes to read, with commas; all of the label map if not given. Others are left out
        suffix: the ending of the audio files, where it is not that of the lists (``.wav``)
        attributes: further keys of the lists to keep, with commas (``channel,dataset``). Sex and scenario of IEMOCAP's
            utterances come from their names

    Returns:
        a manifest ``emobox_<name>``: the test lists of all folds one after the other, then utterances that are only
        trained or selected on. :attr:`Manifest.train_order` and, where there are any, ``dev_order`` keep the lists

    Raises:
        CorpusError: naming the file and line, if something is missing or lists contradict each other
    """
    name = root.name
    folders: dict[int, Path] = {}
    for place in sorted(root.glob("fold_*")):
        if (k := place.name.removeprefix("fold_")).isdecimal() and folders.setdefault(int(k), place) != place:
            raise CorpusError(f"{root}: {folders[int(k)].name} and {place.name} are both fold {int(k)}. Take one away")
    if not folders:
        raise CorpusError(f"{root}: no folders fold_<k>. Expected {LAYOUT}")
    numbers = sorted(folders) if fold is None else [_chosen(fold, folders, root)]
    lists: dict[tuple[int, str], list[Utterance]] = {}
    classes = _Classes(root, labels)
    speakers = _read_speakers(root / "data.seg.wrd.stm")
    further = AttributeColumns(attributes, root, _OWN)
    if suffix is not None and not re.fullmatch(r"\.\w+", suffix):
        raise CorpusError(f"{root}: option suffix: expected an ending such as .wav, found {suffix!r}")
    for number in numbers:
        for part in ("test", "train", "valid"):
            path = _list_file(folders[number], part, number)
            if path is not None:
                lists[number, part] = _read_list(path, classes, speakers, suffix, further)
            elif part != "valid":
                raise CorpusError(f"{folders[number]}: no {part} list. Expected *_{part}_fold_{number}.jsonl")
    base = root.parent.parent if audio_root is None else Path(audio_root).expanduser().absolute()
    if suffix is None:
        stored = Stored()
        lists = {
            key: [replace(item, path=stored.path(base, item.path)) for item in items] for key, items in lists.items()
        }
    known: dict[str, Utterance] = {}
    for number in numbers:
        for item in lists[number, "test"]:
            if item.id in known:
                raise CorpusError(
                    f"{root}: folds {known[item.id].fold} and {number} both test on {item.id!r}. "
                    "Read one fold at a time: --corpus-option fold=<k>"
                )
            known[item.id] = replace(item, fold=number)
    for (number, part), items in lists.items():
        for item in items:
            other = known.setdefault(item.id, item)
            if (other.path, other.label) != (item.path, item.label):
                raise CorpusError(
                    f"{root}: {item.id!r} is {item.path!r}, {item.label!r} in the {part} list of fold {number} and "
                    f"{other.path!r}, {other.label!r} in another list"
                )
    if not known:
        raise CorpusError(f"{root}: no utterance of the classes. Expected {LAYOUT}")
    classes.report()
    further.check()
    found = {item.label for item in known.values()}
    order = {part: {k: tuple(u.id for u in items) for (k, p), items in lists.items() if p == part} for _, part in lists}
    return Manifest(
        f"emobox_{name}",
        tuple(label for label in classes.names if label in found),
        base.as_posix(),
        tuple(known.values()),
        order["train"],
        order.get("valid", {}),
    )


class _Classes:
    """From raw labels to classes; counts what is left out."""

    def __init__(self, root: Path, wanted: str | None) -> None:
        self._where = root
        self._class_of: dict[str, str] = {}
        self._left_out: Counter[str] = Counter()
        self._mapped = False
        names: list[str] = []
        for file in (root / "label_map.json", root / "label_dict.json"):
            if file.is_file():
                content = json_object(read_list(file), str(file))
                self._mapped = True
                for raw, label in content.items():
                    if not isinstance(label, str) or not label.strip():
                        raise CorpusError(f"{file}: key {raw!r}: expected the name of a class, found {label!r}")
                    self._class_of[raw.casefold()] = label
                self._class_of |= content  # where case makes a difference, it counts
                names = list(dict.fromkeys(content.values()))
                for label in names:
                    self._class_of.setdefault(label.casefold(), label)
                break
        else:
            logger.warning("%s: no label_map.json: raw labels are the classes", root)
        self._wanted = [item.strip() for item in wanted.split(",")] if wanted else None
        for label in self._wanted or []:
            if names and label not in names:
                raise CorpusError(f"{root}: option labels: unknown class {label!r}. {suggest(label, names)}")
        self.names = self._wanted or names

    def of(self, raw: str) -> str | None:
        """The class of a raw label, None for one that is left out."""
        label = self._class_of.get(raw, self._class_of.get(raw.casefold())) if self._mapped else raw
        if label is None or (self._wanted is not None and label not in self._wanted):
            self._left_out[raw] += 1
            return None
        if label not in self.names:
            self.names = sorted([*self.names, label])
        return label

    def report(self) -> None:
        """Say which labels were left out, with the number of rows in all lists."""
        if self._left_out:
            rows = ", ".join(f"{raw} {count}" for raw, count in sorted(self._left_out.items()))
            logger.warning(
                "%s: rows with labels outside of the classes are left out of the lists: %s", self._where, rows
            )


def _chosen(fold: int | str, folders: dict[int, Path], root: Path) -> int:
    if not str(fold).isdecimal() or int(fold) not in folders:
        raise CorpusError(f"{root}: option fold: no fold {fold!r}. Known: {', '.join(map(str, sorted(folders)))}")
    return int(fold)


def _list_file(folder: Path, part: str, number: int) -> Path | None:
    """The newer of the two spellings, where a fold has both."""
    for pattern in (f"*_{part}_fold_{number}.jsonl", f"*_{part}_fold{number}.jsonl"):
        for path in sorted(folder.glob(pattern)):
            if not path.name.startswith("."):
                return path
    return None


def _read_list(
    path: Path, classes: _Classes, speakers: dict[str, str], suffix: str | None, further: AttributeColumns
) -> list[Utterance]:
    items: dict[str, Utterance] = {}
    texts = Texts(path)
    for number, line in enumerate(read_list(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        row = json_object(line, where)
        key, wav, raw = (_text(row, names, where) for names in (("key",), ("wav", "audio"), ("emo", "label")))
        if key in items:
            raise CorpusError(f"{where}: {key!r} is there twice")
        check_slashes(wav, where)
        label = classes.of(raw)
        if label is None:
            continue
        try:
            items[key] = Utterance(
                id=key,
                path=PurePosixPath(wav).with_suffix(suffix).as_posix() if suffix else wav,
                label=label,
                speaker=speaker_of(PurePosixPath(wav).stem) or speakers.get(key, ""),
                start_s=_seconds(row, "start_time"),
                end_s=_seconds(row, "end_time"),
                attributes={**(attributes_of(PurePosixPath(wav).stem) or {}), **(further.of(row, where, texts) or {})}
                or None,
            )
        except (ValueError, OverflowError) as error:
            raise CorpusError(f"{where}: {error}") from error
    return list(items.values())


def _read_speakers(path: Path) -> dict[str, str]:
    """Speakers by key, from ``key channel speaker start end <id=key,lang=...,spk=speaker,emotion=label> label``.

    Of some corpora (``resd``, ``mer2023``) the stm gives the name of the clip for its speaker: nobody knows who speaks.
    """
    if not path.is_file():
        return {}
    speakers = {}
    for line in read_list(path, errors="replace").split("\n"):
        if match := re.search(r"<id=(.+?),lang=[^,]*,spk=(.+?),emotion=", line):
            speakers[match.group(1)] = match.group(2)
    if len(speakers) > 1 and len(set(speakers.values())) == len(speakers):
        logger.warning("%s: names another speaker for each of %d clips, so none is known", path, len(speakers))
        return {}
    return speakers


def _text(row: dict[str, Any], names: tuple[str, ...], where: str) -> str:
    for name in names:
        if isinstance(row.get(name), str) and row[name]:
            return str(row[name])
    raise CorpusError(f"{where}: key {' or '.join(map(repr, names))}: expected a text, found {row}")


def _seconds(row: dict[str, Any], name: str) -> float | None:
    value = row.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float, str))):
        raise ValueError(f"{name}: expected seconds, found {value!r}")
    return None if value is None else float(value)


corpora.register("emobox")(
    Corpus(
        name="emobox",
        reader=read_emobox,
        labels=(),
        licence="that of the corpus the lists describe",
        citation="Ma et al., EmoBox: Multilingual multi-corpus speech emotion recognition toolkit and benchmark, "
        "Interspeech 2024",
        source="the user's own clone of EmoBox",
        named_by_data=True,
        layout=LAYOUT,
        default_protocol="published",
    )
)
