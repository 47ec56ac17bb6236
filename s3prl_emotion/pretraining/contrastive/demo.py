"""Settings of ``--demo``: a synthetic corpus, filter banks, few steps."""

from __future__ import annotations

import dataclasses
from typing import Any

from s3prl_emotion.corpora.demo import make_demo_corpus
from s3prl_emotion.pretraining.contrastive.plan import ContrastiveRequest

SETTINGS: dict[str, Any] = {
    "speech": {"min_s": 0.5},
    "embed": {"encoder": {"name": "upstream", "upstream": "fbank_no_cmvn", "layer": 0}},
    "cluster": {"shuffles": 200},
    "batches": {"speakers": 4, "utterances": 2},
    "training": {
        "steps": 40,
        "optimiser": {"warmup_steps": 5},
        "eval_every": 20,
        "save_every": 20,
        "log_every": 10,
        "dev": {"of": "speakers", "share": 0.2},
    },
    "study": {
        "shares": (1.0, 0.3),
        "seeds": (1337,),
        "config": {
            "runner": {"total_steps": 30, "eval_step": 10, "save_step": 30, "log_step": 10},
            "optimizer": {"lr": 1e-3},
        },
    },
}
"""What ``--demo`` changes."""
FOLDS = (1, 2)
"""The folds that ``--demo`` works on, if none are named."""
UTTERANCES = 3
"""For each speaker and emotion: 120 in all."""


def complete(wanted: ContrastiveRequest) -> ContrastiveRequest:
    """Make what was not given: upstream, speech and folds, below the root or in the run's folder."""
    changes: dict[str, Any] = {}
    if not wanted.upstream:
        changes["upstream"] = "fbank_no_cmvn"
    if not wanted.speech:
        place = wanted.folder or wanted.root / "demo"
        changes["speech"] = (f"demo={make_demo_corpus(place / 'corpus', UTTERANCES)}",)
        if wanted.protocol is None or not wanted.protocol.endswith("transductive"):
            changes["folds"] = wanted.folds or FOLDS
    return dataclasses.replace(wanted, **changes)
