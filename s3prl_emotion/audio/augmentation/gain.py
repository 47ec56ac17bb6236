"""Louder or softer."""

from __future__ import annotations

from typing import Any

import numpy as np

from s3prl_emotion.audio.augmentation import Effect, Range, effects
from s3prl_emotion.audio.augmentation._effect import Drawn
from s3prl_emotion.audio.augmentation._library import audiomentations, transformed


@effects.register("gain")
class Gain(Effect):
    """``y = 10^(gain / 20) x``. Nothing is clipped; where a file is written, it is brought below full scale.

    Args:
        gain_db: in dB, a number or ``[low, high]``. The default is ours
    """

    name = "gain"

    def __init__(self, gain_db: Any = (-6.0, 6.0)) -> None:
        self.gain_db = Range.of("gain_db", gain_db, -60.0, 60.0)
        self.library = audiomentations()

    def draw(self, waveform: np.ndarray, rate_hz: int, generator: np.random.Generator) -> Drawn:
        return {"gain_db": self.gain_db.draw(generator)}

    def apply(self, waveform: np.ndarray, rate_hz: int, generator: np.random.Generator, drawn: Drawn) -> np.ndarray:
        gain_db = float(drawn["gain_db"])
        return transformed(self.library.Gain(gain_db, gain_db, p=1.0), waveform, rate_hz, generator)
