"""Base class of effects, and the libraries and folders that they need."""

from __future__ import annotations

import abc
import contextlib
import functools
import hashlib
import importlib
import math
import os
import random
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from s3prl_emotion.audio.lengths import AudioError
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.files import checkpoint_sha256

Drawn = dict[str, float | str]
"""One value of every parameter, as records hold it."""


@dataclass(frozen=True)
class Disturbed:
    """What became of a waveform, and how."""

    samples: np.ndarray  # float32 of shape (samples,)
    record: Mapping[str, float | str] = field(default_factory=dict)  # "effect", and what was drawn


@dataclass(frozen=True)
class Range:
    """A parameter: uniform between two values, or one value where both are equal."""

    low: float
    high: float

    @classmethod
    def of(cls, name: str, given: Any, minimum: float, maximum: float) -> Range:
        """A number, or a list of two.

        Args:
            name: of the parameter, for messages
            given: what the configuration holds
            minimum: smallest value that makes sense
            maximum: largest

        Raises:
            ValueError: if it is neither, beyond the bounds, or the first is above the second
        """
        pair = list(given) if isinstance(given, (list, tuple)) else [given, given]
        numbers = [value for value in pair if isinstance(value, (int, float)) and not isinstance(value, bool)]
        if len(pair) != 2 or len(numbers) != 2 or not all(minimum <= value <= maximum for value in numbers):
            raise ValueError(
                f"{name} must be a number in {minimum:g} to {maximum:g}, or a list of two between which it is drawn, "
                f"got {given!r}"
            )
        if numbers[0] > numbers[1]:
            raise ValueError(f"{name}: the first of the two must not be above the second, got {given!r}")
        return cls(float(numbers[0]), float(numbers[1]))

    def draw(self, generator: np.random.Generator) -> float:
        """One value, to six decimal places, so that a record holds exactly what was used."""
        return round(float(generator.uniform(self.low, self.high)), 6)


class Effect(abc.ABC):
    """A change of the audio that keeps what is said, by whom, and the emotion.

    Every effect promises:

    - its result is a function of the waveform, its options and the key alone; neither Python's nor NumPy's global
      random state is read or moved;
    - float32 in, float32 out, finite, at least 25 ms, as long as the input unless it is there to change that; the input
      stays as it is, and full scale is no bound: nothing is clipped;
    - one sample does not make it fail, and what it cannot do is an :class:`AudioError` that names the recording.

    A subclass takes its options as keyword arguments of its constructor, with defaults, and overrides :meth:`apply`,
    and :meth:`draw` if it has parameters.
    """

    name: ClassVar[str]
    """What it is registered under."""

    def material(self) -> dict[str, str]:
        """The fingerprint of files that it uses, by a name; empty where it uses none."""
        return {}

    def draw(self, waveform: np.ndarray, rate_hz: int, generator: np.random.Generator) -> Drawn:
        """One value of every parameter. What is returned is recorded and is all that :meth:`apply` gets to see."""
        return {}

    @abc.abstractmethod
    def apply(self, waveform: np.ndarray, rate_hz: int, generator: np.random.Generator, drawn: Drawn) -> np.ndarray:
        """The change itself.

        Args:
            waveform: float32 samples of shape ``(samples,)``, mono
            rate_hz: their rate
            generator: for what is no parameter, such as the noise itself
            drawn: what :meth:`draw` returned

        Raises:
            ValueError: if this waveform cannot be changed so, without its name
        """

    def __call__(self, waveform: np.ndarray, rate_hz: int, *key: int | str, name: str = "the waveform") -> Disturbed:
        """Draw and apply.

        Args:
            waveform: float32 samples of shape ``(samples,)``, mono
            rate_hz: their rate
            key: what the draw depends on, for example seed, utterance and number of the copy
            name: of the recording, for messages

        Raises:
            AudioError: if this waveform cannot be changed so
        """
        generator = generator_of(*key)
        try:
            drawn = self.draw(waveform, rate_hz, generator)
            samples = self.apply(waveform, rate_hz, generator, drawn)
        except ValueError as error:
            raise AudioError(f"{name}: effect {self.name!r}: {error}", kind="effect") from error
        if not np.isfinite(samples).all():
            raise AudioError(f"{name}: effect {self.name!r}: the result is not finite", kind="effect")
        return Disturbed(np.ascontiguousarray(samples, dtype=np.float32), {"effect": self.name, **drawn})


