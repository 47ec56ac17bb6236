"""Where the upstream of an earlier run is now, checked to be the same."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from s3prl_emotion.bridge.dropped import dropped
from s3prl_emotion.errors import RunError
from s3prl_emotion.experiment.identity import checkpoint_sha256
from s3prl_emotion.files import write_atomically
from s3prl_emotion.runs.folder import FoldFolder, RunFolder
from s3prl_emotion.runs.record import read_json
from s3prl_emotion.upstream_patches._hub import is_hub_id, snapshot, snapshot_source

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """Where the files of an upstream are: paths or Hub ids; None of one that has none, or is where it was."""

    checkpoint: str | Path | None = None  # -k
    model_config: str | Path | None = None  # -g


def place_of(
    flag: str,
    given: str | Path | None,
    recorded: str | None,
    sha256: str | None,
    revision: str | None,
    name: str,
) -> str | None:
    """Where a file or folder of an upstream is now.

    Without ``given`` that is where it was, the same commit on the Hub, or what lies in a drop-in folder under the
    upstream's name.

    Args:
        flag: ``-k`` or ``-g``
        given: what the user gave with it
        recorded: where it was when the head was trained
        sha256: of what was there; None if that was not recorded: then it is not checked
        revision: the commit, if ``recorded`` is a Hub id
        name: the upstream's, for messages

    Raises:
        RunError: if there is nothing, or something else
        UpstreamError: if it cannot be had from the Hub
    """
    if recorded is None:
        if given is not None:
            raise RunError(f"{flag} {given}: the head was trained on {name} without {flag}; leave it out")
        return None
    if given is None and revision is not None:
        return str(snapshot(recorded, revision=revision))  # the commit stands for the content
    place = _local(recorded if given is None else str(given))
    if given is None and not Path(place).exists() and len(lying := dropped().get(name, [])) == 1:
        place = str(lying[0].absolute())
    if sha256 is None:
        if place != recorded:
            logger.warning("%s %s replaces %s, of which no hash was recorded: not checked", flag, place, recorded)
        return place
    found = checkpoint_sha256(place)
    if found is None:
        raise RunError(
            f"the head was trained on {name} with {flag} {recorded}, and there is nothing at {place}: give "
            f"{flag} PATH, where that file or folder is now (SHA-256 {sha256})"
        )
    if found != sha256:
        raise RunError(
            f"{flag} {place}: its SHA-256 is {found}, the head was trained on {sha256}: another checkpoint, or one "
            f"with files added. Name the original with {flag} PATH"
        )
    return place


def of_run(run: RunFolder, name: str, recorded: Places, given: Places) -> tuple[str | None, str | None]:
    """``-k`` and ``-g`` for the upstream of a run.

    Args:
        run: its ``run.json`` holds the hashes; without one nothing is checked
        name: the upstream's
        recorded: where a checkpoint of the run says that the files were
        given: where the user says that they are

    Raises:
        RunError: see :func:`place_of`
    """
    about = run.about() if run.is_begun else {}
    places = []
    for flag, key in (("-k", "checkpoint"), ("-g", "model_config")):
        before, now = getattr(recorded, key), getattr(given, key)
        sha256 = about.get(f"{key}_sha256")
        source = None if before is None else snapshot_source(before)
        if now is None and (sha256 is None or source is not None):
            places.append(before)  # nothing to compare, or a commit, which stands for the content
        else:
            place = place_of(flag, now, before, sha256, None, name)
            # A resumed training writes it down: let it not depend on the working directory.
            places.append(str(Path(place).absolute()) if place is not None and Path(place).exists() else place)
    return places[0], places[1]


def keep_upstream(fold: FoldFolder, checkpoint: str | None, given: str | None) -> None:
    """Write down which model a fold is trained on, where an upstream has one per fold.

    Args:
        fold: the fold's folder
        checkpoint: the fold's model
        given: ``-k``, which is the same where there is one model for all folds

    Raises:
        RunError: if the fold was begun with another one
    """
    if checkpoint == given:
        return
    if fold.upstream.is_file():
        check_kept_upstream(fold, checkpoint)
        return
    content = {"checkpoint": checkpoint, "sha256": checkpoint_sha256(checkpoint)}
    write_atomically(fold.upstream, json.dumps(content, indent=1) + "\n")


def check_kept_upstream(fold: FoldFolder, checkpoint: str | None) -> None:
    """Refuse another model than the one that :func:`keep_upstream` wrote down.

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


def _local(place: str) -> str:
    if is_hub_id(place):
        return str(snapshot(place))
    path = Path(place).expanduser()
    return str(path) if path.exists() else place
