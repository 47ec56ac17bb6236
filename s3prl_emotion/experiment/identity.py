"""What decides the numbers of a run, as plain values and hashes: the content of ``run.json``."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s3prl_emotion.bridge.per_fold import INDEX, is_per_fold
from s3prl_emotion.bridge.translation import mapping
from s3prl_emotion.runs.plan import Plan


def identity_of(plan: Plan) -> dict[str, Any]:
    """Everything that decides the numbers of a run, as plain values."""
    training, upstream, corpus = plan.training, plan.training.upstream, plan.corpus
    data = None if corpus.data is None else str(corpus.data.expanduser().absolute())
    identity = {
        "upstream": upstream.name,
        "checkpoint": _place(upstream.checkpoint),
        "checkpoint_sha256": checkpoint_sha256(upstream.checkpoint),
        "model_config_sha256": checkpoint_sha256(upstream.model_config),
        "upstream_trainable": upstream.trainable,
        "upstream_feature_selection": upstream.selection,
        "upstream_layer_selection": upstream.layer,
        "upstream_feature_normalize": upstream.normalize,
        "downstream": training.downstream,
        "config": mapping(training.downstream, training.settings),
        "seed": training.seed,
        "corpus": {
            "name": corpus.name,
            "data": data,
            "table_sha256": checkpoint_sha256(data) if data is not None and Path(data).is_file() else None,
            "options": dict(corpus.options),
        },
        "protocol": plan.protocol,
        "skip_bad": corpus.skip_bad,
        "trim_zeros": corpus.trim_zeros,
        "drop_leaks": corpus.drop_leaks,
        "pretraining": [checkpoint_sha256(str(path)) for path in corpus.pretraining],
        "cache": None if plan.cache is None else plan.cache.dtype,
        "settings": dataclasses.asdict(plan.remarks),
    }
    return dict(json.loads(json.dumps(identity)))


def _place(checkpoint: str | None) -> str | None:
    """A path that does not depend on the working folder; a URL or Hub id as it is."""
    return str(Path(checkpoint).absolute()) if checkpoint is not None and Path(checkpoint).exists() else checkpoint


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
