"""A room: by its reverberation time, or by recorded impulse responses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from s3prl_emotion.audio.augmentation import Effect, Range, effects
from s3prl_emotion.audio.augmentation._effect import Drawn, power
from s3prl_emotion.audio.augmentation._folder import Recordings
from s3prl_emotion.audio.reading import SAMPLE_RATE_HZ, read_audio


@effects.register("reverberation")
class Reverberation(Effect):
    """``y = (x * h)`` with the length, the beginning and the mean power of ``x``.

    Without a folder ``h`` is Polack's statistical model of a diffuse room (J.-D. Polack, 1988): a unit impulse, then
    Gaussian noise under ``10^(-3 t / rt60)``, which falls by 60 dB within ``rt60``. (audiomentations' own simulator
    needs pyroomacoustics, and its convolution reads files alone.)

    Args:
        rt60_s: reverberation time in seconds, a number or ``[low, high]``. The default is ours
        direct_db: power of the direct sound over that of the reverberation in dB, likewise. The default is ours
        folder: recorded impulse responses, one of which is drawn in the place of both; each begins at its largest
            sample
    """

    name = "reverberation"

    def __init__(self, rt60_s: Any = (0.2, 0.8), direct_db: Any = 0.0, folder: str | None = None) -> None:
        self.rt60_s = Range.of("rt60_s", rt60_s, 0.05, 10.0)
        self.direct_db = Range.of("direct_db", direct_db, -20.0, 40.0)
        self.rooms = None if folder is None else Recordings("folder", folder)

    def material(self) -> dict[str, str]:
        return {} if self.rooms is None else self.rooms.material()

    def draw(self, waveform: np.ndarray, rate_hz: int, generator: np.random.Generator) -> Drawn:
        if self.rooms is not None:
            return {"file": self.rooms.draw(generator)}
        return {"rt60_s": self.rt60_s.draw(generator), "direct_db": self.direct_db.draw(generator)}

    def apply(self, waveform: np.ndarray, rate_hz: int, generator: np.random.Generator, drawn: Drawn) -> np.ndarray:
        from scipy.signal import fftconvolve

        if self.rooms is not None:
            response = recorded_response(self.rooms.path(str(drawn["file"])), rate_hz)
        else:
            response = diffuse_response(float(drawn["rt60_s"]), float(drawn["direct_db"]), rate_hz, generator)
        wet = fftconvolve(waveform.astype(np.float64), response)[: len(waveform)]
        level = power(wet)
        scale = math.sqrt(power(waveform) / level) if level else 1.0
        return np.asarray(scale * wet, dtype=np.float32)


def recorded_response(path: Path, rate_hz: int) -> np.ndarray:
    """An impulse response from a file, from its largest sample on, float64 of shape ``(samples,)``.

    Raises:
        AudioError: naming the file, if it cannot be read
        ValueError: at another rate than that of speech upstreams
    """
    if rate_hz != SAMPLE_RATE_HZ:
        raise ValueError(f"impulse responses are read at {SAMPLE_RATE_HZ} Hz, the waveform has {rate_hz} Hz")
    response = read_audio(path).astype(np.float64)
    return response[int(np.abs(response).argmax()) :]


def diffuse_response(rt60_s: float, direct_db: float, rate_hz: int, generator: np.random.Generator) -> np.ndarray:
    """An impulse response of Polack's model, float64 of shape ``(1 + rt60_s · rate_hz,)``, that begins with 1."""
    times = np.arange(1, round(rt60_s * rate_hz) + 1) / rate_hz
    tail = generator.standard_normal(len(times)) * 10 ** (-3 * times / rt60_s)
    tail *= math.sqrt(10 ** (-direct_db / 10) / float(np.sum(tail**2)))
    return np.concatenate([[1.0], tail])
