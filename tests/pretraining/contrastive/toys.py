"""Hidden states made up for the tests: what a cluster is lies in one layer, who speaks in another."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s3prl_emotion.pretraining.contrastive.clusters import Clustered
from s3prl_emotion.pretraining.contrastive.settings import ContrastiveSettings
from s3prl_emotion.pretraining.settings import read_settings

LAYERS, WIDTH = 3, 8


class States:
    """As :class:`~s3prl_emotion.features.upstream.CachedUpstream`, in memory."""

    def __init__(self, blocks: list[Tensor]) -> None:
        self.blocks = blocks
        key = SimpleNamespace(upstream="toy", weights="0" * 32, selection="hidden_states", layer=None)
        self.store = SimpleNamespace(layers=LAYERS, width=WIDTH, rate=160, key=key)

    def block(self, ticket: Tensor) -> Tensor:
        return self.blocks[ticket.shape[1]]


def rows(speakers: int = 6, clusters: int = 2, utterances: int = 8) -> list[Clustered]:
    found = []
    for speaker in range(speakers):
        for place in range(clusters * utterances):
            name = f"toy/{speaker}-{place}"
            found.append(
                Clustered(name, "toy", f"toy:{speaker}", f"/{name}.wav", place % clusters, duration_s=1.0, content=name)
            )
    return found


def states(given: list[Clustered], seed: int = 0) -> States:
    """Layer 1 has a direction for each cluster, the same for all speakers; layer 2 one for each speaker; 0 is noise."""
    rng = np.random.default_rng(seed)
    directions = 2.0 * np.eye(WIDTH)
    blocks = []
    for row in given:
        frames = int(rng.integers(3, 7))
        block = rng.standard_normal((LAYERS, frames, WIDTH))
        block[1] += directions[row.cluster or 0]
        block[2] += 4 * directions[4 + int(row.speaker[4:]) % 4]
        blocks.append(torch.from_numpy(block).half())
    return States(blocks)


def settings(**changes: Any) -> ContrastiveSettings:
    """The shipped ones, small and fast, with changes below their keys."""
    small = {
        "model": {"projector_dim": 8, "head": [8, 6]},
        "batches": {"speakers": 3, "clusters": 2, "utterances": 3},
        "training": {
            "steps": 12,
            "optimiser": {"lr": 1e-2, "warmup_steps": 2},
            "eval_every": 4,
            "save_every": 3,
            "log_every": 1,
            "dev": {"of": "speakers", "share": 0.3},
        },
    }
    return read_settings(ContrastiveSettings, "contrastive", None, small, changes)
