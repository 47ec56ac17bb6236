"""Read an audio file, or a segment of it, as the waveform that speech upstreams expect: 16 kHz, mono, float32.

Files are decoded by libsndfile (WAV, FLAC, OGG, MP3). Every failure is an :class:`AudioError` that names the file.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from s3prl_emotion.errors import CorpusError

SAMPLE_RATE_HZ = 16_000
"""The sampling rate of every speech upstream, in hertz."""

_LFS_POINTER = b"version https://git-lfs"
_SEGMENT_TOLERANCE_S = 0.01  # tables round their times; an end this far behind the last sample means "to the end"
_LARGEST_KERNEL_STEP = 1000  # of all usual rates, 44.1 kHz has the largest: 441
_UNKNOWN_WAV_SIZE = 0x7FFF0000  # writers that stream put a size from here upwards where the length is not known yet


class AudioError(CorpusError):
    """An audio file that cannot be used.

    Args:
        message: a complete sentence that names the file
        kind: ``missing``, ``git-lfs``, ``corrupt``, ``empty``, ``non-finite`` or ``segment``
    """

    def __init__(self, message: str, kind: str = "corrupt") -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says."""

    sample_rate_hz: int
    channels: int
    frames: int  # samples per channel

    @property
    def duration_s(self) -> float:
        """Length of the file in seconds."""
        return self.frames / self.sample_rate_hz


def audio_info(path: str | Path) -> AudioInfo:
    """Read the header of an audio file.

    Raises:
        AudioError: if the file is missing, a git-lfs pointer, empty or not readable as audio
    """
    import soundfile

    path = Path(path)
    try:
        _check_file(path)
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise _unreadable(path, error) from error
    return AudioInfo(int(info.samplerate), int(info.channels), int(info.frames))


