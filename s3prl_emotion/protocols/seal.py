"""What a run consists of, by hash: its manifest and its folds must stay those that it was made with."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.errors import RunError
from s3prl_emotion.files import parse_json
from s3prl_emotion.protocols.split import Folds

logger = logging.getLogger(__name__)

MADE = "made"
"""The key of ``run.json`` that holds the hashes."""


def seal(manifest: Manifest, folds: Folds) -> dict[str, str]:
    """The hashes of what a run is computed from."""
    return {"manifest_sha256": manifest_sha256(manifest), "folds_sha256": folds.sha256()}


def manifest_sha256(manifest: Manifest) -> str:
    """What :meth:`Manifest.sha256` covers (corpus, classes in order, labels, speakers, segments), and the audio.

    Of the audio, relative paths and fingerprints; the folder of the corpus does not enter, so it may be moved.
    """
    audio = [[item.path, item.content, item.trimmed, item.source] for item in manifest.utterances]
    text = json.dumps([manifest.sha256(), audio], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def check_seal(made: Any, manifest: Manifest, folds: Folds, place: Path | str, where: str) -> None:
    """Refuse a manifest or folds that are not those of a record; say so where the record has no hashes.

    Args:
        made: what :func:`seal` gave when the record was written; None in records of earlier versions
        manifest: as it is now
        folds: as they are now
        place: the folder that holds both, for messages
        where: what holds the record, for messages

    Raises:
        RunError: naming what differs, and what to do
    """
    if not isinstance(made, Mapping):
        logger.warning("%s has no hash of its manifest (an earlier version wrote it): not checked", where)
        return
    now = seal(manifest, folds)
    for key, name in (("manifest_sha256", "manifest.jsonl"), ("folds_sha256", "folds.json")):
        if made.get(key) not in (None, now[key]):
            raise RunError(
                f"{place}: {name} is not the one that {where} was made with: it was edited, made again, or comes from "
                f"another run (SHA-256 {now[key][:12]}..., expected {str(made[key])[:12]}...). Restore it, or start "
                "anew in another folder"
            )


def check_run_folder(folder: Path) -> None:
    """Refuse a run folder whose manifest or folds are not those of its ``run.json``; without these files do nothing.

    Raises:
        RunError: see :func:`check_seal`
    """
    record, manifest, folds = (folder / name for name in ("run.json", "manifest.jsonl", "folds.json"))
    if not (record.is_file() and manifest.is_file() and folds.is_file()):
        return
    try:
        about = parse_json(record.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{record}: not valid JSON: {error}") from error
    if not isinstance(about, dict):
        raise RunError(f"{record}: expected a JSON object, found {type(about).__name__}")
    missing = [key for key in ("upstream", "seed", "config") if key not in about]
    if missing:
        raise RunError(f"{record}: key {missing[0]!r} is missing: it was edited, or is no record of a run. Restore it")
    check_seal(about.get(MADE), Manifest.read(manifest), Folds.read(folds), folder, str(record))
