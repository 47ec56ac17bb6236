"""Read an audio file, or a segment of it, as the waveform that speech upstreams expect: 16 kHz, mono, float32.

Files are decoded by libsndfile (WAV, FLAC, OGG, MP3). Every failure is an :class:`AudioError` that names the file, and
what it holds where its first bytes tell. A length that a killed recorder left open is that of the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from s3prl_emotion.audio._contents import HEAD, content_of
from s3prl_emotion.audio.lengths import AudioError, check_file

logger = logging.getLogger(__name__)

SAMPLE_RATE_HZ = 16_000
"""The sampling rate of every speech upstream, in hertz."""

MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000
"""Sampling rates outside of these are a damaged header; converting them would take any amount of memory."""
MAX_LEVEL = float(1 << 32)
"""No sample is larger, whatever integers somebody wrote as floating-point numbers; full scale is 1."""
_SEGMENT_TOLERANCE_S = 0.01  # tables round their times; an end this far behind the last sample means "to the end"
_LARGEST_KERNEL_STEP = 1000  # of all usual rates, 44.1 kHz has the largest: 441
_BLOCK = 1 << 24  # samples that are read at once, over all channels
_FROM_THE_START = frozenset({"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III", "OPUS"})
"""Encodings whose samples depend on those before: after a jump they differ (Opus by up to 1e-3)."""
_NO_LENGTH = 1 << 62


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says."""

    sample_rate_hz: int
    channels: int
    frames: int  # samples per channel
    is_plain: bool = True  # any program reads it from its beginning to its end, as it is read here

    @property
    def duration_s(self) -> float:
        """Length of the file in seconds."""
        return self.frames / self.sample_rate_hz


def audio_info(path: str | Path) -> AudioInfo:
    """Read the header of an audio file.

    Raises:
        AudioError: if the file is missing, a git-lfs pointer, empty or not readable as audio
    """
    with _opened(Path(path)) as file:
        is_plain = file.seekable() and file.name == os.fsencode(path)
        return AudioInfo(int(file.samplerate), int(file.channels), int(file.frames), is_plain)


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
    path = Path(path)
    with _opened(path) as file:
        rate, frames = int(file.samplerate), int(file.frames)
        if frames <= 0:
            raise AudioError(f"{path}: the audio file holds no samples. Remove it or fetch it again", kind="empty")
        first, last = _segment_frames(path, frames, rate, start_s, end_s)
        samples = _stretch(file, first, last)
    if len(samples) < last - first:
        raise AudioError(f"{path}: cut off: expected {last - first} samples, read {len(samples)}", kind="corrupt")
    if not np.isfinite(samples).all():
        count = int((~np.isfinite(samples)).sum())
        raise AudioError(f"{path}: {count} samples are not finite numbers. Make the file again", kind="non-finite")
    if (peak := max(float(samples.max()), -float(samples.min()))) > MAX_LEVEL:
        message = f"samples up to {peak:.3g}, where full scale is 1: no audio, or of another format"
        raise AudioError(f"{path}: {message}. Make the file again", kind="non-finite")
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


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A file, opened and of a rate that there is; whatever a library raises while it is open is an AudioError."""
    import soundfile

    try:
        length = check_file(path)
        with contextlib.ExitStack() as stack:
            source: Any = os.fsencode(path)
            if length is not None and length.is_open:
                logger.info("%s: its header leaves the length open: what follows is read as audio", path)
                source = io.BytesIO(length.closed(path.read_bytes()))
            elif path.suffix.lower() == ".raw":  # by this ending soundfile expects to be told what is in it
                source = stack.enter_context(path.open("rb")).fileno()
            file = stack.enter_context(soundfile.SoundFile(source, closefd=False))
            _check_rate(path, int(file.samplerate))
            if file.frames >= _NO_LENGTH:
                message = "its header does not say how long it is, as in a stream. Write it again: `ffmpeg -i IN OUT`"
                raise AudioError(f"{path}: {message}", kind="corrupt")
            yield file
    except (soundfile.LibsndfileError, RuntimeError, OSError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from error


def _stretch(file: Any, first: int, last: int) -> np.ndarray:
    """The samples from ``first`` to ``last``; where no jump is possible, or none is exact, all before are decoded."""
    if first and file.seekable() and file.subtype not in _FROM_THE_START:
        file.seek(first)
        return _read(file, last - first)
    return _read(file, last)[first:]


def _read(file: Any, count: int) -> np.ndarray:
    """``count`` samples per channel, or as many as there are; memory is taken as they come, not as promised."""
    block = max(1, _BLOCK // file.channels)
    blocks = [file.read(min(block, count), dtype="float32", always_2d=True)]
    read = len(blocks[0])
    while read < count and len(blocks[-1]) == block:
        blocks.append(file.read(min(block, count - read), dtype="float32", always_2d=True))
        read += len(blocks[-1])
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _check_rate(path: Path, rate: int) -> None:
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        message = f"its header says {rate} Hz, expected {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz. Make the file again"
        raise AudioError(f"{path}: {message}", kind="corrupt")


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


def _unreadable(path: Path, error: Exception) -> AudioError:
    found = None
    if not isinstance(error, OSError):
        with contextlib.suppress(OSError), path.open("rb") as file:
            found = content_of(file.read(HEAD))
    if found is not None:
        return AudioError(f"{path}: not readable as audio: it holds {found[0]}. {found[1]}", kind="corrupt")
    if path.suffix.lower() == ".raw":
        message = "samples without a header, of which nobody knows rate, width and channels"
        convert = "`ffmpeg -f s16le -ar 16000 -ac 1 -i FILE.raw FILE.wav`, with what they are"
        return AudioError(f"{path}: not readable as audio: {message}. Convert them: {convert}", kind="corrupt")
    reason = getattr(error, "error_string", error)  # of libsndfile's, without the path
    return AudioError(f"{path}: not readable as audio ({reason}). Fetch the file again or remove it", kind="corrupt")
