"""Who works in a run folder, and for what: comparing, preparing and claiming are one step between processes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import RunError
from s3prl_emotion.experiment.record import FOLD_FILE, RUN_FILE, read_run_file
from s3prl_emotion.files import clean_up, write_atomically
from s3prl_emotion.locks import HeldError, exclusive, is_held, shared
from s3prl_emotion.protocols.seal import MADE, seal
from s3prl_emotion.protocols.split import Folds

T = TypeVar("T")

LOCK = ".lock"
"""Held alone by who prepares, claims or collects in a run folder, and by who computes in a fold's folder."""
USERS = ".users"
"""Held together by all who compute in a run folder."""


def check(folder: Path, identity: dict[str, Any]) -> bool:
    """Refuse to go on in a run folder that was made for something else. Nothing is written.

    Returns:
        whether the folder was made for this; a record for which nothing was computed, and by which nobody computes,
        does not count

    Raises:
        RunError: naming what differs
    """
    computed = any(folder.glob("fold*/*.ckpt")) or any(folder.glob(f"fold*/{FOLD_FILE}"))
    if not (folder / RUN_FILE).is_file():
        if computed:
            raise RunError(
                f"{folder}: holds checkpoints, but {RUN_FILE}, which says what they are of, is missing. Restore it, "
                "take the folders fold<N> away, or name another folder with -n or -p"
            )
        return False
    working = is_held(folder / USERS)
    if not computed and not working:
        return False
    earlier = read_run_file(folder)
    if _same_file(earlier, identity):
        earlier = {**earlier, "checkpoint": identity["checkpoint"]}
    differing = [line for key in identity for line in differences(key, earlier.get(key), identity[key])]
    if differing:
        raise RunError(
            f"{folder} holds a run with other settings: {'; '.join(differing[:5])}. "
            + ("" if computed else "Another process is computing it at this moment. ")
            + "Name another folder with -n or -p, or remove this one"
        )
    return True


def _same_file(earlier: dict[str, Any], identity: dict[str, Any]) -> bool:
    """Whether it is one checkpoint by its hash: where it lies does not matter."""
    return earlier.get("checkpoint_sha256") is not None and (
        earlier["checkpoint_sha256"] == identity["checkpoint_sha256"]
    )


@contextlib.contextmanager
def claimed(
    folder: Path, identity: dict[str, Any], prepare: Callable[[bool], tuple[Manifest, Folds, T]]
) -> Iterator[tuple[Manifest, Folds, T]]:
    """Work in a run folder for what ``identity`` says; nobody else can claim it for something else meanwhile.

    Args:
        folder: the run folder
        identity: everything that decides the numbers
        prepare: puts manifest and folds there; it is told whether they are there from an earlier start

    Raises:
        RunError: naming what differs, if the folder is for something else
    """
    check(folder, identity)
    made = _make(folder)
    with contextlib.ExitStack() as working:
        with exclusive(folder / LOCK, wait=True) as held:
            try:
                known = check(folder, identity)
                if held:
                    clean_up(folder)
                prepared = prepare(known)
                if not known:
                    content = {**identity, MADE: seal(prepared[0], prepared[1])}
                    write_atomically(folder / RUN_FILE, json.dumps(content, indent=2) + "\n")
                working.enter_context(shared(folder / USERS))
            except BaseException:
                _unmake(folder, made)
                raise
        yield prepared


@contextlib.contextmanager
def only_here(folder: Path, wait: bool = False, skip: bool = False) -> Iterator[bool]:
    """Hold a folder for this process; folds can be trained by several processes at once, a fold by one only.

    Args:
        folder: which; it is made if it is not there
        wait: for another process that holds it
        skip: yield False if another process holds it, in place of an error

    Yields:
        whether the folder is this process'

    Raises:
        RunError: if another process holds it, unless ``wait`` or ``skip``
    """
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as holding:
        try:
            held = holding.enter_context(exclusive(folder / LOCK, wait=wait))
        except HeldError as error:
            if not skip:
                raise RunError(f"{folder}: another process is working on this fold") from error
            yield False
            return
        if held:
            clean_up(folder)
        yield True


@contextlib.contextmanager
def collecting(folder: Path) -> Iterator[None]:
    """Put results together one after the other: who is last has seen every fold that is finished."""
    with exclusive(folder / LOCK, wait=True):
        yield


def differences(key: str, earlier: Any, now: Any) -> list[str]:
    """What differs between two plain values, by dotted key."""
    if isinstance(earlier, dict) and isinstance(now, dict):
        keys = sorted({*earlier, *now})
        return [line for name in keys for line in differences(f"{key}.{name}", earlier.get(name), now.get(name))]
    return [] if earlier == now else [f"{key} was {earlier!r} and is {now!r}"]


def _make(folder: Path) -> list[Path]:
    """Make the folder, and say which folders were made for it, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _unmake(folder: Path, made: list[Path]) -> None:
    """Leave no trace of a start that failed before anything was there."""
    if folder not in made or any(path.name != LOCK for path in folder.iterdir()):
        return
    with contextlib.suppress(OSError):
        (folder / LOCK).unlink(missing_ok=True)
        for path in made:
            path.rmdir()
