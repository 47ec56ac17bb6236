"""Verify that the upstream of a training is the same now."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

from s3prl_emotion.config import shown
from s3prl_emotion.errors import RunError, UpstreamError
from s3prl_emotion.s3prl_runner.upstream_registry import registered_upstreams, upstream_names
from s3prl_emotion.upstreams.hub import is_hub_id, snapshot
from s3prl_emotion.upstreams.per_fold import upstream_sha256
from s3prl_emotion.upstreams.reference import TAKES_CHECKPOINT, Places, UpstreamOrigin, UpstreamRef, dropin_upstreams
from s3prl_emotion.upstreams.resolution import adapter_for
from s3prl_emotion.upstreams.trust import is_named_here, is_trusting

logger = logging.getLogger(__name__)

WHERE_THEY_WERE = Places()
"""The upstream's files are where they were in training."""


def verify(recorded: UpstreamRef, places: Places = WHERE_THEY_WERE) -> UpstreamRef:
    """The upstream that a head was trained on, with its files where they are now.

    Without ``places`` that is where they were, the same commit on the Hub, or what lies in a drop-in folder under the
    upstream's name.

    Args:
        recorded: what the head was trained on; a source without a hash is not checked
        places: where the user says that its files are

    Raises:
        RunError: if a file is missing, or its SHA-256 is not the recorded one
        UpstreamError: if it cannot be had from the Hub, nothing here reads it, or a file is named by the record alone
    """
    if not is_trusting():
        _check_named(recorded, places)
    ref = dataclasses.replace(
        recorded,
        checkpoint=verified("-k", recorded.checkpoint, places.checkpoint, recorded.name),
        model_config=verified("-g", recorded.model_config, places.model_config, recorded.name),
        trusted=is_trusting(),
    )
    return dataclasses.replace(ref, adapter=_adapter(ref))


def check_same_name(recorded: UpstreamRef, name: str | None) -> None:
    """Check that ``-u``, where it is given beside a trained head, means the upstream of its training.

    Raises:
        RunError: if it means another one
    """
    if name is not None and recorded.name not in (name, name.replace("/", "__"), Path(name).name, Path(name).stem):
        raise RunError(f"-u {name}: the head was trained on {recorded.name} and fits no other upstream; leave -u out")


def verified(
    flag: str, source: UpstreamOrigin | None, given: str | Path | None, name: str, further: tuple[str, ...] = ()
) -> UpstreamOrigin | None:
    """A file or folder that a head was trained on, where it is now, checked to be the same.

    Args:
        flag: the option that says where it is
        source: as it was recorded; None: there was none
        given: with that option
        name: of what the head was trained on
        further: patterns of files that a Hub id has besides settings and weights

    Raises:
        RunError: if it is missing, another one, or given where there was none
        UpstreamError: if it cannot be had from the Hub
    """
    if source is None:
        if given is not None:
            raise RunError(f"{flag} {given}: the head was trained on {name} without {flag}; leave it out")
        return None
    if given is None and source.revision is not None:  # the commit stands for the content
        if source.found is not None and source.is_here:
            return source
        wanted: dict[str, Any] = {"further": further} if further else {}
        return dataclasses.replace(source, found=str(snapshot(source.given, revision=source.revision, **wanted)))
    if given is None and source.sha256 is None and is_hub_id(source.given):
        return source  # an entry of S3PRL's fetches it by itself
    place = _local(source.given if given is None else str(given))
    if given is None and not Path(place).exists() and len(lying := dropin_upstreams().get(name, [])) == 1:
        place = str(lying[0])
    if source.sha256 is None:
        if Path(place) != Path(source.place):
            logger.warning("%s %s replaces %s, of which no hash was recorded: not checked", flag, place, source.given)
    elif (found := upstream_sha256(place)) is None:
        raise RunError(
            f"the head was trained on {name} with {flag} {source.given}, and there is nothing at {place}: give "
            f"{flag} PATH, where that file or folder is now (SHA-256 {source.sha256})"
        )
    elif found != source.sha256:
        raise RunError(
            f"{flag} {place}: its SHA-256 is {found}, the head was trained on {source.sha256}: another checkpoint, or "
            f"one with files added. Name the original with {flag} PATH"
        )
    # A resumed training writes it down: let it not depend on the working directory.
    place = str(Path(place).absolute()) if Path(place).exists() else place
    return dataclasses.replace(source, found=place, revision=None)


def _check_named(recorded: UpstreamRef, places: Places) -> None:
    """Refuse what a record alone would make S3PRL download or read.

    A record may name an entry of S3PRL's that has its own checkpoint, one of our adapters, and a file of known content.
    """
    is_theirs = upstream_names().get(recorded.name) is False and recorded.name.endswith(TAKES_CHECKPOINT)
    if not is_theirs or is_named_here(*recorded.options):
        return
    for flag, source, given in (
        ("-k", recorded.checkpoint, places.checkpoint),
        ("-g", recorded.model_config, places.model_config),
    ):
        if source is not None and given is None and source.sha256 is None:
            raise UpstreamError(
                f"this head names -u {recorded.name} with {flag} {shown(source.given)}, and nothing says what should "
                f"be in it: it is not read. If you know where it comes from, name it with {flag}, or add "
                "--trust-checkpoint"
            )


def _local(place: str) -> str:
    if is_hub_id(place):
        return str(snapshot(place))
    path = Path(place).expanduser()
    return str(path) if path.exists() else place


def _adapter(ref: UpstreamRef) -> str | None:
    """Which of ours reads it; None if the name is one that the hub has by itself."""
    name, checkpoint, model_config = ref.options
    if name in upstream_names():
        return None
    if checkpoint is None:
        raise UpstreamError(
            f"{name}: this head was trained on an upstream whose adapter is not installed here: neither S3PRL nor "
            f"upstream_patches/ has one of that name. Install the adapter (the file that defines {name}) first"
        )
    gone = [place for place in (checkpoint, model_config) if place is not None and not Path(place).exists()]
    if gone:
        raise UpstreamError(
            f"{name}: the upstream of this run is gone: {gone[0]}. Put it back there, or say with -k PATH where it "
            "is now"
        )
    try:
        adapter = adapter_for(checkpoint, model_config)
    except UpstreamError as error:
        raise UpstreamError(
            f"{error}. If {name} is an adapter of its own (a function in upstream_patches/), it is not installed here"
        ) from error
    if name not in registered_upstreams():
        logger.info("-u %s: %s, read by %s", name, checkpoint, adapter)
    return adapter
