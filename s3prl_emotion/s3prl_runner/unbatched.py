"""An upstream that runs one utterance at a time, and probes of its output."""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib
import inspect
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_emotion.audio import SAMPLE_RATE_HZ
from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.features.forms import Form
from s3prl_emotion.features.lookup import Probe, probe_distance
from s3prl_emotion.features.store import DTYPES
from s3prl_emotion.s3prl_runner.building import build, ref_of
from s3prl_emotion.s3prl_runner.selection import check_selection, probe_states, probe_waveform, rate_of, states

_SAME = 1e-3
"""States of two calls in one process may differ by this much (:func:`probe_distance`): GPUs add in any order."""


def behaviour(compute: Callable[[Tensor], Tensor], loud: Tensor, device: str, name: str) -> Probe:
    """The states of three waveforms: loud noise, quiet noise, and a voice-like sweep with pauses and an offset.

    An upstream that scales, normalises, filters or cuts its input in another way gives other states for one of them.

    Args:
        compute: waveform ``(samples,)`` on ``device`` to all frames ``(layers, frames, width)``
        loud: the states of :func:`probe_waveform`
        device: where the upstream is
        name: ``-u``, for messages

    Returns:
        the states of each

    Raises:
        UpstreamError: if the same waveform gives other states the second time
    """
    answers = [compute(waveform.to(device)) for waveform in (quiet_noise(), sweep(), probe_waveform(device))]
    quiet, voice, again = (item.float().cpu().numpy() for item in answers)
    first = loud.float().cpu().numpy()
    if again.shape != first.shape or (difference := probe_distance(first, again)) > _SAME:
        how = "" if again.shape != first.shape else f" (they differ by {difference:.2g}, relative)"
        raise UpstreamError(
            f"-u {name}: two calls on the same waveform give different states{how}, so that none could be stored. Is "
            "dropout, masking or another random step on in evaluation mode? Switch it off there; --no-cache trains on "
            "whatever each call gives"
        )
    return first, quiet, voice


def quiet_noise() -> Tensor:
    """Half a second of noise at -60 dB."""
    return 1e-3 * torch.randn(SAMPLE_RATE_HZ // 2, generator=torch.Generator().manual_seed(1))


def sweep() -> Tensor:
    """One and a half seconds: a tone with harmonics that rises from 100 to 220 Hz, with pauses and an offset."""
    seconds = torch.arange(3 * SAMPLE_RATE_HZ // 2) / SAMPLE_RATE_HZ
    phase = 2 * math.pi * (100 * seconds + 40 * seconds**2)
    tone = sum((torch.sin(order * phase) / order for order in range(1, 9)), torch.zeros(()))
    voiced = 0.3 * tone * torch.clamp(torch.sin(2 * math.pi * 4 * seconds), min=0)
    floor = 1e-4 * torch.randn(len(seconds), generator=torch.Generator().manual_seed(2))
    return voiced + floor + 0.02


def source_sha256(name: str) -> str | None:
    """SHA-256 of the file that defines an upstream on ``s3prl.hub``; None for S3PRL's own, whose version is known."""
    function = inspect.unwrap(getattr(importlib.import_module("s3prl.hub"), name))
    if function.__module__.partition(".")[0] == "s3prl":
        return None
    file = getattr(sys.modules.get(function.__module__), "__file__", None)
    return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()


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
