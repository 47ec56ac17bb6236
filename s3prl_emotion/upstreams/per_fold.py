"""Upstream folders that hold one model per fold, and which of them a fold is tested with.

Such a folder has a ``pretraining.json`` with ``"per_fold": true`` and the models in ``fold1``, ``fold2``, ...:
pretraining that must not hear what a fold tests on is another one for every fold.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.files import checkpoint_sha256, parse_json
from s3prl_emotion.upstreams.reference import UpstreamRef

INDEX = "pretraining.json"


def is_per_fold(checkpoint: str | None) -> bool:
    """Whether ``-k`` names a folder with one model per fold.

    Raises:
        UpstreamError: if its ``pretraining.json`` cannot be read
    """
    index = None if checkpoint is None else Path(checkpoint) / INDEX
    if index is None or not index.is_file():
        return False
    try:
        content = parse_json(index.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UpstreamError(f"{index}: not valid JSON: {error}") from error
    return isinstance(content, dict) and content.get("per_fold") is True


def of_fold(checkpoint: str | None, fold: int | None) -> str | None:
    """The model that fold ``fold`` is trained and tested with; any other ``-k`` as it is.

    Raises:
        UpstreamError: if the folder holds none for this fold, or no fold is known
    """
    if checkpoint is None or not is_per_fold(checkpoint):
        return checkpoint
    present = folds_of(checkpoint)
    listed = ", ".join(map(str, present)) or "none"
    if fold is None:
        raise UpstreamError(
            f"{checkpoint}: holds one model per fold (folds {listed}), picked by the fold that is tested; name one: "
            f"-k {Path(checkpoint) / 'fold1'}"
        )
    if fold not in present:
        raise UpstreamError(
            f"{checkpoint}: holds no model for fold {fold}, which is missing (folds there: {listed}). Pretrain that "
            "fold too, or test the others with --fold"
        )
    return str(Path(checkpoint) / f"fold{fold}")


def ref_of_fold(ref: UpstreamRef, fold: int | None) -> UpstreamRef:
    """The same with the model that fold ``fold`` is trained and tested with; see :func:`of_fold`."""
    if ref.checkpoint is None:
        return ref
    place = of_fold(ref.checkpoint.place, fold)
    return dataclasses.replace(ref, checkpoint=dataclasses.replace(ref.checkpoint, found=place))


def upstream_sha256(path: str | None) -> str | None:
    """What an upstream's file or folder is known by: the SHA-256 of its content; None for no path.

    A folder with one model per fold is known by its index, which says what all of them were made from and how; each
    fold's own hash is kept in the fold's folder of a run.
    """
    return checkpoint_sha256(str(Path(path) / INDEX) if path is not None and is_per_fold(path) else path)


def folds_of(checkpoint: str) -> tuple[int, ...]:
    """The folds that a folder holds models for."""
    found = (re.fullmatch(r"fold([1-9][0-9]*)", path.name) for path in Path(checkpoint).iterdir() if path.is_dir())
    return tuple(sorted(int(match[1]) for match in found if match))
