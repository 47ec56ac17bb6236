"""Vectors of texts in the store of hidden states: computed once, shared by folds, heads and seeds."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from s3prl_emotion.features.extraction import Waveform, extract
from s3prl_emotion.features.lookup import find_store
from s3prl_emotion.features.store import StoreKey, StoreShape
from s3prl_emotion.text.encoder import FrozenTexts, tokens_key
from s3prl_emotion.text.loading import TextSource

PROBE = ("A lamp stands on the table.", "No.")
"""What an encoder answers tells a store whether it is still the one that filled it."""


def stored_texts(
    opened: TextSource, texts: Iterable[str], root: Path, device: str, limit_bytes: int | None = None
) -> FrozenTexts:
    """Store what is missing of the vectors of ``texts``, and return what reads them.

    An entry is the mean over the tokens of one text, ``(1, 1, width)`` in float32, under the fingerprint of its token
    ids; the store is the encoder's, by the SHA-256 of its folder, tokenizer included.

    Args:
        opened: the encoder
        texts: of a corpus; equal ones are computed once
        root: of all stores
        device: where to compute
        limit_bytes: bound for all stores of this root together
    """
    frozen = FrozenTexts(opened)
    place = torch.device(device)
    ids = {tokens_key(found): found for found in (opened.tokens(text)[0] for text in dict.fromkeys(texts))}
    key = StoreKey(
        upstream=f"text-{opened.name}",
        weights=str(opened.source.sha256),
        checkpoint_sha256=opened.source.sha256,
        model_config_sha256=None,
        selection="last_hidden_state",
        layer=None,
        form="mean",
        dtype="float32",
        s3prl=metadata.version("s3prl"),
    )
    probe = tuple(_states(frozen, torch.tensor(opened.tokens(text)[0]), place).numpy() for text in PROBE)
    frozen.store = find_store(root, key, StoreShape(1, opened.width, 1), probe)
    utterances = [Waveform(name, 0.0, functools.partial(np.asarray, found)) for name, found in ids.items()]
    compute = functools.partial(_states, frozen, device=place)
    extract(frozen.store, utterances, compute, device, limit_bytes, what="texts")
    return frozen


def _states(frozen: FrozenTexts, ids: Tensor, device: torch.device) -> Tensor:
    """Token ids to what a store holds of them, ``(1, 1, width)``."""
    return frozen.compute(ids.tolist(), device)[None, None]
