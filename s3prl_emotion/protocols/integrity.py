"""Hashes of a run's manifest and folds, and their verification."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.errors import RunError
from s3prl_emotion.protocols.split import Folds

logger = logging.getLogger(__name__)

MADE = "made"
"""The key of ``run.json`` that holds the hashes."""


ATTRIBUTES = "attributes_sha256"


def seal(manifest: Manifest, folds: Folds) -> dict[str, str]:
    """The hashes of what a run is computed from, and that of attributes, by which it may be evaluated, if there are."""
    attributes = attributes_sha256(manifest)
    return {
        "manifest_sha256": manifest_sha256(manifest),
        "folds_sha256": folds.sha256(),
        **({} if attributes is None else {ATTRIBUTES: attributes}),
    }


def attributes_sha256(manifest: Manifest) -> str | None:
    """The hash of all attributes; None where there are none.

    They stand apart, since they decide no prediction: runs with and without them are of the same manifest.
    """
    if not manifest.attributes:
        return None
    rows = [[item.id, sorted((item.attributes or {}).items())] for item in manifest.utterances]
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def check_attributes(made: Any, manifest: Manifest, place: Path | str, where: str) -> None:
    """Refuse attributes that are not those of a record; earlier versions wrote neither them nor their hash.

    Args:
        made: what :func:`seal` gave when the record was written
        manifest: the corpus as it is now
        place: its file, for messages
        where: what holds the record, for messages

    Raises:
        RunError: saying what to do
    """
    if isinstance(made, Mapping) and made.get(ATTRIBUTES) != attributes_sha256(manifest):
        raise RunError(
            f"{place}: the attributes are not those that {where} was made with: they were edited, or come from another "
            "run. Restore the file, or start anew in another folder"
        )


def manifest_sha256(manifest: Manifest) -> str:
    """What :meth:`Manifest.sha256` covers (corpus, classes in order, labels, speakers, segments), and the audio.

    Of the audio, relative paths and fingerprints; the folder of the corpus does not enter, so it may be moved.
    """
    audio = [[item.path, item.content, item.trimmed, item.source] for item in manifest.utterances]
    text = json.dumps([manifest.sha256(), audio], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def check_seal(made: Any, now: Mapping[str, str], names: Mapping[str, str], place: Path | str, where: str) -> None:
    """Refuse a manifest or folds that are not those of a record; say so where the record has no hashes.

    Args:
        made: what :func:`seal` gave when the record was written; None in records of earlier versions
        now: what it gives now
        names: the files behind the hashes
        place: the folder that holds both, for messages
        where: what holds the record, for messages

    Raises:
        RunError: naming what differs, and what to do
    """
    if not isinstance(made, Mapping):
        logger.warning("%s has no hash of its manifest (an earlier version wrote it): not checked", where)
        return
    for key, name in names.items():
        if made.get(key) not in (None, now[key]):
            raise RunError(
                f"{place}: {name} is not the one that {where} was made with: it was edited, made again, or comes from "
                f"another run (SHA-256 {now[key][:12]}..., expected {str(made[key])[:12]}...). Restore it, or start "
                "anew in another folder"
            )
