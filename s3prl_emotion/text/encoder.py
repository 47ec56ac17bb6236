"""The text encoder: hidden states, mean vectors."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from s3prl_emotion.features.extraction import Waveform, extract
from s3prl_emotion.features.lookup import find_store
from s3prl_emotion.features.store import Store, StoreKey, StoreShape
from s3prl_emotion.random_state import preserved_random_state
from s3prl_emotion.text.loading import TextSource, load_encoder


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    r"""Mean over the tokens that count: :math:`\sum_t m_t h_t / \sum_t m_t`.

    Args:
        states: ``(batch, tokens, width)``
        mask: ``(batch, tokens)``, 1 for a token, special ones included, and 0 for padding; one at least counts

    Returns:
        ``(batch, width)``; what padding holds has no influence
    """
    weights = mask.to(states.dtype).unsqueeze(-1)
    return states.masked_fill(~mask.bool().unsqueeze(-1), 0.0).sum(dim=1) / weights.sum(dim=1)


class TextEncoder(nn.Module):
    """Lists of token ids to vectors ``(batch, width)``: the masked mean of the last hidden states.

    Args:
        opened: the encoder; its random state and that of others is left as it was
    """

    def __init__(self, opened: TextSource) -> None:
        super().__init__()
        with preserved_random_state():  # the head begins the same, whatever was drawn for weights that are replaced
            self.model = load_encoder(opened)
        self.padding = opened.padding

    def forward(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Token ids of each text to ``(batch, width)``; shorter texts are padded, and padding is masked throughout."""
        device = next(self.model.parameters()).device
        longest = max(map(len, tokens))
        ids = torch.tensor([[*item, *[self.padding] * (longest - len(item))] for item in tokens], device=device)
        lengths = torch.tensor([len(item) for item in tokens], device=device)
        mask = torch.arange(longest, device=device)[None] < lengths[:, None]
        states = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return masked_mean(states, mask)


class FrozenTexts:
    """Vectors of texts by an encoder that is not trained: each computed once, alone, and kept.

    No module: a frozen encoder is no part of a head's parameters, nor of its checkpoints.

    Args:
        opened: the encoder, which is loaded when a vector is wanted that is not there
        store: vectors that are stored, see :mod:`s3prl_emotion.text.encoder`
    """

    def __init__(self, opened: TextSource, store: Store | None = None) -> None:
        self.opened = opened
        self.store = store
        self._kept: dict[str, Tensor] = {}
        self._encoder: TextEncoder | None = None

    @torch.no_grad()
    def __call__(self, texts: Sequence[str], device: torch.device) -> Tensor:
        """Texts to ``(batch, width)`` on ``device``."""
        for text in texts:
            if text not in self._kept:
                self._kept[text] = self._stored(self.opened.tokens(text)[0], device)
        return torch.stack([self._kept[text] for text in texts]).to(device)

    def compute(self, ids: Sequence[int], device: torch.device) -> Tensor:
        """The vector ``(width,)`` of one text, on the CPU."""
        if self._encoder is None:
            self._encoder = TextEncoder(self.opened).eval().requires_grad_(False)
        with torch.no_grad():
            vector: Tensor = self._encoder.to(device)([ids])[0].float().cpu()
        return vector

    def _stored(self, ids: list[int], device: torch.device) -> Tensor:
        key = tokens_key(ids)
        if self.store is not None and key in self.store:
            return self.store.read(key)[0, 0].clone()
        return self.compute(ids, device)


def tokens_key(ids: Sequence[int]) -> str:
    """Fingerprint of token ids: 128 bits of BLAKE2b. It stands for the text, the tokenizer, and where it was cut."""
    return hashlib.blake2b(np.asarray(ids, dtype="<i8").tobytes(), digest_size=16).hexdigest()


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
