"""What decides the numbers of a run, as plain values and hashes: the content of ``run.json``."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s3prl_emotion.bridge.per_fold import INDEX, is_per_fold
from s3prl_emotion.experiment.request import Request, protocol_name, uses_cache


def identity_of(
    request: Request, args: argparse.Namespace, config: dict[str, Any], settings: dict[str, Any]
) -> dict[str, Any]:
    """Everything that decides the numbers of a run, as plain values."""
    data = None if request.data is None else str(request.data.expanduser().absolute())
    identity = {
        "upstream": args.upstream,
        "checkpoint": _place(args.upstream_ckpt),
        "checkpoint_sha256": checkpoint_sha256(args.upstream_ckpt),
        "model_config_sha256": checkpoint_sha256(args.upstream_model_config),
        "upstream_trainable": args.upstream_trainable,
        "upstream_feature_selection": args.upstream_feature_selection,
        "upstream_layer_selection": args.upstream_layer_selection,
        "upstream_feature_normalize": args.upstream_feature_normalize,
        "downstream": args.downstream,
        "config": _without_fold(config),
        "seed": args.seed,
        "corpus": {
            "name": request.corpus,
            "data": data,
            "table_sha256": checkpoint_sha256(data) if data is not None and Path(data).is_file() else None,
            "options": dict(request.corpus_options),
        },
        "protocol": protocol_name(request, args),
        "skip_bad": request.skip_bad,
        "trim_zeros": request.trim_zeros,
        "drop_leaks": request.drop_leaks,
        "pretraining": [checkpoint_sha256(str(path)) for path in request.pretraining],
        "cache": request.cache_options.dtype if uses_cache(request, args) else None,
        "settings": settings,
    }
    return dict(json.loads(json.dumps(identity)))


def _place(checkpoint: str | None) -> str | None:
    """A path that does not depend on the working folder; a URL or Hub id as it is."""
    return str(Path(checkpoint).absolute()) if checkpoint is not None and Path(checkpoint).exists() else checkpoint


def _without_fold(config: dict[str, Any]) -> dict[str, Any]:
    expert = config["downstream_expert"]
    datarc = {key: value for key, value in expert.get("datarc", {}).items() if key != "test_fold"}
    return {**config, "downstream_expert": {**expert, "datarc": datarc}}


def checkpoint_sha256(path: str | None) -> str | None:
    """SHA-256 of a checkpoint file, or of all files of a checkpoint folder with their names; None for no path.

    A folder with one model per fold is known by its index, which says what all of them were made from and how; each
    fold's own hash is kept beside its checkpoints (``upstream.json``).
    """
    if path is None or not Path(path).exists():
        return None
    root = Path(path)
    if root.is_dir() and is_per_fold(path):
        root = root / INDEX
    files: Sequence[Path] = [root] if root.is_file() else sorted(item for item in root.rglob("*") if item.is_file())
    digest = hashlib.sha256()
    for file in files:
        if root.is_dir():
            digest.update(file.relative_to(root).as_posix().encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
