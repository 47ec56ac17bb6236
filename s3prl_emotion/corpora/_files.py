"""Find a corpus' files by name, past what copies of corpora bring along, and read its lists."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from s3prl_emotion.errors import CorpusError


def audio_files(root: Path, suffixes: tuple[str, ...] = (".wav",)) -> list[Path]:
    """All files with one of the endings, in any case, below a folder, sorted by path.

    Files and folders whose names begin with a dot (``._03-01.wav``, ``.git``) and ``__MACOSX`` are passed over.
    """
    found: list[str] = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".") and name != "__MACOSX"]
        found += [
            os.path.join(folder, name)
            for name in names
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes
        ]
    return [Path(name) for name in sorted(found)]


def without_copies(named: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """One file for every name, sorted by name: of several, the one that is nested least, then the first by path."""
    chosen: dict[str, Path] = {}
    for name, path in sorted(named, key=lambda item: (len(item[1].parts), str(item[1]))):
        chosen.setdefault(name, path)
    return dict(sorted(chosen.items()))


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
