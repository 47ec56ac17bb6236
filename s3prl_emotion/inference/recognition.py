"""What is recognised in one recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Recognition:
    """Emotion probabilities and frame weights of one recording.

    Frame ``i`` begins at ``start_s + i / frame_rate_hz`` seconds of the file. How far it reaches depends on the
    upstream: one frame of a transformer has seen the whole recording.
    """

    file: str | None  # as it was given; None for an array
    predicted: str  # the label with the highest probability
    probabilities: dict[str, float]  # per label, in the order of the classes; they sum to 1
    frame_weights: tuple[float, ...]  # share of each frame in the pooled vector; they sum to 1
    frame_rate_hz: float
    duration_s: float  # of the whole recording
    start_s: float = 0.0  # where the first frame begins; after 0 where digital zeros were left out
    text: str | None = None  # what is said, as given or heard; None where the heads do not read it

    @property
    def times_s(self) -> tuple[float, ...]:
        """Where each frame begins, in seconds."""
        return tuple(self.start_s + index / self.frame_rate_hz for index in range(len(self.frame_weights)))

    def strongest_second(self) -> tuple[float, float, float] | None:
        """The second with the largest sum of frame weights: its start and end in seconds, and that sum.

        Returns:
            the first of them if several are equal; everything where there is no more than a second; None where all
            frames weigh the same, as in mean pooling
        """
        weights = np.asarray(self.frame_weights)
        if np.allclose(weights, weights[0], rtol=1e-4):
            return None
        size = min(len(weights), max(1, round(self.frame_rate_hz)))
        sums = np.convolve(weights, np.ones(size), mode="valid")
        first = int(sums.argmax())
        begin = self.start_s + first / self.frame_rate_hz
        end = min(begin + size / self.frame_rate_hz, self.duration_s)
        return begin, end, float(min(1.0, sums[first]))

    def as_dict(self, attention: bool = False) -> dict[str, Any]:
        """What JSON can hold, with the frame weights if ``attention``."""
        row: dict[str, Any] = {
            "file": self.file,
            "predicted": self.predicted,
            "probabilities": self.probabilities,
            "duration_s": self.duration_s,
        }
        if self.text is not None:
            row["text"] = self.text
        if attention:
            row |= {
                "frame_rate_hz": self.frame_rate_hz,
                "start_s": self.start_s,
                "frame_weights": list(self.frame_weights),
            }
        return row
