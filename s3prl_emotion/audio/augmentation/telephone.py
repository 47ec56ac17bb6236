"""The band of a telephone."""

from __future__ import annotations

import numpy as np

from s3prl_emotion.audio.augmentation import Effect, effects
from s3prl_emotion.audio.augmentation._effect import Drawn
from s3prl_emotion.audio.augmentation._library import audiomentations, transformed


@effects.register("telephone")
class Telephone(Effect):
    """A Butterworth band-pass of audiomentations; at both edges the level is 3 dB down.

    Args:
        low_hz: lower edge. 300 to 3400 Hz is the band of ITU-T G.712
        high_hz: upper edge
        rolloff_db: per octave beyond an edge, a multiple of 6. The default is ours
    """

    name = "telephone"

    def __init__(self, low_hz: float = 300.0, high_hz: float = 3400.0, rolloff_db: int = 48) -> None:
        if not 20 <= low_hz < high_hz <= 7900:
            raise ValueError(f"expected 20 <= low_hz < high_hz <= 7900, got {low_hz} and {high_hz}")
        if rolloff_db not in range(6, 97, 6):
            raise ValueError(f"rolloff_db must be a multiple of 6 in 6 to 96, got {rolloff_db}")
        self.low_hz, self.high_hz, self.rolloff_db = float(low_hz), float(high_hz), int(rolloff_db)
        self.library = audiomentations()

    def draw(self, waveform: np.ndarray, rate_hz: int, generator: np.random.Generator) -> Drawn:
        return {"low_hz": self.low_hz, "high_hz": self.high_hz, "rolloff_db": self.rolloff_db}

    def apply(self, waveform: np.ndarray, rate_hz: int, generator: np.random.Generator, drawn: Drawn) -> np.ndarray:
        centre, width = (self.low_hz + self.high_hz) / 2, self.high_hz - self.low_hz
        fraction, steps = width / centre, self.rolloff_db
        transform = self.library.BandPassFilter(centre, centre, fraction, fraction, steps, steps, p=1.0)
        return transformed(transform, waveform, rate_hz, generator)
