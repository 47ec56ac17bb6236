"""Evaluation protocols: which utterances train, select and test. One file per protocol; importing loads no torch.

``make_folds(manifest, protocols.get("strict"))`` gives the folds.
"""

from __future__ import annotations

from s3prl_emotion.protocols.protocol import Protocol, TrainingPool
from s3prl_emotion.registry import Registry

protocols: Registry[Protocol] = Registry("protocol", "s3prl_emotion.protocols")
"""Every protocol by name."""

from s3prl_emotion.protocols.split import Fold, Folds, make_folds  # noqa: E402  (needs the registry)

__all__ = ["Fold", "Folds", "Protocol", "TrainingPool", "make_folds", "protocols"]
