"""Export of a pretrained model as an upstream: transformers folder, record, pretraining data, model card."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import CorpusError
from s3prl_emotion.experiment.preparation import LABELLED_FILE, PRETRAINING_FILE
from s3prl_emotion.files import write_atomically
from s3prl_emotion.pretraining.hubert import new_folder
from s3prl_emotion.runs.record import read_json
from s3prl_emotion.upstreams.per_fold import INDEX

SCHEMA = 1


def export(
    model: Path, folder: Path, record: Mapping[str, Any], heard: Manifest, labelled: Manifest | None, card: str
) -> bool:
    """Write an upstream's folder, complete or not at all; one that is there, the same, is left alone.

    Args:
        model: a folder in transformers format
        folder: to make
        record: ``recipe``, ``stage`` and everything else that ``pretraining.json`` says
        heard: what any of its stages heard
        labelled: what any of its stages heard with emotion labels
        card: the model card's text

    Returns:
        whether it was written
    """
    content = json.loads(json.dumps({"schema": SCHEMA, **record}))
    manifests = {PRETRAINING_FILE: heard, **({} if labelled is None else {LABELLED_FILE: labelled})}
    if (folder / INDEX).is_file() and read_json(folder / INDEX, "an upstream") == content:
        alike = all(_same(file, folder / file.name) for file in model.iterdir())
        if alike and all(_holds(folder / name, manifest) for name, manifest in manifests.items()):
            return False
    with new_folder(folder) as temporary:
        for file in sorted(model.iterdir()):
            _link(file, temporary / file.name)
        for name, manifest in manifests.items():
            manifest.write(temporary / name)
        write_atomically(temporary / INDEX, json.dumps(content, indent=1) + "\n")
        write_atomically(temporary / "README.md", card)
    return True


def write_index(folder: Path, record: Mapping[str, Any]) -> None:
    """Make ``folder`` one that holds a model per fold; the record is the same whichever folds are there."""
    content = json.loads(json.dumps({"schema": SCHEMA, **record, "per_fold": True}))
    if not (folder / INDEX).is_file() or read_json(folder / INDEX, "an upstream") != content:
        write_atomically(folder / INDEX, json.dumps(content, indent=1) + "\n")


def _same(source: Path, target: Path) -> bool:
    """Whether two files are one, or hold the same."""
    return target.is_file() and (os.path.samefile(source, target) or filecmp.cmp(source, target, shallow=False))


def _holds(path: Path, manifest: Manifest) -> bool:
    try:
        return Manifest.read(path) == manifest
    except CorpusError:
        return False


def _link(source: Path, target: Path) -> None:
    """The same file under another name where the disk can do that, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
