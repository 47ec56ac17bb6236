"""The effects: noise, reverberation, telephone band, gain, pitch and tempo."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from s3prl_emotion.audio.augmentation import Effect, Range, effects
from s3prl_emotion.audio.augmentation.base import Drawn, Recordings, audiomentations, decibels, power, transformed
from s3prl_emotion.audio.preparation import MIN_SAMPLES
from s3prl_emotion.audio.reading import SAMPLE_RATE_HZ, audio_info, read_audio


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
