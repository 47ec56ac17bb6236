"""From a recording to what a model hears: the one way that training, extraction, prediction and export share.

decode -> cut out the segment -> leave out digital zeros -> mono -> 16 kHz -> clean -> refuse what is too short -> keep
the start

Trimming comes before conversion, so that zeros are those that the file holds. A corpus is trimmed once, when it is
prepared: its manifest then holds the times of what sounds, and what is read from there needs no trimming any more. A
recording that is in no manifest (prediction) is trimmed here, to the same samples. Cleaning, which is optional, is done
once too, into files that the manifest names, and here for a recording that is in none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from s3prl_emotion.audio.cleaning import cleaning
from s3prl_emotion.audio.derived import storable
from s3prl_emotion.audio.lengths import AudioError
from s3prl_emotion.audio.reading import SAMPLE_RATE_HZ, as_waveform, read_segment

MIN_SAMPLES = 400
"""Shortest usable waveform in samples at 16 kHz: one frame of 25 ms."""
LOUDEST = 1.25
"""Decoded MP3 and Vorbis overshoot full scale, 1, by less; samples beyond were scaled otherwise."""
_QUIETEST = 4 / (1 << 15)  # from the lowest to the highest sample: dither of 16 bits
_OFFSET = 10  # times the deviation from it, a mean is of a constant rather than of sound
_INTEGERS = (100.0, 32768.0)  # peaks of samples that are integers of 16 bits, not divided by full scale


@dataclass(frozen=True)
class Prepared:
    """A waveform, and where it comes from."""

    samples: np.ndarray  # float32 of shape (samples,) at 16 kHz, mono
    start_s: float  # where its first sample lies in what was read, in seconds
    duration_s: float  # of what was read, before anything was left out
    stored: np.ndarray = field(repr=False)  # what was read, (frames, channels)

    @property
    def oddities(self) -> list[tuple[str, str]]:
        """What is odd about what was read, see :func:`oddities`."""
        return oddities(self.stored)


@dataclass(frozen=True)
class Preparation:
    """How recordings become waveforms.

    Args:
        max_duration_s: keep this many seconds from the start; None keeps all
        trim_zeros: leave out exact digital zeros at both ends, see :func:`sounding`
        cleaning: the name of a way to clean, see :mod:`s3prl_emotion.audio.cleaning`; the result has the 16 bits of the
            file that a corpus' clip becomes
    """

    max_duration_s: float | None = None
    trim_zeros: bool = False
    cleaning: str | None = None

    @property
    def max_samples(self) -> int | None:
        """Samples at 16 kHz that are kept from the start; None keeps all."""
        return None if self.max_duration_s is None else max(1, round(self.max_duration_s * SAMPLE_RATE_HZ))

    def waveform(self, path: str | Path, start_s: float | None = None, end_s: float | None = None) -> np.ndarray:
        """A file, or a segment of it, as float32 samples of shape ``(samples,)``.

        Args:
            path: an audio file of any sampling rate
            start_s: where to begin, in seconds; from the first sample if not given
            end_s: where to stop, in seconds; up to the last sample if not given

        Raises:
            AudioError: naming the file, if it cannot be read or holds less than 25 ms
        """
        return self.prepare(path, start_s, end_s).samples

    def prepare(self, path: str | Path, start_s: float | None = None, end_s: float | None = None) -> Prepared:
        """The same, with where the waveform begins in what was read.

        Raises:
            AudioError: as :meth:`waveform`
        """
        return self._prepared(*read_segment(path, start_s, end_s), name=str(path))

    def of_array(self, samples: np.ndarray, name: str = "the array") -> Prepared:
        """An array in the place of a file.

        Args:
            samples: finite floating-point numbers of shape ``(samples,)`` at 16 kHz
            name: for messages

        Raises:
            AudioError: if it is anything else, or holds less than 25 ms
        """
        if samples.ndim != 1 or samples.dtype.kind != "f" or not np.isfinite(samples).all():
            raise AudioError(
                f"{name}: expected finite floating-point samples in [-1, 1] at 16 kHz of shape (samples,), found "
                f"{samples.dtype} of shape {samples.shape}",
                kind="array",
            )
        return self._prepared(samples.astype(np.float32)[:, None], SAMPLE_RATE_HZ, name)

    def _prepared(self, stored: np.ndarray, rate_hz: int, name: str) -> Prepared:
        first, last = sounding(stored, rate_hz) if self.trim_zeros else (0, len(stored))
        check_length(last - first, rate_hz, name)
        samples = as_waveform(stored[first:last], rate_hz)
        if self.cleaning is not None:
            samples = storable(cleaning(self.cleaning, name).clean(samples))
            check_length(len(samples), SAMPLE_RATE_HZ, f"{name}, after preparation {self.cleaning}")
        return Prepared(samples[: self.max_samples], first / rate_hz, len(stored) / rate_hz, stored)


WHOLE = Preparation()
"""Nothing is left out."""


def sounding(stored: np.ndarray, rate_hz: int) -> tuple[int, int]:
    """The first sample that is not exactly zero, and the one after the last: what trimming keeps.

    Args:
        stored: samples of shape ``(frames, channels)``
        rate_hz: their rate

    Returns:
        the whole recording where it is silent, or sounds for less than 25 ms, which nothing could be computed from
    """
    lead, trail = outer_zeros(stored)
    if usable_samples(len(stored) - trail - lead, rate_hz) < MIN_SAMPLES:
        return 0, len(stored)
    return lead, len(stored) - trail


def oddities(stored: np.ndarray) -> list[tuple[str, str]]:
    """What nobody expects of speech: samples beyond full scale, silence, a constant.

    Args:
        stored: samples of shape ``(frames, channels)``

    Returns:
        kinds, ``scale``, ``silent`` or ``offset``, each with a message without the file's name
    """
    low, high = float(stored.min()), float(stored.max())
    peak = max(high, -low)
    found = []
    if peak > LOUDEST:
        integers = ". Integers of 16 bits are divided by 32768" if _INTEGERS[0] < peak <= _INTEGERS[1] else ""
        found.append(("scale", f"samples up to ±{peak:.4g}, where full scale is ±1{integers}"))
    if not stored.any():
        found.append(("silent", f"silent, all {len(stored)} samples are zero"))
    elif (stored == stored[0]).all():
        found.append(("silent", f"silent, all {len(stored)} samples are the same, {stored[0].max():.4g}"))
    elif not stored.sum(axis=1).any():
        found.append(("silent", f"silent as one channel: its {stored.shape[1]} channels cancel each other"))
    elif high - low <= _QUIETEST:
        found.append(("silent", f"as good as silent, all samples lie between {low:.3g} and {high:.3g}"))
    elif abs(mean := float(stored.mean(dtype=np.float64))) > _OFFSET * (deviation := float(stored.std())):
        found.append(
            ("offset", f"a constant of {mean:.4g} with little sound, samples deviate from it by {deviation:.2g}")
        )
    return found


def outer_zeros(stored: np.ndarray) -> tuple[int, int]:
    """Number of leading and of trailing samples, of shape ``(frames, channels)``, that are zero in all channels."""
    found = (stored != 0).any(axis=1)
    if not found.any():
        return len(stored), len(stored)
    return int(found.argmax()), int(found[::-1].argmax())


def usable_samples(frames: int, rate_hz: int) -> int:
    """How many samples at 16 kHz become of ``frames`` at ``rate_hz``."""
    return math.ceil(frames * SAMPLE_RATE_HZ / rate_hz)


def check_length(frames: int, rate_hz: int, name: str) -> None:
    """Refuse a recording of less than 25 ms.

    Args:
        frames: samples per channel, as stored
        rate_hz: their rate
        name: of the recording, for messages

    Raises:
        AudioError: with the number of samples that there would be at 16 kHz
    """
    usable = usable_samples(frames, rate_hz)
    if usable < MIN_SAMPLES:
        raise AudioError(f"{name}: {usable} samples at 16 kHz; at least {MIN_SAMPLES} (25 ms) are needed", kind="short")
