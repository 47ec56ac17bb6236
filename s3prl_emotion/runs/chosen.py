"""Which runs a sweep's choice of learning rates was put together from."""

from __future__ import annotations

from pathlib import Path

from s3prl_emotion.errors import RunError
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.record import read_json


def chosen_runs(folder: Path) -> dict[int, Path]:
    """For each fold the run folder whose learning rate was chosen, from what the sweep wrote."""
    path = RunFolder(folder).rates
    table = read_json(path, "a choice of learning rates")
    try:
        runs = {int(fold): folder.parent / str(table["runs"][f"{rate:g}"]) for fold, rate in table["chosen"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path}: expected the objects 'chosen' (fold to rate) and 'runs' (rate to folder), found others "
            f"({type(error).__name__}: {error}): repeat the sweep that wrote it"
        ) from error
    if not runs:
        raise RunError(f"{path}: names no fold: repeat the sweep that wrote it")
    gone = sorted({str(run) for run in runs.values() if not run.is_dir()})
    if gone:
        raise RunError(f"{folder}: its checkpoints are in the runs that it chose from, and {gone[0]} is not there")
    return runs
