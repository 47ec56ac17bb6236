"""Small requests on the demo corpus for the tests of stages: its clips are embedded by their filter banks."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.pretraining.contrastive.plan import ContrastivePlan, ContrastiveRequest, make_plan
from s3prl_emotion.pretraining.contrastive.settings import ContrastiveSettings
from s3prl_emotion.pretraining.settings import read_settings
from s3prl_emotion.s3prl_runner.cache import CacheOptions

SMALL: dict[str, Any] = {
    "speech": {"min_s": 0.3},
    "embed": {"encoder": {"name": "upstream", "upstream": "fbank_no_cmvn", "layer": 0}},
    "cluster": {"clusters": 2, "shuffles": 50},
    "model": {"projector_dim": 8, "head": [8, 6]},
    "batches": {"speakers": 3, "utterances": 2},
    "training": {
        "steps": 6,
        "optimiser": {"warmup_steps": 2},
        "eval_every": 3,
        "save_every": 2,
        "log_every": 2,
        "dev": {"of": "speakers", "share": 0.2},
    },
}


def plan(
    folder: Path, cache: Path, *speech: str, changes: dict[str, Any] | None = None, **wanted: Any
) -> ContrastivePlan:
    """A plan with small settings."""
    settings = read_settings(ContrastiveSettings, "contrastive", None, SMALL, changes or {})
    given = {"upstream": "fbank_no_cmvn", "device": "cpu", "cache_options": CacheOptions(root=cache), **wanted}
    return make_plan(ContrastiveRequest(settings=settings, speech=speech, folder=folder, **given))


def table(
    path: Path, manifest: Manifest, label: Callable[[Utterance], str] | None = lambda item: item.label, count: int = 80
) -> str:
    """A table of some of a manifest's clips as a text of ``--speech``; without ``label`` it has no such column."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        columns = ["id", "path", "speaker", *([] if label is None else ["label"])]
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for item in manifest.utterances[:count]:
            row = [item.id, str(manifest.path_of(item)), item.speaker]
            writer.writerow(row if label is None else [*row, label(item)])
    return f"talks={path}"
