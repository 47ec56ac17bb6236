"""Drop-in folders: what lies in those of ``S3PRL_EMOTION_UPSTREAMS`` is an upstream under its own name."""

from __future__ import annotations

import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)

FOLDERS = "S3PRL_EMOTION_UPSTREAMS"
DEFAULT_FOLDER = "upstreams"
FILE_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
"""How files that hold weights are called; what is in them is told by their content."""
CODE_SUFFIX = ".py"


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
