"""Audio that is made from other audio, once, into files: FLAC of 16 bits at 16 kHz, which carry how they were made.

Any number of processes may work on one folder: each takes subfolders that nobody holds, and what is there is not made
again. The bytes of a file follow from what it is made of, so it does not matter who made it.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3prl_emotion.audio.lengths import AudioError, check_file
from s3prl_emotion.audio.reading import SAMPLE_RATE_HZ
from s3prl_emotion.files import clean_up, parse_json, replacing, write_atomically
from s3prl_emotion.locks import LOCK, HeldError, exclusive

SUBTYPE = "PCM_16"
STEPS = 1 << 15  # of full scale
ABOUT = "about.json"
"""In the folder: what all its files were made with, for people."""
_MAX_PEAK = 1 - 1 / STEPS


@dataclass(frozen=True)
class DerivedFile:
    """A file that is to be made."""

    name: str  # 32 hexadecimal digits, from everything that decides its content beside the folder
    make: Callable[[], tuple[np.ndarray, Any]]  # gives float32 samples at 16 kHz, and what to record, as plain values


def job_name(*parts: object) -> str:
    """The name of a file that follows from these parts, by their representation."""
    return hashlib.blake2b(repr(parts).encode("utf-8"), digest_size=16).hexdigest()


def storable(samples: np.ndarray) -> np.ndarray:
    """Samples as their file will hold them: brought below full scale where they are above it, and of 16 bits."""
    peak = float(np.abs(samples).max(initial=0.0))
    scaled = samples.astype(np.float64) * (_MAX_PEAK / peak if peak > _MAX_PEAK else 1.0)
    return np.asarray(np.round(scaled * STEPS) / STEPS, dtype=np.float32)


def path_of(folder: Path, name: str) -> Path:
    """Where the file of a job lies."""
    return folder / name[:2] / f"{name[2:]}.flac"


def make_all(
    folder: Path, about: Mapping[str, Any], jobs: Sequence[DerivedFile], progress: Callable[[], None] | None = None
) -> None:
    """Make the files that are not there yet. Killed at any moment, the same call goes on.

    Args:
        folder: for files that are made with ``about``; it is made
        about: what decides all of its files
        jobs: of them
        progress: called when one more file is there

    Raises:
        AudioError: of the first file that cannot be made
        OSError: naming what cannot be written
    """
    write_atomically(folder / ABOUT, json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    parts: dict[str, list[DerivedFile]] = {}
    for job in jobs:
        parts.setdefault(job.name[:2], []).append(job)
    held_by_others = []
    for part, there in sorted(parts.items()):
        try:
            with _only_here(folder / part, wait=False):
                _make(folder, there, progress)
        except HeldError:
            held_by_others.append(part)
    for part in held_by_others:  # their holders may have died
        with _only_here(folder / part, wait=True):
            _make(folder, parts[part], progress)


def write(path: Path, samples: np.ndarray, record: Any) -> None:
    """Write a file with its record, atomically.

    Raises:
        OSError: naming the file
    """
    import soundfile

    content = io.BytesIO()  # libsndfile does not say why a file cannot be written
    with soundfile.SoundFile(content, "w", SAMPLE_RATE_HZ, 1, format="FLAC", subtype=SUBTYPE) as file:
        file.comment = json.dumps(record, ensure_ascii=True, sort_keys=True)
        file.write(samples)
    with replacing(path) as temporary:
        temporary.write_bytes(content.getvalue())


def record_of(path: Path) -> Any:
    """What was recorded when the file was made.

    Raises:
        AudioError: if it is no such file
    """
    import soundfile

    try:
        check_file(path)
        with soundfile.SoundFile(str(path)) as file:
            return parse_json(file.comment)
    except (soundfile.LibsndfileError, RuntimeError, OSError, ValueError) as error:
        raise AudioError(
            f"{path}: no file of ours ({error}). Take it away: it is made again", kind="corrupt"
        ) from error


@contextmanager
def _only_here(folder: Path, wait: bool) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / LOCK, wait=wait) as held:
        if held:
            clean_up(folder)
        yield


def _make(folder: Path, jobs: Sequence[DerivedFile], progress: Callable[[], None] | None) -> None:
    for job in jobs:
        path = path_of(folder, job.name)
        if not path.is_file():
            samples, record = job.make()
            write(path, storable(samples), record)
        if progress is not None:
            progress()