def generator_of(*key: int | str) -> np.random.Generator:
    """A random generator that depends on numbers and texts alone, alike in every process and version of Python."""
    text = "\0".join(f"{type(part).__name__}:{part}" for part in key)
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:16], "little"))


def power(samples: np.ndarray) -> float:
    """Mean square over all samples, silence included, in float64."""
    wide = samples.astype(np.float64)
    return float(np.mean(wide * wide)) if len(wide) else 0.0


def decibels(ratio: float) -> float:
    """A ratio of powers in dB."""
    return 10 * math.log10(ratio)


SUFFIXES = (".aif", ".aiff", ".flac", ".mp3", ".ogg", ".wav")
"""What both libsndfile and audiomentations read."""


class Recordings:
    """The audio files below a folder, sorted by path.

    Args:
        option: the name of the option that gives the folder, for messages
        folder: where they are; a single file will do

    Raises:
        AudioError: if there is none
    """

    def __init__(self, option: str, folder: str) -> None:
        if not isinstance(folder, str):
            raise ValueError(f"{option} must be a folder with audio files, got {folder!r}")
        self.folder = Path(folder).expanduser()
        if self.folder.is_file():
            self.folder, names = self.folder.parent, [self.folder.name]
        elif self.folder.is_dir():
            names = sorted(
                os.path.relpath(os.path.join(place, name), self.folder)
                for place, _, found in os.walk(self.folder)
                for name in found
                if name.lower().endswith(SUFFIXES) and not name.startswith(".")
            )
        else:
            raise AudioError(f"{option}: {folder}: no such folder. Name one with audio files", kind="missing")
        if not names:
            raise AudioError(
                f"{option}: {folder}: no audio file in this folder or below it (endings {', '.join(SUFFIXES)})",
                kind="missing",
            )
        self.names = [Path(name).as_posix() for name in names]

    def material(self) -> dict[str, str]:
        """SHA-256 of their names and contents, read once."""
        return {"folder_sha256": self._sha256}

    @functools.cached_property
    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for name in self.names:
            digest.update(f"{name}\0{checkpoint_sha256(str(self.path(name)))}\n".encode())
        return digest.hexdigest()

    def draw(self, generator: np.random.Generator) -> str:
        """The name of one of them, relative to the folder."""
        return self.names[int(generator.integers(len(self.names)))]

    def path(self, name: str) -> Path:
        """Where it is."""
        return self.folder / name


_GLOBAL = threading.Lock()


def audiomentations() -> Any:
    """The library.

    Raises:
        ConfigError: saying how to install it
    """
    try:
        return importlib.import_module("audiomentations")
    except ImportError as error:
        raise ConfigError(
            "augmentation needs audiomentations: pip install 's3prl-emotion[augmentation]' "
            f"(or pip install audiomentations). {error}"
        ) from error


def transformed(transform: Any, waveform: np.ndarray, rate_hz: int, generator: np.random.Generator) -> np.ndarray:
    """Call a transform of audiomentations, whose draws come from Python's and NumPy's global generators.

    These are seeded from ``generator`` for the call and put back after it.
    """
    with seeded(generator), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # short clips, converted rates: what matters is checked by the effects
        return np.asarray(transform(np.ascontiguousarray(waveform, dtype=np.float32), rate_hz))


@contextlib.contextmanager
def seeded(generator: np.random.Generator) -> Iterator[None]:
    """Global generators that depend on ``generator`` alone within the block, and are what they were after it."""
    seed = int(generator.integers(2**32))
    with _GLOBAL:
        state, words = random.getstate(), np.random.get_state()
        try:
            random.seed(seed)
            np.random.seed(seed)
            yield
        finally:
            random.setstate(state)
            np.random.set_state(words)
