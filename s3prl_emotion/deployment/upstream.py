"""The upstream that a head was trained on: found again, checked to be the same, and built."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from s3prl_emotion.bridge import arguments
from s3prl_emotion.bridge.dropped import dropped, restore
from s3prl_emotion.bridge.selection import build_upstream, check_upstream
from s3prl_emotion.deployment.parts import UpstreamUse
from s3prl_emotion.errors import RunError, UpstreamError
from s3prl_emotion.experiment.folder import checkpoint_sha256
from s3prl_emotion.upstream_patches._hub import is_hub_id, snapshot

logger = logging.getLogger(__name__)


def find(
    use: UpstreamUse, name: str | None = None, checkpoint: str | Path | None = None, config: str | Path | None = None
) -> UpstreamUse:
    """The same use of the same upstream, with its files where they are now.

    Without ``checkpoint`` they are where they were, the same commit on the Hub, or what lies in a drop-in folder under
    the upstream's name.

    Args:
        use: what the head was trained on
        name: ``-u``, if given
        checkpoint: ``-k``, if given: a path or Hub id
        config: ``-g``, if given

    Raises:
        RunError: if another upstream is named, a file is missing, or its SHA-256 is not the recorded one
        UpstreamError: if it cannot be had from the Hub
    """
    if name is not None and use.name not in (name, name.replace("/", "__"), Path(name).name, Path(name).stem):
        raise RunError(f"-u {name}: the head was trained on {use.name} and fits no other upstream; leave -u out")
    found = dataclasses.replace(
        use,
        checkpoint=_place("-k", checkpoint, use.checkpoint, use.checkpoint_sha256, use.checkpoint_revision, use.name),
        model_config=_place(
            "-g", config, use.model_config, use.model_config_sha256, use.model_config_revision, use.name
        ),
    )
    return dataclasses.replace(found, checkpoint_revision=None, model_config_revision=None)


def _place(
    flag: str, given: str | Path | None, recorded: str | None, sha256: str | None, revision: str | None, name: str
) -> str | None:
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
            f"the head was trained on {name} with {flag} {recorded}, and there is nothing at {place}: name the place "
            f"of that file or folder (SHA-256 {sha256}) with {flag} PATH"
        )
    if found != sha256:
        raise RunError(
            f"{flag} {place}: its SHA-256 is {found}, the head was trained on {sha256}: another checkpoint, or one "
            f"with files added. Name the original with {flag} PATH"
        )
    return place


def _local(place: str) -> str:
    if is_hub_id(place):
        return str(snapshot(place))
    path = Path(place).expanduser()
    return str(path) if path.exists() else place


def build(use: UpstreamUse, device: str, weights: Mapping[str, Tensor] | None = None) -> Any:
    """The upstream, frozen, in evaluation mode, with the weights of fine-tuning if there are any.

    Raises:
        UpstreamError: if it cannot be built, or the weights are not its own
    """
    name, checkpoint, config = restore(use.name, use.checkpoint, use.model_config)
    check_upstream(name, checkpoint, config)
    args = arguments.arguments(upstream=name, upstream_ckpt=checkpoint, upstream_model_config=config, device=device)
    upstream = build_upstream(args)
    if weights is not None:
        try:
            upstream.load_state_dict(weights)
        except RuntimeError as error:
            raise UpstreamError(
                f"-u {use.name}: the fine-tuned weights do not fit it: {' '.join(str(error).split())[:300]}"
            ) from error
    for parameter in upstream.parameters():
        parameter.requires_grad_(False)
    return upstream
