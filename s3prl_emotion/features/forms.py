"""Form of a store's entry: frames of each layer, or their means and deviations."""

from __future__ import annotations

from typing import Literal

Form = Literal["frames", "mean", "mean_std"]
"""All frames; the time mean as one; mean and standard deviation as two. Statistics are few: they stay in float32."""

STATISTICS: dict[str, int] = {"mean": 1, "mean_std": 2}
"""Rows of an entry that holds no frames."""
