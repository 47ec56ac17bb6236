"""Audio: reading any file as 16 kHz mono. Importing this package does not load torch."""

from __future__ import annotations

from s3prl_emotion.audio.lengths import AudioError
from s3prl_emotion.audio.reading import (
    SAMPLE_RATE_HZ,
    AudioInfo,
    as_waveform,
    audio_info,
    read_audio,
    read_segment,
    waveform_key,
)

__all__ = [
    "SAMPLE_RATE_HZ",
    "AudioError",
    "AudioInfo",
    "as_waveform",
    "audio_info",
    "read_audio",
    "read_segment",
    "waveform_key",
]
