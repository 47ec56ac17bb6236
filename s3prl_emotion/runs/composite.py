"""Member runs of a composite result: learning-rate selection, late fusion."""

from __future__ import annotations

from pathlib import Path

from s3prl_emotion.errors import RunError
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.record import read_json
from s3prl_emotion.runs.results import read_results

FUSION = "fusion"
"""Key of ``results.json`` that lists the members of a late fusion."""


def rate_members(folder: Path) -> dict[int, Path]:
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


def fusion_members(folder: Path) -> list[Path]:
    """The run folders that a late fusion was made from; none where the folder is no fusion."""
    run = RunFolder(folder)
    if run.is_begun or not run.results.is_file():
        return []
    try:
        return [Path(str(member["folder"])) for member in read_results(run.results).further.get(FUSION, ())]
    except (AttributeError, KeyError, TypeError) as error:
        raise RunError(
            f"{run.results}: expected {FUSION!r} to list runs, each with its 'folder': fuse again"
        ) from error


def refuse_fusion(folder: Path) -> None:
    """Refuse a late fusion where a model is needed.

    Raises:
        RunError: naming the runs that have one
    """
    if members := fusion_members(folder):
        named = " and ".join(map(str, members))
        raise RunError(f"{folder}: a late fusion has no model of its own; those are in {named}")
