"""Base classes of speaker encoders; vectors of a module go through the store."""

from __future__ import annotations

import hashlib
import inspect
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import RunError
from s3prl_emotion.features.extraction import extract
from s3prl_emotion.features.lookup import find_store
from s3prl_emotion.features.store import Store, StoreKey, StoreShape
from s3prl_emotion.s3prl_runner.cache import CacheOptions, fingerprint, utterances_of
from s3prl_emotion.s3prl_runner.selection import probe_waveform
from s3prl_emotion.s3prl_runner.unbatched import behaviour


class SpeakerEncoder(ABC):
    """Maps an utterance to one vector."""

    @property
    def sha256(self) -> str | None:
        """Of the files that the user named; None where the options say everything."""
        return None

    @abstractmethod
    def stored(self, speech: Manifest, options: CacheOptions, device: str) -> tuple[Store, list[str]]:
        """Store what is missing of the vectors, and give the store and each utterance's key in it.

        Raises:
            UpstreamError: if the encoder is not installed, or cannot be read
            RunError: if a vector is not finite, or the store cannot be written
        """


class ModuleEncoder(SpeakerEncoder):
    """An encoder that is a module: ``(samples,)`` at 16 kHz to ``(width,)``."""

    title: ClassVar[str]  # in the store's name

    @abstractmethod
    def build(self) -> nn.Module:
        """The module, on the CPU.

        Raises:
            UpstreamError: if it is not installed, or cannot be read
        """

    def stored(self, speech: Manifest, options: CacheOptions, device: str) -> tuple[Store, list[str]]:
        module = self.build().to(device).eval()

        @torch.no_grad()
        def compute(waveform: Tensor) -> Tensor:
            vector: Tensor = module(waveform)
            if not bool(torch.isfinite(vector).all()):
                raise _NotFinite(f"encoder {self.title} gives vectors that are not finite: check its checkpoint")
            return vector[None, None, :]

        loud = compute(probe_waveform(device))
        key = StoreKey(
            upstream=f"{self.title}-embedding",
            weights=fingerprint(module),
            checkpoint_sha256=self.sha256,
            model_config_sha256=None,
            selection="embedding",
            layer=None,
            form="mean",
            dtype="float32",  # one vector to an utterance: they stay exact
            s3prl="none",
            source_sha256=hashlib.sha256(Path(inspect.getfile(type(self))).read_bytes()).hexdigest(),
        )
        probe = behaviour(compute, loud, device, self.title)
        store = find_store(options.root, key, StoreShape(1, loud.shape[2], 1), probe)
        items = utterances_of(speech)
        try:
            extract(store, items, compute, device, options.limit_bytes)
        except _NotFinite:
            store.refresh()
            name, path = next(
                (item.id, speech.path_of(item))
                for item, stored in zip(speech.utterances, items, strict=True)
                if stored.key not in store
            )
            raise RunError(
                f"encoder {self.title} gives no finite vector for {name!r}: check {path}, or leave it out"
            ) from None
        return store, [item.key for item in items]


class _NotFinite(RunError):
    """A vector holds NaN or infinity."""
