"""A small source-filter synthesiser of speech-like sound, for the demo corpus.

Letters become phones, phones become tracks of formants, voicing and noise; pulses with a pitch contour and white
noise are shaped by these tracks, frame by frame, in the short-time spectrum (after Fant, Acoustic theory of speech
production, 1960, with the formants in parallel). It carries emotion in pitch, energy, rate and spectral tilt only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SAMPLE_RATE_HZ = 16_000
_HOP = 80  # samples per step of the tracks: 5 ms
_WINDOW = 320  # samples per short-time spectrum: 20 ms
_FFT = 512
_LEVEL_DB = -34  # of voiced speech relative to full scale; leaves room for the peaks of loud voices
_SPEED = 1.3  # the durations of the phones are those of careful speech
_LOUDER_DB_PER_ST = 1.6  # a vowel that moves the pitch by a semitone is louder by this much
_UPPER_FORMANTS_HZ = (3500.0, 4500.0)

# letter or pair of letters: duration (s), first three formants (Hz), voicing, noise, centre of the noise (Hz)
_PHONES: dict[str, tuple[tuple[float, float, float, float, float, float, float], ...]] = {
    "a": ((0.110, 750, 1250, 2550, 1.0, 0.02, 3000),),
    "e": ((0.095, 530, 1850, 2500, 0.95, 0.02, 3000),),
    "i": ((0.085, 330, 2200, 2950, 0.8, 0.02, 3000),),
    "o": ((0.105, 510, 900, 2450, 0.95, 0.02, 3000),),
    "u": ((0.090, 340, 1000, 2300, 0.8, 0.02, 3000),),
    "y": ((0.080, 330, 2050, 2900, 0.75, 0.02, 3000),),
    "m": ((0.070, 280, 1050, 2200, 0.4, 0.0, 3000),),
    "n": ((0.065, 280, 1600, 2500, 0.4, 0.0, 3000),),
    "ng": ((0.075, 280, 2000, 2600, 0.35, 0.0, 3000),),
    "l": ((0.060, 360, 1200, 2700, 0.55, 0.0, 3000),),
    "r": ((0.065, 400, 1200, 1700, 0.55, 0.0, 3000),),
    "w": ((0.060, 320, 700, 2300, 0.5, 0.0, 3000),),
    "j": ((0.060, 300, 2200, 2950, 0.5, 0.02, 3000),),
    "s": ((0.095, 400, 1700, 2600, 0.0, 0.28, 6300),),
    "sh": ((0.100, 350, 1800, 2500, 0.0, 0.3, 3200),),
    "z": ((0.075, 300, 1700, 2600, 0.25, 0.18, 6000),),
    "f": ((0.085, 350, 1100, 2300, 0.0, 0.10, 4500),),
    "v": ((0.060, 300, 1100, 2300, 0.35, 0.07, 4500),),
    "th": ((0.070, 320, 1400, 2500, 0.1, 0.09, 5200),),
    "h": ((0.055, 500, 1500, 2500, 0.0, 0.13, 1700),),
    "p": ((0.055, 350, 1000, 2300, 0.0, 0.0, 3000), (0.020, 400, 1000, 2300, 0.0, 0.25, 1200)),
    "b": ((0.050, 250, 1000, 2300, 0.12, 0.0, 3000), (0.012, 350, 1000, 2300, 0.2, 0.18, 1200)),
    "t": ((0.050, 350, 1700, 2600, 0.0, 0.0, 3000), (0.022, 400, 1700, 2600, 0.0, 0.3, 4500)),
    "d": ((0.045, 250, 1700, 2600, 0.12, 0.0, 3000), (0.012, 350, 1700, 2600, 0.2, 0.2, 4000)),
    "k": ((0.055, 350, 1900, 2400, 0.0, 0.0, 3000), (0.028, 400, 1900, 2400, 0.0, 0.28, 2200)),
    "g": ((0.050, 250, 1900, 2400, 0.12, 0.0, 3000), (0.015, 350, 1900, 2400, 0.2, 0.18, 2200)),
}
_SPELLING = {"ch": ("t", "sh"), "ck": ("k",), "qu": ("k", "w"), "ph": ("f",), "c": ("k",), "x": ("k", "s"), "q": ("k",)}
_VOWELS = frozenset("aeiouy")


@dataclass(frozen=True)
class Voice:
    """What belongs to a speaker."""

    f0_hz: float  # base pitch
    tract_scale: float  # formants relative to those of a long vocal tract
    gain_db: float  # of the recording
    tilt_db_per_octave: float  # added to the spectrum above 300 Hz
    rate: float  # relative speed


@dataclass(frozen=True)
class Prosody:
    """How one utterance is spoken, relative to the voice."""

    level_st: float = 0.0  # pitch level in semitones
    range_st: float = 1.5  # size of pitch movements in semitones
    energy_db: float = 0.0
    rate: float = 1.0
    tilt_db_per_octave: float = 0.0


def phones(text: str) -> list[list[str]]:
    """The phones of every word of an English text, by a crude reading of its spelling."""
    words = []
    for word in text.lower().split():
        found: list[str] = []
        letters = "".join(letter for letter in word if letter.isalpha())
        position = 0
        while position < len(letters):
            for size in (2, 1):
                piece = letters[position : position + size]
                if piece in _SPELLING or piece in _PHONES:
                    found.extend(_SPELLING.get(piece, (piece,)))
                    break
            position += len(piece)
        # doubled letters and a silent final e are one phone and none
        words.append([p for i, p in enumerate(found) if i == 0 or p != found[i - 1]])
        if len(words[-1]) > 2 and words[-1][-1] == "e" and words[-1][-2] not in _VOWELS:
            words[-1].pop()
    return words


def synthesise(
    text: str, voice: Voice, prosody: Prosody, generator: np.random.Generator, noise_floor_db: float = -61.0
) -> np.ndarray:
    """Speak a text.

    Args:
        text: English words; a comma gives a longer pause
        voice: the speaker
        prosody: the manner
        generator: source of all randomness
        noise_floor_db: level of the room's noise, relative to full scale

    Returns:
        float32 samples of shape ``(frames,)`` at 16 kHz in (-1, 1)
    """
    states, stressed = _states(text, voice.rate * prosody.rate, generator)
    steps = np.maximum(1, np.round(states[:, 0] * SAMPLE_RATE_HZ / _HOP)).astype(int)
    track = np.repeat(states[:, 1:], steps, axis=0)
    formants = _smooth(track[:, :3], 9) * voice.tract_scale
    voicing, noise = _smooth(track[:, 3:4], 5)[:, 0], _smooth(track[:, 4:5], 3)[:, 0]
    ends = np.cumsum(steps)
    accents = generator.standard_normal(int(stressed.sum()))
    f0_hz = _pitch(voice, prosody, (ends - steps / 2)[stressed], accents, len(track), generator)
    loudness_db = np.zeros(len(states))
    loudness_db[stressed] = _LOUDER_DB_PER_ST * prosody.range_st * accents
    emphasis = 10 ** (_smooth(np.repeat(loudness_db, steps)[:, None], 9)[:, 0] / 20)
    samples = len(track) * _HOP
    frequencies = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE_HZ).astype(np.float32)
    tilt_db = voice.tilt_db_per_octave + prosody.tilt_db_per_octave
    tilt = 10 ** (tilt_db / 20 * np.log2(np.maximum(frequencies, 300) / 300))
    white = generator.standard_normal(samples).astype(np.float32)
    spectrum = _spectrum(_pulses(f0_hz, samples, generator)) * _vocal_tract(formants, frequencies) * tilt
    spectrum *= (voicing * emphasis * _flutter(len(track), generator))[:, None]
    width_hz = 350 + 0.22 * track[:, 5:6]
    friction = np.exp(-0.5 * ((frequencies - track[:, 5:6] * np.sqrt(voice.tract_scale)) / width_hz) ** 2)
    spectrum += 0.3 * _spectrum(white) * friction * noise[:, None] * np.sqrt(tilt)
    speech = _overlap_add(spectrum, samples)
    level = np.sqrt(np.mean(speech[np.repeat(voicing > 0.3, _HOP)] ** 2)) + 1e-9
    speech *= 10 ** ((_LEVEL_DB + voice.gain_db + prosody.energy_db) / 20) / level
    speech += 10 ** (noise_floor_db / 20) * generator.standard_normal(samples).astype(np.float32)
    peak = float(np.abs(speech).max())
    return (speech * min(1.0, 0.97 / peak)).astype(np.float32)


def _states(text: str, rate: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ``_PHONES`` for a text with pauses, and which of them are vowels."""
    silence = (0.0, 450.0, 1500.0, 2500.0, 0.0, 0.0, 3000.0)
    rows = [(0.1, *silence[1:])]
    vowels: list[int] = []
    for word, spelling in zip(phones(text), text.split(), strict=True):
        for phone in word:
            if phone in _VOWELS:
                vowels.append(len(rows))
            rows.extend(_PHONES[phone])
        pause_s = 0.16 if spelling.endswith((",", ";")) else generator.choice([0.0, 0.03, 0.06])
        if pause_s:
            rows.append((pause_s, *silence[1:]))
    rows.append((0.1, *silence[1:]))
    states = np.array(rows)
    states[:, 0] *= generator.uniform(0.88, 1.12, len(states)) / (_SPEED * rate)
    states[:, 1:4] *= generator.normal(1, 0.03, (len(states), 3))
    return states, np.isin(np.arange(len(states)), vowels)


