"""Named ways to clean recordings before anything hears them: ``--preparation`` of a run, which predictions follow."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from s3prl_emotion.errors import ConfigError, suggest
from s3prl_emotion.numba_cache import compiling

RATE_HZ = 16_000


@dataclass(frozen=True)
class Cleaning:
    """What is done to a recording, at 16 kHz, and which clips are too short after it."""

    name: str
    description: str
    clean: Callable[[np.ndarray], np.ndarray]  # float32 of shape (samples,) to fewer or as many; none may be left
    min_duration_s: float  # a corpus' clips of less are dropped
    libraries: tuple[str, ...]  # whose versions are recorded


def paper_d(samples: np.ndarray) -> np.ndarray:
    """Noise reduction, then removal of silence, as in arXiv 2312.11503.

    noisereduce's spectral gating with an FFT of 2048 and a hop of 512 samples; then the stretches that
    ``librosa.effects.split`` finds within 40 dB of the loudest frame, one after the other. The noise estimate
    (non-stationary, reduced wholly) and librosa's frames (2048, hop 512) are the libraries' defaults, the paper not
    giving them.

    Args:
        samples: float32 of shape ``(samples,)`` at 16 kHz

    Returns:
        what is left, float32; nothing of a recording that is silent throughout

    Raises:
        ConfigError: if a library is not installed
    """
    noisereduce, effects = _library("noisereduce"), _library("librosa.effects")
    if not samples.any():
        return samples[:0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a clip shorter than a frame; a band that is silent throughout
        with np.errstate(all="ignore"):
            reduced = noisereduce.reduce_noise(y=samples, sr=RATE_HZ, n_fft=2048, hop_length=512)
        reduced = np.nan_to_num(np.asarray(reduced, dtype=np.float32))
        if not reduced.any():
            return samples[:0]
        stretches = effects.split(reduced, top_db=40)
    return np.concatenate([reduced[first:last] for first, last in stretches])


CLEANINGS: Mapping[str, Cleaning] = {
    "paper-d": Cleaning(
        "paper-d",
        "noise reduction (noisereduce), silence removal (librosa, 40 dB), clips under 1 s dropped: arXiv 2312.11503",
        paper_d,
        1.0,
        ("noisereduce", "librosa"),
    )
}


def cleaning(name: str, where: str) -> Cleaning:
    """A way to clean by its name, its libraries installed.

    Raises:
        ConfigError: if it is unknown, or a library is missing
    """
    if name not in CLEANINGS:
        raise ConfigError(f"{where}: unknown preparation {name!r}. {suggest(name, CLEANINGS)}")
    for library in CLEANINGS[name].libraries:
        _library(library)
    return CLEANINGS[name]


def _library(name: str) -> Any:
    try:
        with compiling():
            return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"preparation paper-d needs {name.partition('.')[0]}: pip install 's3prl-emotion[cleaning]' ({error})"
        ) from error
