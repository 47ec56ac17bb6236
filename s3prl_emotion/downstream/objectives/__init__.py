"""Training objectives: ``forward(logits (batch, classes), labels (batch,)) -> scalar loss``, mean over the batch."""

from __future__ import annotations

from typing import Any

from s3prl_emotion.registry import Registry

__all__ = ["objectives"]

objectives: Registry[Any] = Registry("objective", "s3prl_emotion.downstream.objectives")
