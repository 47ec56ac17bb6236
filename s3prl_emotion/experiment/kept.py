"""Which model a fold is trained on, where an upstream has one per fold: written down, and compared ever after."""

from __future__ import annotations

import json

from s3prl_emotion.errors import RunError
from s3prl_emotion.files import checkpoint_sha256, write_atomically
from s3prl_emotion.runs.folder import FoldFolder
from s3prl_emotion.runs.record import read_json


def pin_upstream(fold: FoldFolder, checkpoint: str | None, given: str | None) -> None:
    """Write down which model a fold is trained on.

    Args:
        fold: the fold's folder
        checkpoint: the fold's model
        given: ``-k``, which is the same where there is one model for all folds: then nothing is written

    Raises:
        RunError: if the fold was begun with another one
    """
    if checkpoint == given:
        return
    if fold.upstream.is_file():
        check_pinned_upstream(fold, checkpoint)
        return
    content = {"checkpoint": checkpoint, "sha256": checkpoint_sha256(checkpoint)}
    write_atomically(fold.upstream, json.dumps(content, indent=1) + "\n")


def check_pinned_upstream(fold: FoldFolder, checkpoint: str | None) -> None:
    """Refuse another model than the one that :func:`pin_upstream` wrote down.

    Raises:
        RunError: naming both hashes
    """
    kept = read_json(fold.upstream, "a fold of an upstream with one model per fold")["sha256"]
    found = checkpoint_sha256(checkpoint)
    if found != kept:
        raise RunError(
            f"-k {checkpoint}: its SHA-256 is {found}, {fold.path.name} was trained on {kept}: another checkpoint, or "
            "one with files added. Put the original back, or name another run folder with -n or -p"
        )
