"""Slower or faster, with the same pitch."""

from __future__ import annotations

from typing import Any

import numpy as np

from s3prl_emotion.audio.augmentation import Effect, Range, effects
from s3prl_emotion.audio.augmentation._effect import Drawn
from s3prl_emotion.audio.augmentation._library import audiomentations, transformed
from s3prl_emotion.audio.preparation import MIN_SAMPLES


@effects.register("time_stretch")
class TimeStretch(Effect):
    """The duration becomes ``duration / rate``, by audiomentations' Signalsmith Stretch.

    A clip that would become shorter than 25 ms is stretched as far as that.

    Args:
        rate: above 1 is faster, a number or ``[low, high]``. The default is ours
    """

    name = "time_stretch"

    def __init__(self, rate: Any = (0.9, 1.1)) -> None:
        self.rate = Range.of("rate", rate, 0.25, 4.0)
        self.library = audiomentations()

    def draw(self, waveform: np.ndarray, rate_hz: int, generator: np.random.Generator) -> Drawn:
        rate = self.rate.draw(generator)
        return {"rate": min(rate, max(1.0, len(waveform) / (MIN_SAMPLES + 1)))}

    def apply(self, waveform: np.ndarray, rate_hz: int, generator: np.random.Generator, drawn: Drawn) -> np.ndarray:
        rate = float(drawn["rate"])
        transform = self.library.TimeStretch(rate, rate, leave_length_unchanged=False, p=1.0)
        return transformed(transform, waveform, rate_hz, generator)
