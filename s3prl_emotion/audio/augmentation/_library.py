"""audiomentations, which makes the changes; it is optional, since its dependencies take some 250 MB."""

from __future__ import annotations

import contextlib
import importlib
import random
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from s3prl_emotion.errors import ConfigError

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
