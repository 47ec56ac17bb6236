"""Speech with speakers, labelled or not, for pretraining: a corpus, a prepared manifest, a table, files by a pattern.

One text names one source, ``[NAME=]PLACE``:

- ``emodb4=DIR``: a corpus by its name, with its data;
- ``DIR`` with a ``manifest.jsonl``, or the file: what the command `prepare` wrote;
- ``TABLE``: a table with the columns ``path`` and ``speaker``, see :mod:`s3prl_emotion.corpora.table`;
- ``DIR/{speaker}/*/{utterance}.flac``: the files that the pattern matches, and who speaks in them.

Labels, where there are any, are carried along.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from s3prl_emotion.corpora import corpora
from s3prl_emotion.corpora._files import audio_files, recordings
from s3prl_emotion.corpora._rows import Texts
from s3prl_emotion.corpora.manifest import UNLABELLED, Manifest, Utterance, json_object
from s3prl_emotion.corpora.spelling import settled
from s3prl_emotion.corpora.table import read_speakers
from s3prl_emotion.errors import CorpusError, suggest

logger = logging.getLogger(__name__)

MANIFEST = "manifest.jsonl"
AUDIO = (".aif", ".aiff", ".flac", ".mp3", ".ogg", ".opus", ".wav")
"""Endings that a pattern without one looks for."""
NAMES = ("speaker", "utterance")
_NAMED = re.compile(r"([\w.+-]+)=(.+)", re.DOTALL)
_PART = re.compile(r"\{([^{}]*)\}|(\*\*/|\*\*|\*)")
_HINT = "Expected CORPUS=DIR, a prepared folder, a table, or a pattern such as DIR/{speaker}/*/{utterance}.flac"


@dataclass(frozen=True)
class SpeechSource:
    """Where speech is: a text of ``--speech``, read but not followed."""

    name: str  # in ids, speakers and messages
    place: Path  # absolute; of a pattern: the folder that it starts from
    corpus: str | None = None  # the registered corpus that reads it
    pattern: str | None = None  # below the place

    @classmethod
    def parse(cls, text: str) -> SpeechSource:
        """What a text names.

        Raises:
            CorpusError: if it names nothing, or its pattern names no speaker
        """
        found = _NAMED.fullmatch(text)
        name, place = (None, text) if found is None else (found[1], found[2])
        if name is None and place in corpora.names():
            raise CorpusError(f"--speech {text}: where is this corpus? Give its folder: --speech {text}=DIR")
        if not place.strip() or "\0" in place:
            raise CorpusError(f"--speech {text!r}: names nothing. {_HINT}")
        if name is not None and name in corpora.names():
            return cls(name, Path(place).expanduser().absolute(), name)
        if _PART.search(place) is None and "{" not in place:
            path = Path(place).expanduser().absolute()
            return cls(name or path.stem, path)
        _check_pattern(place)
        parts = PurePosixPath(place).parts
        count = next(number for number, part in enumerate(parts) if _PART.search(part))
        root = Path(*parts[:count]).expanduser().absolute()
        return cls(name or root.name, root, None, "/".join(parts[count:]))

    def read(self) -> Manifest:
        """The speech as a manifest, with one spelling of each name. No audio is decoded.

        Raises:
            CorpusError: if it is not there, holds no speech, or does not say who speaks
        """
        if self.corpus is not None:
            return _known(corpora.get(self.corpus).read(self.place), str(self.place))
        if self.pattern is not None:
            return _spoken(_by_pattern(self.name, self.place, self.pattern), f"{self.place}/{self.pattern}")
        prepared = self.place / MANIFEST
        if prepared.is_file():
            return _spoken(Manifest.read(prepared), str(prepared))
        if self.place.is_dir():
            raise CorpusError(
                f"--speech {self.place}: a folder without a {MANIFEST}: which of its files, and who speaks? {_HINT}"
            )
        if not self.place.is_file():
            raise CorpusError(f"--speech {self.place}: no such file or folder. {_HINT}")
        if _is_manifest(self.place):
            return _spoken(Manifest.read(self.place), str(self.place))
        return _spoken(read_speakers(self.place, self.name), str(self.place))


def united(sources: Sequence[tuple[str, Manifest]]) -> Manifest:
    """Several sources as one: ids are ``<source>/<id>``, speakers ``<source>:<speaker>``, the ``corpus`` of each
    utterance is its source, and paths are absolute. Votes are left behind.

    Args:
        sources: manifests by name, in their order
    """
    items: list[Utterance] = []
    for name, manifest in sources:
        items += [
            replace(
                item,
                id=f"{name}/{item.id}",
                path=manifest.path_of(item).as_posix(),
                speaker=f"{name}:{item.speaker}",
                fold=None,
                corpus=name,
                source=None if item.source is None else f"{name}/{item.source}",
                soft=None,
            )
            for item in manifest.utterances
        ]
    labels = tuple(sorted({item.label for item in items}))
    return Manifest("+".join(name for name, _ in sources), labels, "/", tuple(items))


def _check_pattern(pattern: str) -> None:
    names = [found[1] for found in _PART.finditer(pattern) if found[1] is not None]
    for name in names:
        if name not in NAMES:
            raise CorpusError(f"--speech {pattern}: unknown part {{{name}}}. {suggest(name, NAMES)}")
    if _PART.sub("", pattern).count("{") + _PART.sub("", pattern).count("}"):
        raise CorpusError(f"--speech {pattern}: a brace without its other half")
    if "speaker" not in names:
        raise CorpusError(
            f"--speech {pattern}: the pattern does not say where the speaker's name is. Put {{speaker}} there, such as "
            "DIR/{speaker}/*/{utterance}.flac"
        )


def _by_pattern(name: str, root: Path, pattern: str) -> Manifest:
    """The files below ``root`` that a pattern matches, sorted; an id is the path without its ending."""
    if not root.is_dir():
        raise CorpusError(f"--speech {root}/{pattern}: no folder {root}")
    expression = _expression(pattern)
    ending = PurePosixPath(pattern).suffix.lower()
    files = audio_files(root, AUDIO if not ending or _PART.search(ending) else (ending,))
    speakers: dict[Path, str] = {}
    named: list[tuple[str, Path]] = []
    for path in files:
        relative = path.relative_to(root).as_posix()
        found = expression.fullmatch(relative)
        if found is not None:
            speakers[path] = found["speaker"]
            named.append((PurePosixPath(relative[found.start("speaker") :]).with_suffix("").as_posix(), path))
    texts = Texts(root)
    items = []
    for path in recordings(named, root):
        relative = path.relative_to(root).as_posix()
        speaker = texts.name(speakers[path], f"{path}: speaker")
        items.append(Utterance(PurePosixPath(relative).with_suffix("").as_posix(), relative, UNLABELLED, speaker))
    texts.report()
    if not items:
        example = f", such as {files[0].relative_to(root).as_posix()}" if files else ""
        raise CorpusError(
            f"--speech {root}/{pattern}: the pattern matches none of {len(files)} audio files below {root}{example}. * "
            "stands for a part of one name, ** for any number of folders"
        )
    if len(named) < len(files):
        logger.warning("%s: the pattern %s matches %d of %d audio files", root, pattern, len(named), len(files))
    return Manifest(name, (UNLABELLED,), root.as_posix(), tuple(items))


def _expression(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression. A name is as short as it can be; a speaker named twice is the same twice; the
    ending counts in any case."""
    ending = PurePosixPath(pattern).suffix
    ending = "" if _PART.search(ending) else ending
    pattern = pattern[: len(pattern) - len(ending)]
    pieces, begin, seen = [], 0, set()
    for found in _PART.finditer(pattern):
        pieces.append(re.escape(pattern[begin : found.start()]))
        begin, named = found.end(), found[1]
        if named is None:
            pieces.append({"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}[found[2]])
        else:
            pieces.append(f"(?P={named})" if named in seen else f"(?P<{named}>[^/]+?)")
            seen.add(named)
    return re.compile("".join([*pieces, re.escape(pattern[begin:]), f"(?i:{re.escape(ending)})"]))


def _is_manifest(path: Path) -> bool:
    """Whether a file of JSON lines begins as a manifest does."""
    if path.suffix.lower() != ".jsonl":
        return False
    with path.open("rb") as file:
        line = file.readline().decode("utf-8", "replace")
    try:
        header = json_object(line, str(path))
    except CorpusError:
        return False
    return "schema" in header and "path" not in header


def _spoken(manifest: Manifest, where: str) -> Manifest:
    """With one spelling of each name, and without the utterances whose speaker is not known."""
    return _known(settled(manifest, where=where), where)


def _known(manifest: Manifest, where: str) -> Manifest:
    """Without the utterances whose speaker is not known.

    Raises:
        CorpusError: if no speaker is known
    """
    if not manifest.nameless:
        return manifest
    if manifest.nameless == len(manifest.utterances):
        raise CorpusError(
            f"--speech {where}: it is not known who speaks in any of {len(manifest.utterances)} utterances, and "
            "clusters are made within speakers. Give speech with speakers"
        )
    logger.warning(
        "%s: left out %d of %d utterances whose speakers are not known",
        where,
        manifest.nameless,
        len(manifest.utterances),
    )
    return manifest.with_utterances(item for item in manifest.utterances if item.speaker)
