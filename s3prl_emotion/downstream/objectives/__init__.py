"""Training objectives: ``forward(logits (batch, classes), labels) -> scalar loss``, mean over the batch.

``labels`` are class indices ``(batch,)``; where annotators' votes are the target, rates ``(batch, classes)`` that sum
to 1.
"""

from __future__ import annotations

from typing import Any

from s3prl_emotion.registry import Registry

__all__ = ["objectives"]

objectives: Registry[Any] = Registry("objective", "s3prl_emotion.downstream.objectives")