def _pitch(
    voice: Voice,
    prosody: Prosody,
    times: np.ndarray,
    accents: np.ndarray,
    steps: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Pitch in hertz per step: a fall over the utterance plus a movement, in units of the range, on every vowel."""
    position = np.arange(steps)
    fall = prosody.range_st * (0.5 - position / steps)
    contour = _smooth(np.interp(position, times, accents * prosody.range_st)[:, None], 15)[:, 0]
    jitter = generator.normal(0, 0.12, steps)
    f0_hz: np.ndarray = np.clip(voice.f0_hz * 2 ** ((prosody.level_st + fall + contour + jitter) / 12), 60, 520)
    return f0_hz


def _pulses(f0_hz: np.ndarray, samples: int, generator: np.random.Generator) -> np.ndarray:
    """Pulses of equal power per second at the pitch, each shared by the two samples around its time."""
    pitch = np.interp(np.arange(samples) / _HOP, np.arange(len(f0_hz)), f0_hz)
    phase = np.cumsum(pitch / SAMPLE_RATE_HZ)
    at = np.flatnonzero(np.diff(np.floor(phase)) > 0)
    share = (np.ceil(phase[at]) - phase[at]) / (phase[at + 1] - phase[at])
    height = np.sqrt(100 / pitch[at]) * generator.normal(1, 0.06, len(at))
    pulses = np.zeros(samples, dtype=np.float32)
    pulses[at] += height * (1 - share)
    pulses[at + 1] += height * share
    return pulses


def _flutter(steps: int, generator: np.random.Generator) -> np.ndarray:
    factor: np.ndarray = np.exp(_smooth(generator.normal(0, 0.35, (steps, 1)), 21)[:, 0])
    return factor


def _vocal_tract(formants: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Magnitude of five parallel resonances, shape ``(steps, bins)``, from three formant tracks ``(steps, 3)``."""
    scale = formants.mean() / 1500
    upper = np.broadcast_to(np.array(_UPPER_FORMANTS_HZ) * scale, (len(formants), 2))
    total = np.full((len(formants), len(frequencies)), 0.01, dtype=np.float32)
    for k, centre in enumerate(np.concatenate([formants, upper], axis=1).astype(np.float32).T):
        width = 45 + 0.045 * centre[:, None]
        total += 0.72**k / (1 + ((frequencies - centre[:, None]) / width) ** 2)
    return total


def _smooth(track: np.ndarray, width: int) -> np.ndarray:
    """Moving average with a Hann window of ``width`` steps along the first axis, the ends repeated."""
    window = np.hanning(width + 2)[1:-1]
    padded = np.pad(track, ((width // 2, width // 2), (0, 0)), mode="edge")
    slices = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)
    smoothed: np.ndarray = slices @ (window / window.sum())
    return smoothed


def _spectrum(signal: np.ndarray) -> np.ndarray:
    """Short-time spectrum with one frame per step, shape ``(steps, bins)``."""
    padded = np.pad(signal, (_WINDOW // 2, _WINDOW // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[: len(signal) : _HOP]
    return np.fft.rfft(frames * np.hanning(_WINDOW).astype(np.float32), _FFT).astype(np.complex64)


def _overlap_add(spectrum: np.ndarray, samples: int) -> np.ndarray:
    frames = np.fft.irfft(spectrum, _FFT).astype(np.float32)
    per_frame = -(-_FFT // _HOP) * _HOP
    frames = np.pad(frames, ((0, 0), (0, per_frame - _FFT))).reshape(len(frames), -1, _HOP)
    total = np.zeros((len(frames) + frames.shape[1], _HOP), dtype=np.float32)
    for k in range(frames.shape[1]):
        total[k : k + len(frames)] += frames[:, k]
    return total.reshape(-1)[_WINDOW // 2 : _WINDOW // 2 + samples] * (2 * _HOP / _WINDOW)
