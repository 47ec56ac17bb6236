"""What decides the numbers of a run, as plain values and hashes: the content of ``run.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_emotion.files import checkpoint_sha256
from s3prl_emotion.runs.plan import CorpusChoice, RunPlan, UpstreamChoice
from s3prl_emotion.s3prl_runner.translation import mapping
from s3prl_emotion.upstreams.per_fold import upstream_sha256


def identity_of(plan: RunPlan) -> dict[str, Any]:
    """Everything that decides the numbers of a run, as plain values."""
    training = plan.training
    content = identity(
        training.upstream,
        training.downstream,
        mapping(training.downstream, training.settings),
        training.seed,
        plan.corpus,
        plan.protocol,
        None if plan.cache is None else plan.cache.dtype,
        plan.remarks.record(),
    )
    return content if plan.text is None else {**content, "text": plan.text.record()}


def identity(
    upstream: UpstreamChoice,
    downstream: str,
    config: Mapping[str, Any],
    seed: int,
    corpus: CorpusChoice,
    protocol: str,
    cache: str | None,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """The same from its parts; ``cache`` is the type of stored states."""
    data = None if corpus.data is None else str(corpus.data.expanduser().absolute())
    content = {
        "upstream": upstream.name,
        "checkpoint": place_of(upstream.checkpoint),
        "checkpoint_sha256": upstream_sha256(upstream.checkpoint),
        "model_config_sha256": upstream_sha256(upstream.model_config),
        "upstream_trainable": upstream.trainable,
        "upstream_feature_selection": upstream.selection,
        "upstream_layer_selection": upstream.layer,
        "upstream_feature_normalize": upstream.normalize,
        "downstream": downstream,
        "config": config,
        "seed": seed,
        "corpus": {
            "name": corpus.name,
            "data": data,
            "table_sha256": checkpoint_sha256(data) if data is not None and Path(data).is_file() else None,
            "options": dict(corpus.options),
        },
        "protocol": protocol,
        "skip_bad": corpus.skip_bad,
        "trim_zeros": corpus.trim_zeros,
        "drop_leaks": corpus.drop_leaks,
        **corpus.making.record(),
        "pretraining": [checkpoint_sha256(str(path)) for path in corpus.pretraining],
        "cache": cache,
        "settings": settings,
    }
    return dict(json.loads(json.dumps(content)))


def place_of(checkpoint: str | None) -> str | None:
    """A path that does not depend on the working folder; a URL or Hub id as it is."""
    return str(Path(checkpoint).absolute()) if checkpoint is not None and Path(checkpoint).exists() else checkpoint
