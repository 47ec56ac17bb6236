"""The random state of a training run, saved with its checkpoints and kept apart from evaluation."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

MAX_SEED = 2**32 - 1
"""NumPy's limit, the lowest of the three."""


def seed_everything(seed: int) -> None:
    """Seed python's, numpy's and torch's global generators, as S3PRL's ``run_downstream`` does."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """The state of python's, numpy's and torch's global generators as tensors and plain values.

    Nothing in it needs a pickled class, so a checkpoint that holds it loads with ``weights_only=True``.
    """
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # type: ignore[misc]
    version, words, gauss_next = random.getstate()
    return {
        "python": [version, list(words), gauss_next],
        "numpy": [
            str(name),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(gauss),
        ],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put back what :func:`random_state` returned; CUDA states only where as many devices are there."""
    version, words, gauss_next = state["python"]
    random.setstate((version, tuple(words), gauss_next))
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([item.cpu() for item in state["cuda"]])


def check_random_state(state: dict[str, Any]) -> None:
    """Try a state; the present one stays.

    Raises:
        AttributeError, LookupError, RuntimeError, TypeError, ValueError: if the generators do not take it
    """
    with preserved_random_state():
        restore_random_state(state)


@contextlib.contextmanager
def preserved_random_state() -> Iterator[None]:
    """Run the block, then put the global random state back to what it was before."""
    state = random_state()
    try:
        yield
    finally:
        restore_random_state(state)
