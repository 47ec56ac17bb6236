"""What a training leaves in its folder: whole checkpoints, and logs without lines that are written twice."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from s3prl_emotion.files import alike, replacing, write_atomically

_BEGUN_FROM = ("init_ckpt", "past_exp")
"""S3PRL's arguments that name the checkpoint that a training goes on from."""
_STEP = re.compile(r" at step (\d+):")


@contextlib.contextmanager
def atomic_checkpoints() -> Iterator[None]:
    """``torch.save`` to a path so that a reader sees the old checkpoint or the new one, never a part.

    What it holds does not tell whether the training was interrupted: the same training gives the same bytes.

    A disk that is full is an OSError with the file's name then, where torch's own writer has ``basic_ios::clear``.
    """
    original = torch.save

    def save(content: Any, place: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(place, (str, Path)):
            original(content, place, *args, **kwargs)
            return
        try:
            with replacing(place) as temporary, temporary.open("wb") as file:
                original(_content(content), file, *args, **kwargs)
        except RuntimeError as error:  # torch's own, while it closes an archive that could not be written
            fault = error.__context__
            if isinstance(fault, OSError) and fault.errno is not None:
                raise OSError(fault.errno, fault.strerror, str(place)) from error
            raise

    torch.save = save  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.save = original


def _content(content: Any) -> Any:
    """What a checkpoint holds, less where its training was begun from."""
    if isinstance(content, dict) and isinstance(content.get("Args"), argparse.Namespace):
        args = {**vars(content["Args"]), **dict.fromkeys(_BEGUN_FROM)}
        content = {**content, "Args": argparse.Namespace(**{key: alike(args[key]) for key in sorted(args)})}
    return alike(content)


def truncate_logs(folder: Path, step: int) -> None:
    """Take the lines of later steps out of ``log.log`` and ``layer_weights.csv``: the training writes them again."""
    _keep(folder / "log.log", lambda line: int(found[1]) if (found := _STEP.search(line)) else 0, step)
    _keep(folder / "layer_weights.csv", lambda line: int(first) if (first := line.split(",")[0]).isdigit() else 0, step)


def _keep(path: Path, step_of: Callable[[str], int], last: int) -> None:
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and step_of(line) <= last]  # the last one may be torn
    if len(kept) < len(lines):
        write_atomically(path, "".join(kept))