def read_segment(path: str | Path, start_s: float | None = None, end_s: float | None = None) -> tuple[np.ndarray, int]:
    """Read samples as they are stored: neither averaged nor resampled.

    Args:
        path: an audio file
        start_s: where to begin, in seconds; from the first sample if not given
        end_s: where to stop, in seconds; up to the last sample if not given. Up to 10 ms behind the end is accepted

    Returns:
        float32 samples in [-1, 1] of shape ``(frames, channels)``, and the sampling rate in hertz

    Raises:
        AudioError: if the file is missing, a git-lfs pointer, corrupt or cut off, empty, holds values that are not
            finite, or ends before the segment does
    """
    import soundfile

    path = Path(path)
    try:
        _check_file(path)
        with soundfile.SoundFile(str(path)) as file:
            rate, frames = int(file.samplerate), int(file.frames)
            if frames == 0:
                raise AudioError(f"{path}: the audio file holds no samples. Remove it or fetch it again", kind="empty")
            first, last = _segment_frames(path, frames, rate, start_s, end_s)
            file.seek(first)
            samples = file.read(last - first, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise _unreadable(path, error) from error
    if len(samples) < last - first:
        raise AudioError(f"{path}: cut off: expected {last - first} samples, read {len(samples)}", kind="corrupt")
    if not np.isfinite(samples).all():
        count = int((~np.isfinite(samples)).sum())
        raise AudioError(f"{path}: {count} samples are not finite numbers. Make the file again", kind="non-finite")
    return samples, rate


def read_audio(path: str | Path, start_s: float | None = None, end_s: float | None = None) -> np.ndarray:
    """Read an audio file as 16 kHz mono.

    Channels are averaged. Another sampling rate is converted with ``torchaudio.transforms.Resample`` and its default
    window, which is what S3PRL's own emotion dataset does, to the bit (``torchaudio.functional.resample`` makes its
    kernel in float32 and differs in the last bit). Its kernel grows with the square of the reduced rate, to hundreds of
    megabytes for rates such as 24414 Hz: those are converted with ``scipy.signal.resample_poly``.

    Args:
        path: an audio file
        start_s: where to begin, in seconds; from the first sample if not given
        end_s: where to stop, in seconds; up to the last sample if not given

    Returns:
        float32 samples of shape ``(frames,)`` at 16 kHz

    Raises:
        AudioError: as :func:`read_segment`
    """
    return as_waveform(*read_segment(path, start_s, end_s))


def as_waveform(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Samples as stored, ``(frames, channels)`` at ``rate_hz``, to float32 mono at 16 kHz, ``(frames,)``."""
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
    common = math.gcd(rate_hz, SAMPLE_RATE_HZ)
    if rate_hz // common > _LARGEST_KERNEL_STEP:
        from scipy.signal import resample_poly

        mono = resample_poly(mono, SAMPLE_RATE_HZ // common, rate_hz // common)
    elif rate_hz != SAMPLE_RATE_HZ:
        import torch

        mono = _resampler(rate_hz)(torch.from_numpy(np.ascontiguousarray(mono))).numpy()
    return np.ascontiguousarray(mono, dtype=np.float32)


def waveform_key(waveform: np.ndarray) -> str:
    """Fingerprint of a waveform's content: 128 bits of BLAKE2b over its float32 samples, in hexadecimal."""
    return hashlib.blake2b(np.ascontiguousarray(waveform, dtype=np.float32).data, digest_size=16).hexdigest()


@lru_cache(maxsize=16)
def _resampler(rate: int) -> Any:
    from torchaudio.transforms import Resample

    return Resample(rate, SAMPLE_RATE_HZ)


def _segment_frames(path: Path, frames: int, rate: int, start_s: float | None, end_s: float | None) -> tuple[int, int]:
    duration_s = frames / rate
    start = 0.0 if start_s is None else float(start_s)
    end = duration_s if end_s is None else float(end_s)
    given = f"{path}: segment {start:g} to {end:g} s"
    if not (math.isfinite(start) and math.isfinite(end)) or start < 0:
        raise AudioError(f"{given} is not a stretch of time; times start at 0 and are finite", kind="segment")
    if end > duration_s + _SEGMENT_TOLERANCE_S or start >= duration_s:
        raise AudioError(f"{given} lies outside of the file, which lasts {duration_s:g} s", kind="segment")
    first, last = round(start * rate), min(round(end * rate), frames)
    if last <= first:
        raise AudioError(f"{given} holds no sample; the end must come after the start", kind="segment")
    return first, last


def _check_file(path: Path) -> None:
    if not path.is_file():
        kind = "is a folder, not an audio file" if path.is_dir() else "no such audio file"
        raise AudioError(f"{path}: {kind}", kind="missing")
    with path.open("rb") as file:
        head = file.read(12)
        if not head:
            raise AudioError(f"{path}: the file is empty (0 bytes). Fetch it again", kind="empty")
        if head == _LFS_POINTER[:12] and (head + file.read(len(_LFS_POINTER) - 12)) == _LFS_POINTER:
            message = "a git-lfs pointer, not audio. Run `git lfs pull` in the corpus' clone to fetch the audio"
            raise AudioError(f"{path}: {message}", kind="git-lfs")
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        _check_wav_length(path)


def _check_wav_length(path: Path) -> None:
    """Refuse a WAV file that is shorter than its header promises by more than 10 ms; libsndfile reads it silently."""
    size = path.stat().st_size
    bytes_per_second = 0
    with path.open("rb") as file:
        position = 12
        while position + 8 <= size:
            file.seek(position)
            name, length = struct.unpack("<4sI", file.read(8))
            if name == b"fmt " and length >= 16:
                block = file.read(16)
                bytes_per_second = struct.unpack("<I", block[8:12])[0] if len(block) == 16 else 0
            if name == b"data":
                absent = length - (size - position - 8)
                if length < _UNKNOWN_WAV_SIZE and absent > bytes_per_second / 100:
                    message = f"cut off: its header promises {length} bytes of audio, {absent} of them are absent"
                    raise AudioError(f"{path}: {message}. Fetch the file again", kind="corrupt")
                return
            position += 8 + length + length % 2


def _unreadable(path: Path, error: Exception) -> AudioError:
    return AudioError(f"{path}: not readable as audio ({error}). Fetch the file again or remove it", kind="corrupt")
