"""Frames to cluster: a layer's hidden states of many utterances, from the store, in a file beyond memory."""

from __future__ import annotations

import logging
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.features.store import Store
from s3prl_emotion.files import checkpoint_sha256
from s3prl_emotion.s3prl_runner import arguments
from s3prl_emotion.s3prl_runner.cache import CacheOptions, open_cache

logger = logging.getLogger(__name__)

_RESIDENT_BYTES = 1 << 30  # of a mapped file, after which its pages are given back


@dataclass(frozen=True)
class StoredStates:
    """Hidden states of a model's layers, one utterance after the other."""

    store: Store
    keys: tuple[str, ...]  # of the manifest's utterances, in order
    layers: tuple[int, ...]  # which the store holds

    @property
    def width(self) -> int:
        """Features of a frame."""
        return self.store.width

    def layer(self, index: int, layer: int) -> np.ndarray:
        """``(frames, width)`` of one utterance, in the store's dtype: a view of the file."""
        return self.store.read(self.keys[index])[self.layers.index(layer)].numpy()

    def lengths(self) -> list[int]:
        """Frames of each utterance."""
        return [self.store.frames(key) for key in self.keys]


def hidden_states(
    folder: Path, manifest: Manifest, layers: Sequence[int], blocks: int, options: CacheOptions, device: str
) -> StoredStates:
    """Run a model once over utterances: alone, unmasked, in evaluation mode; stored states are found again.

    One layer is stored by itself; if several are asked for, all are, and shared.

    Args:
        folder: a model in transformers format
        manifest: the utterances
        layers: 1, ..., ``blocks``: the outputs of the transformer blocks
        blocks: of the model
        options: of the store
        device: where to compute

    Raises:
        ConfigError: if the model has no such layer
    """
    wrong = [layer for layer in layers if not 1 <= layer <= blocks]
    if wrong:
        raise ConfigError(f"layer {wrong[0]}: {folder} has layers 1 to {blocks} (outputs of its transformer blocks)")
    single = layers[0] if len(set(layers)) == 1 else None
    args = arguments.arguments(
        upstream="hf_auto_custom", upstream_ckpt=str(folder), upstream_layer_selection=single, device=device
    )
    hashes = (checkpoint_sha256(str(folder)), None)
    cached = open_cache(args, manifest, options, hashes, form="frames", title=str(folder))
    held = tuple(range(blocks + 1)) if single is None else (single,)
    return StoredStates(cached.store, tuple(cached.keys), held)


class FrameFile:
    """One layer's frames of all utterances, one after the other, in a file that is removed at the end.

    Memory holds what is asked for; pages of the file are given back to the system as they add up.

    Args:
        path: a file to make
        states: where the frames come from
        layer: which of them
    """

    def __init__(self, path: Path, states: StoredStates, layer: int) -> None:
        self.path = path
        self.lengths = states.lengths()
        self.count, self.width = sum(self.lengths), states.width
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for index in range(len(states.keys)):
                block = states.layer(index, layer)
                self._dtype = block.dtype
                file.write(np.ascontiguousarray(block).data)
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._frames = np.frombuffer(self._map, dtype=self._dtype).reshape(self.count, self.width)
        self._touched = 0

    def gather(self, numbers: np.ndarray) -> np.ndarray:
        """Frames by their numbers, float32 ``(n, width)``."""
        order = np.argsort(numbers, kind="stable")  # read in the order of the file
        found = np.empty((len(numbers), self.width), dtype=np.float32)
        found[order] = self._frames[numbers[order]]
        self._give_back(len(numbers) * max(self.width * self._dtype.itemsize, mmap.PAGESIZE))
        return found

    def rows(self, start: int, end: int) -> np.ndarray:
        """Frames ``start`` to ``end``, float32."""
        found = self._frames[start:end].astype(np.float32)
        self._give_back((end - start) * self.width * self._dtype.itemsize)
        return found

    def close(self) -> None:
        """Remove the file."""
        del self._frames
        self._map.close()
        self.path.unlink(missing_ok=True)

    def _give_back(self, touched: int) -> None:
        self._touched += touched
        if self._touched > _RESIDENT_BYTES:
            self._map.madvise(mmap.MADV_DONTNEED)
            self._touched = 0

    def __enter__(self) -> FrameFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
