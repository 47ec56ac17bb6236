"""``--pretrained``: the head that a run starts from, and the record of its origin."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from s3prl_emotion.downstream.config import ExpertConfig, StartConfig
from s3prl_emotion.downstream.pretrained import check_model, read_about
from s3prl_emotion.downstream.settings import DownstreamConfig
from s3prl_emotion.errors import ConfigError, RunError
from s3prl_emotion.files import checkpoint_sha256, write_atomically
from s3prl_emotion.runs.folder import FoldFolder
from s3prl_emotion.runs.record import read_json
from s3prl_emotion.s3prl_runner.registration import STOCK_DOWNSTREAMS
from s3prl_emotion.upstreams.per_fold import INDEX, folds_of, is_per_fold, of_fold, upstream_sha256


def add_pretrained_head(settings: DownstreamConfig[Any], downstream: str, folder: Path | None) -> DownstreamConfig[Any]:
    """The settings with the hash of the head that ``--pretrained`` names.

    Raises:
        ConfigError: if a head is needed and none is named, or one is named where none can be used
        RunError: if the folder holds none, or one of another pooling or width
    """
    if downstream in STOCK_DOWNSTREAMS:
        if folder is not None:
            raise ConfigError(
                f"--pretrained {folder}: -d {downstream} is S3PRL's own expert, which starts from random weights only. "
                "Use one of ours, such as emotion_contrastive"
            )
        return settings
    expert: ExpertConfig = settings.expert
    start = expert.modelrc.pretrained
    if folder is None:
        if start is not None:
            raise ConfigError(
                f"-d {downstream} starts from a pretrained head (modelrc.pretrained): name its folder with "
                "--pretrained FOLDER, which `s3prl-emotion pretrain contrastive` makes"
            )
        return settings
    if not folder.is_dir():
        raise RunError(f"--pretrained {folder}: no such folder")
    check_model(read_about(_any_fold(folder)), expert.modelrc, f"-d {downstream}", folder)
    found = upstream_sha256(str(folder))
    if start is not None and start.sha256 not in (None, found):
        raise RunError(f"--pretrained {folder}: its SHA-256 is {found}, modelrc.pretrained.sha256 is {start.sha256}")
    start = dataclasses.replace(start or StartConfig(), sha256=found)
    modelrc = dataclasses.replace(expert.modelrc, pretrained=start)
    return dataclasses.replace(settings, expert=dataclasses.replace(expert, modelrc=modelrc))


def head_of(folder: Path, fold: int) -> Path:
    """The head that a fold starts from: its own, where there is one for each.

    Raises:
        UpstreamError: if there is none for this fold
    """
    return Path(str(of_fold(str(folder.absolute()), fold)))


def record_of(folder: Path) -> dict[str, Any]:
    """What a run says of the head that it started from: hash, recipe, and what all of its folds share."""
    index = folder / INDEX
    content = read_json(index, "a pretrained head") if index.is_file() else {}
    return {"sha256": upstream_sha256(str(folder)), **content}


def pin_head(fold: FoldFolder, folder: Path, number: int) -> None:
    """Write down which head a fold starts from, with its lineage and the hash of the manifest of what it heard.

    Raises:
        RunError: if the fold was begun from another one
    """
    place = head_of(folder, number)
    manifest = place / "pretraining.jsonl"
    content = {
        "folder": str(place),
        "sha256": checkpoint_sha256(str(place)),
        "heard_sha256": checkpoint_sha256(str(manifest)),
        "record": read_json(place / INDEX, "a pretrained head") if (place / INDEX).is_file() else None,
    }
    if fold.pretrained.is_file():
        kept = read_json(fold.pretrained, "the record of a pretrained head")
        if kept.get("sha256") != content["sha256"]:
            raise RunError(
                f"--pretrained {place}: its SHA-256 is {content['sha256']}, {fold.path.name} was started from "
                f"{kept.get('sha256')}: another head, or one with files added. Put the original back, or name another "
                "run folder with -n or -p"
            )
        return
    write_atomically(fold.pretrained, json.dumps(content, indent=1) + "\n")


def read_pinned_head(fold: FoldFolder) -> dict[str, Any]:
    """For ``fold.json``: the head that the fold started from; empty where it started from random weights."""
    if not fold.pretrained.is_file():
        return {}
    kept = read_json(fold.pretrained, "the record of a pretrained head")
    lineage = (kept.get("record") or {}).get("lineage")
    return {"pretrained": {**{key: kept.get(key) for key in ("sha256", "heard_sha256")}, "lineage": lineage}}


def _any_fold(folder: Path) -> Path:
    """A head of those that a folder holds.

    Raises:
        RunError: if there is none
    """
    if not is_per_fold(str(folder)):
        return folder
    present = folds_of(str(folder))
    if not present:
        raise RunError(f"--pretrained {folder}: holds one head for each fold, and none is there. Pretrain a fold first")
    return folder / f"fold{present[0]}"
