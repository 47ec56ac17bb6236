"""A folder of recordings, of noises or of rooms, from which one is drawn."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

import numpy as np

from s3prl_emotion.audio._files import AudioError
from s3prl_emotion.files import checkpoint_sha256

SUFFIXES = (".aif", ".aiff", ".flac", ".mp3", ".ogg", ".wav")
"""What both libsndfile and audiomentations read."""


class Recordings:
    """The audio files below a folder, sorted by path.

    Args:
        option: the name of the option that gives the folder, for messages
        folder: where they are; a single file will do

    Raises:
        AudioError: if there is none
    """

    def __init__(self, option: str, folder: str) -> None:
        if not isinstance(folder, str):
            raise ValueError(f"{option} must be a folder with audio files, got {folder!r}")
        self.folder = Path(folder).expanduser()
        if self.folder.is_file():
            self.folder, names = self.folder.parent, [self.folder.name]
        elif self.folder.is_dir():
            names = sorted(
                os.path.relpath(os.path.join(place, name), self.folder)
                for place, _, found in os.walk(self.folder)
                for name in found
                if name.lower().endswith(SUFFIXES) and not name.startswith(".")
            )
        else:
            raise AudioError(f"{option}: {folder}: no such folder. Name one with audio files", kind="missing")
        if not names:
            raise AudioError(
                f"{option}: {folder}: no audio file in this folder or below it (endings {', '.join(SUFFIXES)})",
                kind="missing",
            )
        self.names = [Path(name).as_posix() for name in names]

    def material(self) -> dict[str, str]:
        """SHA-256 of their names and contents, read once."""
        return {"folder_sha256": self._sha256}

    @functools.cached_property
    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for name in self.names:
            digest.update(f"{name}\0{checkpoint_sha256(str(self.path(name)))}\n".encode())
        return digest.hexdigest()

    def draw(self, generator: np.random.Generator) -> str:
        """The name of one of them, relative to the folder."""
        return self.names[int(generator.integers(len(self.names)))]

    def path(self, name: str) -> Path:
        """Where it is."""
        return self.folder / name
