"""An upstream that runs every utterance alone: what a store of hidden states would hold, without one."""

from __future__ import annotations

import argparse
import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_emotion.features.forms import Form
from s3prl_emotion.features.store import DTYPES
from s3prl_emotion.s3prl_runner.building import build, ref_of
from s3prl_emotion.s3prl_runner.selection import check_selection, probe_states, rate_of, states


@dataclass(frozen=True)
class StateShape:
    """What :class:`~s3prl_emotion.features.upstream.BlockFeaturizer` reads of a store."""

    layers: int
    width: int
    rate: int


class UnbatchedUpstream(nn.Module):
    """Waveforms to the states that a run with stored states saw, rounded as they are there.

    So a batch of such a run can be made again, with its padding, on another machine and without its store.

    Args:
        args: S3PRL's arguments: upstream, checkpoint, ``-s``, ``-l``, device
        dtype: of the stored states
        form: all frames, or the time mean of every layer
    """

    def __init__(self, args: argparse.Namespace, dtype: str, form: Form) -> None:
        super().__init__()
        upstream = build(ref_of(args), args.device, args.upstream_refresh)
        rate = rate_of(upstream, args.upstream_feature_selection, args.upstream)
        self._compute = functools.partial(
            states,
            upstream,
            selection=args.upstream_feature_selection,
            layer=args.upstream_layer_selection,
            rate=rate,
            form=form,
        )
        self._dtype = DTYPES[dtype]
        probe = probe_states(upstream, args, rate)
        check_selection(args, probe.shape[0])
        self.store: Any = StateShape(probe.shape[0], probe.shape[2], rate)

    def get_downsample_rates(self, key: str | None = None) -> int:
        """Samples per frame."""
        return int(self.store.rate)

    @torch.no_grad()
    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """Waveforms to ``{"blocks": [(layers, frames_i, width), ...]}``."""
        return {"blocks": [self._compute(wav).to(self._dtype) for wav in wavs]}
