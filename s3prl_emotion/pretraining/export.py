"""A pretrained model as an upstream: a transformers folder with its record, what it heard, and a model card."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.experiment.preparation import LABELLED_FILE, PRETRAINING_FILE
from s3prl_emotion.files import write_atomically
from s3prl_emotion.pretraining.hubert import new_folder
from s3prl_emotion.runs.record import read_json
from s3prl_emotion.upstreams.per_fold import INDEX

SCHEMA = 1


def export(
    model: Path, folder: Path, record: Mapping[str, Any], heard: Manifest, labelled: Manifest | None, card: str
) -> bool:
    """Write an upstream's folder, complete or not at all; one that is there with the same record is left alone.

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
    if (folder / INDEX).is_file() and read_json(folder / INDEX, "an upstream") == content:
        return False
    with new_folder(folder) as temporary:
        for file in sorted(model.iterdir()):
            _link(file, temporary / file.name)
        heard.write(temporary / PRETRAINING_FILE)
        if labelled is not None:
            labelled.write(temporary / LABELLED_FILE)
        write_atomically(temporary / INDEX, json.dumps(content, indent=1) + "\n")
        write_atomically(temporary / "README.md", card)
    return True


def write_index(folder: Path, record: Mapping[str, Any]) -> None:
    """Make ``folder`` one that holds a model per fold; the record is the same whichever folds are there."""
    content = json.loads(json.dumps({"schema": SCHEMA, **record, "per_fold": True}))
    if not (folder / INDEX).is_file() or read_json(folder / INDEX, "an upstream") != content:
        write_atomically(folder / INDEX, json.dumps(content, indent=1) + "\n")


def _link(source: Path, target: Path) -> None:
    """The same file under another name where the disk can do that, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
