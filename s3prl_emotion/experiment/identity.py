"""What decides the numbers of a run, as plain values and hashes: the content of ``run.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from s3prl_emotion.bridge.translation import mapping
from s3prl_emotion.files import checkpoint_sha256
from s3prl_emotion.runs.plan import Plan
from s3prl_emotion.upstreams.per_fold import upstream_sha256


def identity_of(plan: Plan) -> dict[str, Any]:
    """Everything that decides the numbers of a run, as plain values."""
    training, upstream, corpus = plan.training, plan.training.upstream, plan.corpus
    data = None if corpus.data is None else str(corpus.data.expanduser().absolute())
    identity = {
        "upstream": upstream.name,
        "checkpoint": _place(upstream.checkpoint),
        "checkpoint_sha256": upstream_sha256(upstream.checkpoint),
        "model_config_sha256": upstream_sha256(upstream.model_config),
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
        "settings": plan.remarks.record(),
    }
    if plan.text is not None:
        identity["text"] = plan.text.record()
    return dict(json.loads(json.dumps(identity)))


def _place(checkpoint: str | None) -> str | None:
    """A path that does not depend on the working folder; a URL or Hub id as it is."""
    return str(Path(checkpoint).absolute()) if checkpoint is not None and Path(checkpoint).exists() else checkpoint
