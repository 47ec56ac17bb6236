"""A training's checkpoints: written atomically, so that a kill or a full disk leaves the one before whole."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from s3prl_emotion.errors import RunError
from s3prl_emotion.features.extraction import human
from s3prl_emotion.files import UNREADABLE, alike, replacing


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values to a new file, then put it in the place of ``path``.

    Raises:
        RunError: if the disk is full or cannot be written; the old file is then untouched
    """
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save(alike(content), file)
    except (OSError, RuntimeError) as error:
        free = shutil.disk_usage(path.parent).free
        kept = "the one before is whole" if path.is_file() else "there is none before it"
        raise RunError(
            f"{path}: the checkpoint cannot be written ({str(error).splitlines()[0]}; "
            f"{human(free)} free there); {kept}. Make room, then repeat the command: it goes on from there"
        ) from error


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU, without executing anything that it holds.

    Raises:
        RunError: if it cannot be read
    """
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except UNREADABLE as error:
        raise RunError(
            f"{path}: not a readable checkpoint ({type(error).__name__}: {str(error).split('. ')[0]}). Remove it to "
            "train that stage again"
        ) from error
