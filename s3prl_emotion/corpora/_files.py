"""Find a corpus' files by name, past what copies of corpora bring along, and read its lists."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from s3prl_emotion.errors import CorpusError

logger = logging.getLogger(__name__)

AUDIO = (".wav", ".flac")
"""Endings of a corpus' recordings, in any case: copies are often of FLAC."""
HERE = "."
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")  # C:\ and \\server\
_PIECE = 1 << 20
_EQUAL_S = 0.02
_Pair = tuple[str, Path, Path]  # a name, the file that is taken, another


def audio_files(root: Path, suffixes: tuple[str, ...] = AUDIO) -> list[Path]:
    """All files with one of the endings, in any case, below a folder, sorted by path.

    Files and folders whose names begin with a dot (``._03-01.wav``, ``.git``) and ``__MACOSX`` are passed over. A link
    to a folder is followed, unless the folder lies below ``root`` by its own name.
    """
    found: list[str] = []
    seen: set[str] = set()
    waiting = [os.fspath(root)]
    for top in waiting:  # links are appended while it goes on
        for folder, subfolders, names in os.walk(top):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith(".") and name != "__MACOSX")
            if (real := os.path.realpath(folder)) in seen:
                subfolders.clear()
                continue
            seen.add(real)
            waiting += [place for name in subfolders if os.path.islink(place := os.path.join(folder, name))]
            found += [
                os.path.join(folder, name)
                for name in names
                if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes
            ]
    return [Path(name) for name in sorted(found)]


def version(root: Path, folder: str | None) -> Path:
    """The folder below ``root`` that the option ``folder`` of a reader names; ``root`` if it is not given.

    Raises:
        CorpusError: if there is none
    """
    place = Path(os.path.normpath(root / (folder or HERE)))
    if not place.is_dir() or not place.is_relative_to(root):
        raise CorpusError(f"{root}: option folder: expected a folder in it, such as original, found {folder!r}")
    return place


def without_copies(named: Iterable[tuple[str, Path]], root: Path, folder: str | None = None) -> dict[str, Path]:
    """One file for every name, sorted by name.

    Of several with equal content, bytes or samples, it is the one that is nested least, then the first by path, a WAV
    file before others; the log says how many there are. Content is looked at where names collide only.

    Args:
        named: files below :func:`version` with their names
        root: the corpus' folder
        folder: the option ``folder``. Of two versions, one within the other, it chooses the outer one

    Raises:
        CorpusError: if there is other content under one name, with the folders of both
    """
    top = version(root, folder)
    groups = _grouped(named)
    copies: list[_Pair] = []
    others: list[_Pair] = []
    for name, paths in groups.items():
        for path in paths[1:]:
            (copies if _is_same(paths[0], path) else others).append((name, paths[0], path))
    if others and folder is not None:
        inner = {place for _, first, other in others for ours, place in [_folders(first, other, top)] if ours == HERE}
        kept = [
            (name, path)
            for name, paths in groups.items()
            for path in paths
            if not any(path.is_relative_to(top / place) for place in inner if place != HERE)
        ]
        if inner - {HERE}:
            logger.info("%s: %s left out, where other versions are", top, ", ".join(sorted(inner - {HERE})))
            return without_copies(kept, root, folder)
    if others:
        raise CorpusError(_two_versions(others, len(groups), root, top))
    _say_copies(copies, root, top)
    return {name: paths[0] for name, paths in sorted(groups.items())}


def recordings(named: Iterable[tuple[str, Path]], root: Path) -> list[Path]:
    """The files, sorted by path, of speech whose names may be there again, as those of each session may.

    Of those with equal content under one name there is one, as :func:`without_copies` has it. Others are recordings of
    their own, unless most of them last equally long: then they are two versions.

    Raises:
        CorpusError: if there are two versions
    """
    found: list[Path] = []
    copies: list[_Pair] = []
    others: list[_Pair] = []
    groups = _grouped(named)
    for name, paths in groups.items():
        kept: list[Path] = []
        for path in paths:
            same = next((item for item in kept if _is_same(item, path)), None)
            if same is not None:
                copies.append((name, same, path))
                continue
            others += [(name, kept[0], path)] if kept else []
            kept.append(path)
        found += kept
    if others and 2 * sum(_lasts_equally(first, other) for _, first, other in others) > len(others):
        raise CorpusError(_two_versions(others, len(groups), root, root, "Write the folder of one into the pattern"))
    _say_copies(copies, root, root)
    return sorted(found, key=str)


class Stored:
    """Where recordings are that a corpus' lists name: some copies have other endings than the lists."""

    def __init__(self) -> None:
        self._found: dict[Path, dict[str, list[str]]] = {}

    def path(self, root: Path, listed: str, has_ending: bool = True) -> str:
        """The name of a file, relative to ``root`` as its list has it: with the ending that the file has.

        A file that is not there at all stays as it is listed.

        Args:
            root: the corpus' folder
            listed: the name
            has_ending: the list names the ending, so a file that is there as it is listed is meant

        Raises:
            CorpusError: if several are there, with other content
        """
        name = PurePosixPath(listed)
        place = root / name.parent
        if place not in self._found:
            self._found[place] = _by_stem(place)
        there = self._found[place].get(name.stem, [])
        if not there or (has_ending and name.name in there):
            return listed
        first, *others = sorted((place / item for item in there), key=_rank)
        for other in others:
            if not _is_same(first, other):
                raise CorpusError(_two_versions([(name.stem, first, other)], 1, place, place))
        return (name.parent / first.name).as_posix()


