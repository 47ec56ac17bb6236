"""References to upstreams: drop-in folders, and the recorded origin of an upstream."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from s3prl_emotion.upstreams.hub import snapshot_source

logger = logging.getLogger(__name__)

FOLDERS = "S3PRL_EMOTION_UPSTREAMS"
DEFAULT_FOLDER = "upstreams"
FILE_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
"""How files that hold weights are called; what is in them is told by their content."""
CODE_SUFFIX = ".py"

TAKES_CHECKPOINT = ("_local", "_url", "_custom", "_gdriveid")
"""Endings of S3PRL's names that read ``-k``."""


def dropin_folders() -> list[Path]:
    """The drop-in folders that exist."""
    given = os.environ.get(FOLDERS)
    paths = [Path(part).expanduser() for part in (given or DEFAULT_FOLDER).split(os.pathsep) if part]
    for path in paths:
        if given and not path.is_dir():
            logger.warning("%s names %s, which is no folder", FOLDERS, path)
    return [path for path in paths if path.is_dir()]


def dropin_upstreams() -> dict[str, list[Path]]:
    """Names to the checkpoints of that name: a folder's name, or a file's without its ending.

    Python files are among them where nothing else has their name, helpers of theirs (``_*.py``) aside.
    """
    found: dict[str, list[Path]] = {}
    written: dict[str, list[Path]] = {}
    for folder in dropin_folders():
        for path in sorted(folder.iterdir()):
            if not path.name.startswith(".") and (path.is_dir() or path.suffix in FILE_SUFFIXES):
                found.setdefault(name_of(path), []).append(path)
            elif path.suffix == CODE_SUFFIX and not path.name.startswith(("_", ".")):
                written.setdefault(name_of(path), []).append(path)
    return {**written, **found}


def name_of(path: Path) -> str:
    """The name of what lies at ``path``."""
    return path.name if path.is_dir() else path.stem


class Places(NamedTuple):
    """Where the user says that the files of an upstream are now: paths or Hub ids; None: where they were."""

    checkpoint: str | Path | None = None  # -k
    model_config: str | Path | None = None  # -g


@dataclass(frozen=True)
class UpstreamOrigin:
    """What an upstream is made from: a file, a folder, a URL or a Hub id."""

    given: str  # as it was typed, or as the record of a training has it
    found: str | None = None  # where it is on this machine; None: not looked for
    sha256: str | None = None  # that was recorded, of the file, or of a folder's files with their names
    revision: str | None = None  # the commit, of a Hub id; it stands for the content

    @property
    def place(self) -> str:
        """What an adapter, or S3PRL, is given."""
        return self.given if self.found is None else self.found

    @property
    def is_here(self) -> bool:
        """Whether it is a file or folder on this machine."""
        return Path(self.place).exists()


@dataclass(frozen=True)
class UpstreamRef:
    """An upstream as it was asked for or recorded, and as it was found."""

    name: str  # on s3prl.hub, in results and stores
    checkpoint: UpstreamOrigin | None = None  # -k
    model_config: UpstreamOrigin | None = None  # -g
    typed: str | None = None  # -u as given; None of a recorded one
    adapter: str | None = None  # which of ours reads it, or a Python file; None of a name that the hub has by itself
    trusted: bool = False  # --trust-checkpoint: files may execute the code that they bring along

    @property
    def options(self) -> tuple[str, str | None, str | None]:
        """What S3PRL is given: a name on its hub, ``-k`` and ``-g``."""
        return self.name, place_of(self.checkpoint), place_of(self.model_config)

    @classmethod
    def recorded(
        cls, name: str, checkpoint: str | None, model_config: str | None, hashes: Mapping[str, Any] | None = None
    ) -> UpstreamRef:
        """What S3PRL was given in a training, from the arguments in its checkpoint.

        Args:
            name: on its hub
            checkpoint: ``-k``
            model_config: ``-g``
            hashes: ``checkpoint_sha256`` and ``model_config_sha256``, as ``run.json`` has them
        """
        about = hashes or {}
        return cls(
            name,
            _recorded(checkpoint, about.get("checkpoint_sha256")),
            _recorded(model_config, about.get("model_config_sha256")),
        )


def place_of(source: UpstreamOrigin | None) -> str | None:
    """Where a source is; None where there is none."""
    return None if source is None else source.place


def _recorded(place: str | None, sha256: str | None) -> UpstreamOrigin | None:
    if place is None:
        return None
    hub = snapshot_source(place)
    return UpstreamOrigin(place, sha256=sha256) if hub is None else UpstreamOrigin(hub[0], place, sha256, hub[1])
