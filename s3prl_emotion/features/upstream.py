"""Stored hidden states behind S3PRL's upstream interface."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from s3prl_emotion.audio import waveform_key
from s3prl_emotion.errors import RunError
from s3prl_emotion.features.extraction import writing
from s3prl_emotion.features.ragged import LayerSum, RaggedBatch
from s3prl_emotion.features.store import DamagedEntry, Store
from s3prl_emotion.features.writing import Writer

logger = logging.getLogger(__name__)

_GPU_SHARE = 0.8
"""Of the free memory of a device, this share may be filled with states."""


def ticket(number: int) -> Tensor:
    """A stand-in for the waveform of utterance ``number`` (0, 1, ...).

    It holds no element and carries the number in its shape ``(0, number)``. So it passes through the Runner, which
    makes a float tensor of every "waveform" and moves it to the device, without a copy, and is read on the other
    side without waiting for the device.
    """
    return torch.empty(0, number)


class CachedUpstream(nn.Module):
    """An S3PRL upstream whose hidden states are stored.

    Tickets give the states of the utterances that they name; waveforms are looked up by their content, and run through
    ``compute`` where the store does not hold them.

    Args:
        store: where the states are
        keys: the store's key of each utterance, by number
        compute: waveform at 16 kHz, ``(samples,)``, to states ``(layers, frames, width)``; without it,
            unknown waveforms are an error
        device: where states are wanted
        keep_on: where the named utterances' states are kept, as far as they fit; on the CPU the file cache does that
        again: the states of an utterance by its number, computed again where the stored ones are damaged; without it,
            damaged states are an error
    """

    def __init__(
        self,
        store: Store,
        keys: Sequence[str],
        compute: Callable[[Tensor], Tensor] | None = None,
        device: str = "cpu",
        keep_on: str = "cpu",
        again: Callable[[int], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.store = store
        self.keys = list(keys)
        self._compute = compute
        self._device = torch.device(device)
        self._kept: dict[str, Tensor] = {}
        self._again = again
        self.texts: Any = None  # stored vectors of what is said, for a head that reads it
        self._numbers: dict[str, int] = {}
        for number, key in enumerate(self.keys):
            self._numbers.setdefault(key, number)
        if torch.device(keep_on).type == "cuda":
            self._keep(torch.device(keep_on))

    def get_downsample_rates(self, key: str | None = None) -> int:
        """Samples per frame."""
        return self.store.rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """Tickets or waveforms to ``{"blocks": [(layers, frames_i, width), ...]}``, each in the store's dtype."""
        return {"blocks": [self.block(wav) for wav in wavs]}

    def hidden_states(self, wavs: list[Tensor]) -> dict[str, Any]:
        """The same as S3PRL's other upstreams give it: layers, each ``(batch, frames, width)``, zero-padded."""
        blocks = [self.block(wav).float() for wav in wavs]
        layers = [
            pad_sequence([block[layer] for block in blocks], batch_first=True) for layer in range(self.store.layers)
        ]
        return {"hidden_states": layers, "last_hidden_state": layers[-1]}

    def block(self, wav: Tensor) -> Tensor:
        """The states of one ticket or waveform, ``(layers, frames, width)``.

        Raises:
            RunError: for a waveform that the store does not hold, without ``compute``; for damaged states, without
                ``again``
        """
        if wav.ndim == 2:
            key = self.keys[wav.shape[1]]
        else:
            key = waveform_key(wav.detach().cpu().numpy())
            if key not in self.store:
                if self._compute is None:
                    raise RunError(f"{self.store.folder}: this waveform's hidden states are not stored")
                return self._compute(wav)
        kept = self._kept.get(key)
        return (self._read(key) if kept is None else kept).to(self._device, non_blocking=True)

    def _read(self, key: str) -> Tensor:
        """The stored states; computed and stored again where they are damaged."""
        if key not in self.store:
            self.store.refresh()  # damaged here, and perhaps mended by another process
        try:
            if key in self.store:
                return self.store.read(key)
        except DamagedEntry:
            if self._again is None:
                raise
        if self._again is None:
            raise RunError(f"{self.store.folder}: the states of utterance {key} are not stored any more")
        logger.warning("%s: the states of utterance %s are computed again", self.store.folder, key)
        states = self._again(self._numbers[key])
        try:
            with writing(self.store), Writer(self.store) as writer:
                writer.write(key, states)
        except RunError as error:
            logger.warning("%s", error)
            self._kept[key] = states.to(self.store.dtype)
            return self._kept[key]
        self.store.refresh()
        return self.store.read(key)

    def read_ahead(self, numbers: Sequence[int]) -> None:
        """Have the states of these utterances brought into memory while something else is computed."""
        self.store.read_ahead([self.keys[number] for number in numbers if self.keys[number] not in self._kept])

    def _keep(self, device: torch.device) -> None:
        free, _ = torch.cuda.mem_get_info(device)
        budget = int(free * _GPU_SHARE)
        for key in dict.fromkeys(self.keys):
            size = self.store.frames(key) * self.store.frame_bytes
            if size > budget:
                break
            self._kept[key] = self._read(key).to(device)
            budget -= size
        logger.info("%d of %d utterances' states kept on %s", len(self._kept), len(set(self.keys)), device)


class BlockFeaturizer(LayerSum):
    """S3PRL's featurizer over :class:`CachedUpstream`: the weighted sum of each utterance's layers, without padding."""

    def __init__(self, store: Store, normalize: bool = False) -> None:
        super().__init__(store.layers, normalize)
        self.output_dim = store.width
        self.downsample_rate = store.rate

    def forward(self, wavs: list[Tensor], features: dict[str, Any]) -> RaggedBatch:  # type: ignore[override]
        """What the upstream gave for ``wavs`` to ``(frames_i, width)`` for each utterance."""
        blocks = features["blocks"]
        return RaggedBatch(super().forward(blocks), [block.shape[1] for block in blocks])
