"""Higher or lower, with the same duration."""

from __future__ import annotations

from typing import Any

import numpy as np

from s3prl_emotion.audio.augmentation import Effect, Range, effects
from s3prl_emotion.audio.augmentation._effect import Drawn
from s3prl_emotion.audio.augmentation._library import audiomentations, transformed

METHOD = "librosa_phase_vocoder"
"""audiomentations' other method, ``signalsmith_stretch``, is up to 0.1 semitones off at 16 kHz."""


@effects.register("pitch_shift")
class PitchShift(Effect):
    """Every frequency becomes ``f · 2^(semitones / 12)``: formants move along. The duration stays.

    Args:
        semitones: above 0 is higher, a number or ``[low, high]``. The default is ours
    """

    name = "pitch_shift"

    def __init__(self, semitones: Any = (-2.0, 2.0)) -> None:
        self.semitones = Range.of("semitones", semitones, -12.0, 12.0)
        self.library = audiomentations()

    def draw(self, waveform: np.ndarray, rate_hz: int, generator: np.random.Generator) -> Drawn:
        return {"semitones": self.semitones.draw(generator)}

    def apply(self, waveform: np.ndarray, rate_hz: int, generator: np.random.Generator, drawn: Drawn) -> np.ndarray:
        semitones = float(drawn["semitones"])
        transform = self.library.PitchShift(semitones, semitones, method=METHOD, p=1.0)
        return transformed(transform, waveform, rate_hz, generator)
