"""Engineered features by frame, as librosa computes them: 94 spectral ones, and fundamental frequency with energy."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from s3prl_emotion.upstreams.requirements import check_engineered, requires

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

RATE_HZ = 16000
HOP = 512  # samples, 32 ms; with the window of 2048 these are librosa's defaults, and no source states others
F0_HZ = (65.0, 600.0)  # ours: from a low male voice to excited speech; librosa's guide for music goes to 2093 Hz
INSTALL = "pip install librosa"


def _check_librosa94(ckpt: str | None) -> None:
    check_engineered("librosa94", ckpt, "librosa", INSTALL)


@requires(_check_librosa94)
def librosa94(ckpt: str | None = None, refresh: bool = False, **kwargs: Any) -> nn.Module:
    """Chroma 12, mel 60, MFCC 20, zero-crossing rate and spectral centroid, in this order, every 32 ms.

    ``librosa.feature``'s own functions at 16 kHz with their defaults (window 2048, hop 512, frames centred): power mel
    spectrogram, MFCC of its own 128 mel bands in dB, centroid in Hz. The five-corpora recogniser's 94 features.

    Raises:
        UpstreamError: if librosa is not installed, or a checkpoint is given
    """
    from s3prl_emotion.upstreams.engineered import FrameFeatures

    _check_librosa94(ckpt)
    return FrameFeatures(_librosa94, HOP)


def _check_prosody(ckpt: str | None) -> None:
    check_engineered("prosody", ckpt, "librosa", INSTALL)


@requires(_check_prosody)
def prosody(ckpt: str | None = None, refresh: bool = False, **kwargs: Any) -> nn.Module:
    """Fundamental frequency in Hz (0 where unvoiced), probability of voicing, and RMS energy, every 32 ms.

    ``librosa.pyin`` (Mauch and Dixon, ICASSP 2014) from 65 to 600 Hz, and ``librosa.feature.rms``. pYIN and not Praat,
    since its voicing is a probability, and Praat's library is under the GPL; it takes about a tenth of the speech's
    duration on one core.

    Raises:
        UpstreamError: if librosa is not installed, or a checkpoint is given
    """
    from s3prl_emotion.upstreams.engineered import FrameFeatures

    _check_prosody(ckpt)
    return FrameFeatures(_prosody, HOP)


def _librosa94(y: np.ndarray) -> np.ndarray:
    import librosa
    import numpy as np

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a window longer than a short clip, whose frames are padded; silence
        rows = (
            librosa.feature.chroma_stft(y=y, sr=RATE_HZ),
            librosa.feature.melspectrogram(y=y, sr=RATE_HZ, n_mels=60),
            librosa.feature.mfcc(y=y, sr=RATE_HZ, n_mfcc=20),
            librosa.feature.zero_crossing_rate(y),
            librosa.feature.spectral_centroid(y=y, sr=RATE_HZ),
        )
    found: np.ndarray = np.concatenate(rows).T
    return found


def _prosody(y: np.ndarray) -> np.ndarray:
    import librosa
    import numpy as np

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f0_hz, _, voiced = librosa.pyin(y, fmin=F0_HZ[0], fmax=F0_HZ[1], sr=RATE_HZ, fill_na=0.0)
        energy = librosa.feature.rms(y=y)
    found: np.ndarray = np.stack((f0_hz, voiced, energy[0]), axis=1)
    return found
