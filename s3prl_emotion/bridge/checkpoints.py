"""Reading the Runner's checkpoints, without executing what a pickle holds, and past those that a kill has torn."""

from __future__ import annotations

import logging
import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from s3prl_emotion.bridge.registration import register
from s3prl_emotion.errors import RunError
from s3prl_emotion.upstream_patches._files import imported

logger = logging.getLogger(__name__)

UNREADABLE = (
    *(AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError),
    *(pickle.UnpicklingError, struct.error),
)
"""What ``torch.load`` raises for files that are torn, are none of its own, or hold what is not allowed."""


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read one of the Runner's checkpoints on the CPU, without executing anything that a pickle holds.

    Raises:
        RunError: if it is torn, is no such checkpoint, or holds more than tensors and plain values
    """
    register()
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        if isinstance(error, pickle.UnpicklingError) and (name := imported(error)):
            raise RunError(
                f"{path}: refused, because it holds more than tensors and plain values, as a checkpoint of training "
                f"does not: it imports {name}. Nothing was executed. Train again, or take it from where it is whole"
            ) from error
        raise RunError(
            f"{path}: not a readable checkpoint ({type(error).__name__}: {str(error).split('. ')[0]})"
        ) from error
    missing = {"Step", "Args", "Config", "Downstream"} - set(content if isinstance(content, Mapping) else ())
    if missing:
        raise RunError(f"{path}: not a checkpoint of S3PRL's Runner: {', '.join(sorted(missing))} missing")
    return dict(content)


def newest_checkpoint(folder: Path) -> Path | None:
    """The ``states-<step>.ckpt`` with the highest step that can be read; a torn one (a killed save) is passed over."""
    steps = {path: int(m[1]) for path in folder.iterdir() if (m := re.fullmatch(r"states-(\d+)\.ckpt", path.name))}
    for path in sorted(steps, key=lambda path: steps[path], reverse=True):
        try:
            load_checkpoint(path)
            return path
        except RunError as error:
            logger.warning("%s; an earlier one is used", error)
    return None
