"""Additive noise at a signal-to-noise ratio: white, or from a folder of recordings."""

from __future__ import annotations

from typing import Any

import numpy as np

from s3prl_emotion.audio.augmentation import Effect, Range, effects
from s3prl_emotion.audio.augmentation._effect import Drawn, decibels, power
from s3prl_emotion.audio.augmentation._folder import Recordings
from s3prl_emotion.audio.augmentation._library import audiomentations, transformed
from s3prl_emotion.audio.reading import audio_info


@effects.register("noise")
class Noise(Effect):
    """``y = x + g n``, with ``g`` such that ``10 log10(mean(x²) / mean((g n)²))`` is the SNR.

    Both means are over the whole clip, its pauses included, and what is added is scaled after it was drawn, so the SNR
    of each clip is the asked one, not that of a long average.

    Args:
        snr_db: in dB, a number or ``[low, high]``. The default is ours
        folder: audio files of any rate, one of which is drawn, and a stretch of it; a shorter one is repeated. Without
            a folder, white Gaussian noise
    """

    name = "noise"

    def __init__(self, snr_db: Any = (10.0, 30.0), folder: str | None = None) -> None:
        self.snr_db = Range.of("snr_db", snr_db, -30.0, 80.0)
        self.library = audiomentations()
        self.sounds = None if folder is None else Recordings("folder", folder)

    def material(self) -> dict[str, str]:
        return {} if self.sounds is None else self.sounds.material()

    def draw(self, waveform: np.ndarray, rate_hz: int, generator: np.random.Generator) -> Drawn:
        drawn: Drawn = {"snr_db": self.snr_db.draw(generator)}
        if self.sounds is not None:
            drawn["file"] = self.sounds.draw(generator)
        return drawn

    def apply(self, waveform: np.ndarray, rate_hz: int, generator: np.random.Generator, drawn: Drawn) -> np.ndarray:
        snr_db = float(drawn["snr_db"])
        if (signal := power(waveform)) == 0:
            raise ValueError(
                f"{snr_db:g} dB above the noise is not defined for a clip that is silent throughout. Leave it out"
            )
        bounds = {"min_snr_db": snr_db, "max_snr_db": snr_db, "p": 1.0}
        if self.sounds is None:
            transform = self.library.AddGaussianSNR(**bounds)
        else:
            path = self.sounds.path(str(drawn["file"]))
            audio_info(path)  # an error of ours if it is no audio
            transform = self.library.AddBackgroundNoise(str(path), **bounds)
        # A carrier at full level keeps what is added precise in float32, whatever the level of the recording.
        carrier = waveform / np.float32(np.abs(waveform).max())
        noise = transformed(transform, carrier, rate_hz, generator).astype(np.float64) - carrier
        if (added := power(noise)) == 0:
            raise ValueError(
                f"{drawn.get('file', 'the noise')} is silent where it was taken. Take it out of the folder"
            )
        scale = 10 ** ((decibels(signal / added) - snr_db) / 20)
        return np.asarray(waveform + scale * noise, dtype=np.float32)