def check_slashes(path: str, where: str) -> None:
    """Refuse Windows' backslashes and drives in a path of a list.

    Raises:
        CorpusError: with the path as it should be
    """
    if _DRIVE.match(path):
        raise CorpusError(
            f"{where}: the path {path!r} names a drive of Windows. Write where the file is here, with slashes, best "
            "relative to the corpus' folder"
        )
    if "\\" in path:
        raise CorpusError(
            f"{where}: the path {path!r} has backslashes, as Windows writes them; here they are letters of a name. "
            f"Write it with slashes: {path.replace(chr(92), '/')!r}"
        )


def read_list(path: Path, errors: str = "strict") -> str:
    """The text of a corpus' list.

    Args:
        path: the file
        errors: ``replace`` where bytes that are not UTF-8 do not matter

    Raises:
        CorpusError: if it is missing, no regular file (a pipe would be waited for), cannot be opened or is not UTF-8
    """
    if not path.is_file():
        raise CorpusError(
            f"{path}: {'not a regular file' if path.exists() else 'no such file'}. Fetch the corpus again"
        )
    try:
        return path.read_text(encoding="utf-8", errors=errors)
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 text ({error}). Fetch the file again") from error
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}") from error


def _grouped(named: Iterable[tuple[str, Path]]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for name, path in sorted(named, key=lambda item: _rank(item[1])):
        groups.setdefault(name, []).append(path)
    return groups


def _say_copies(copies: Sequence[_Pair], root: Path, top: Path) -> None:
    if copies:
        _, kept, copy = copies[0]
        logger.warning(
            "%s: %d clips are there more than once, with equal content, and are read once, such as %s, also %s",
            top,
            len({name for name, _, _ in copies}),
            kept.relative_to(root),
            copy.relative_to(root),
        )


def _rank(path: Path) -> tuple[bool, int, str]:
    return path.suffix.lower() != ".wav", len(path.parts), str(path)


def _by_stem(folder: Path) -> dict[str, list[str]]:
    """The recordings in a folder by their names without ending."""
    found: dict[str, list[str]] = {}
    try:
        names = os.listdir(folder)
    except OSError:
        names = []
    for name in sorted(names):
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in AUDIO:
            found.setdefault(stem, []).append(name)
    return found


def _is_same(first: Path, second: Path) -> bool:
    """Whether two files have equal content: the same bytes, or the same samples in other headers or formats."""
    try:
        if first.samefile(second):
            return True
        if first.stat().st_size == second.stat().st_size and _digest(first) == _digest(second):
            return True
    except OSError:
        return False
    return _sounds_same(first, second)


def _digest(path: Path) -> bytes:
    digest = hashlib.blake2b()
    if path.is_file():  # a pipe would be waited for
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    return digest.digest()


def _sounds_same(first: Path, second: Path) -> bool:
    from s3prl_emotion.audio import AudioError, audio_info, read_segment

    try:
        ours, theirs = audio_info(first), audio_info(second)
        if (ours.sample_rate_hz, ours.frames) != (theirs.sample_rate_hz, theirs.frames):
            return False
        return np.array_equal(read_segment(first)[0], read_segment(second)[0])
    except AudioError:
        return False


def _lasts_equally(first: Path, second: Path) -> bool:
    from s3prl_emotion.audio import AudioError, audio_info

    try:
        return abs(audio_info(first).duration_s - audio_info(second).duration_s) < _EQUAL_S
    except AudioError:
        return False


def _folders(first: Path, second: Path, top: Path) -> tuple[str, str]:
    """Where two files with one name part, seen from ``top``: ``original`` and ``noisy`` of ``original/a/x.wav`` and
    ``noisy/a/x.wav``."""
    ours, theirs = (list(path.relative_to(top).parent.parts) for path in (first, second))
    while ours and theirs and ours[-1] == theirs[-1]:
        ours.pop()
        theirs.pop()
    return str(PurePosixPath(*ours)), str(PurePosixPath(*theirs))


def _two_versions(others: Sequence[_Pair], names: int, root: Path, top: Path, remedy: str | None = None) -> str:
    """What to say of other content under one name."""
    pairs: Mapping[tuple[str, str], int] = Counter(_folders(first, other, top) for _, first, other in others)
    base = top.relative_to(root)
    _, first, other = others[0]
    many = len({name for name, _, _ in others})
    said = (
        f"{top}: {many} of {names} names are there more than once, with other content: "
        f"{first.relative_to(root)} is not {other.relative_to(root)}"
    )
    pair, count = max(pairs.items(), key=lambda item: item[1])
    if pair[0] == pair[1]:
        return f"{said}. Take one of the two away"
    places = [str(PurePosixPath(base, place)) for place in pair]
    more = f" ({count} of them), and {len(pairs) - 1} further pairs of folders" if len(pairs) > 1 else ""
    remedy = remedy or (
        f"Choose one: --corpus-option folder={places[0]}, or folder={places[1]}; or give the corpus the folder of one"
    )
    return f"{said}. They are two versions of the corpus, in the folders {places[0]} and {places[1]}{more}. {remedy}"
