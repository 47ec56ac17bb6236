"""An S3PRL upstream, run once over a corpus into a store, and put in its own place afterwards."""

from __future__ import annotations

import argparse
import functools
import hashlib
import logging
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from s3prl_emotion.audio import SAMPLE_RATE_HZ, waveform_key
from s3prl_emotion.audio.preparation import WHOLE, Preparation
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.features.extraction import Waveform, extract
from s3prl_emotion.features.forms import Form
from s3prl_emotion.features.lookup import find_store
from s3prl_emotion.features.store import StoreKey, StoreShape
from s3prl_emotion.features.upstream import CachedUpstream
from s3prl_emotion.random_state import preserved_random_state
from s3prl_emotion.s3prl_runner.building import build, ref_of
from s3prl_emotion.s3prl_runner.selection import check_selection, probe_states, rate_of, states
from s3prl_emotion.s3prl_runner.unbatched import behaviour, source_sha256

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CacheOptions:
    """Where hidden states are stored, and how."""

    root: Path = Path("result/cache")
    dtype: str = "float16"
    limit_bytes: int | None = None
    device: str | None = None  # where states are kept during training; None: the training device

    def __post_init__(self) -> None:
        """Check the device.

        Raises:
            ConfigError: if it is none, or is not here
        """
        if self.device is None:
            return
        try:
            device = torch.device(self.device)
        except RuntimeError:
            device = None
        if device is None or device.type not in ("cpu", "cuda"):
            raise ConfigError(f"--cache-device {self.device}: expected cpu, cuda or cuda:N")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if device.type == "cuda" and (device.index or 0) >= count:
            raise ConfigError(
                f"--cache-device {self.device}: torch {torch.__version__} sees {count or 'no'} CUDA device"
                f"{'' if count == 1 else 's'} here; leave it out, or use cpu"
            )


def open_cache(
    args: argparse.Namespace,
    manifest: Manifest,
    options: CacheOptions,
    checkpoints: tuple[str | None, str | None],
    form: Form,
    preparation: Preparation = WHOLE,
    title: str | None = None,
) -> CachedUpstream:
    """Store what is missing of a manifest's hidden states, and return the upstream that reads them.

    Args:
        args: S3PRL's arguments: upstream, checkpoint, ``-s``, ``-l``, device
        manifest: checked, so that every utterance's ``content`` is known
        options: where and how
        checkpoints: SHA-256 of ``-k`` and ``-g``
        form: what is stored of every layer: all frames, or statistics over time
        preparation: of each utterance, from the times that the manifest has for it
        title: the upstream in messages, where the user gave it another name

    Raises:
        ConfigError: with a trainable upstream, whose hidden states change
        UpstreamError: if the upstream does not give what ``-s`` and ``-l`` ask for
    """
    if args.upstream_trainable:
        raise ConfigError(
            "-f trains the upstream, so its hidden states change with every step: no cache; leave --cache out"
        )
    upstream = build(ref_of(args), args.device, args.upstream_refresh)
    title = title or args.upstream
    rate = rate_of(upstream, args.upstream_feature_selection, title)
    loud = probe_states(upstream, argparse.Namespace(**{**vars(args), "upstream": title}), rate)
    check_selection(args, loud.shape[0])
    every_frame = functools.partial(
        states,
        upstream,
        selection=args.upstream_feature_selection,
        layer=args.upstream_layer_selection,
        rate=rate,
    )
    probe = behaviour(every_frame, loud, args.device, title)
    compute = functools.partial(every_frame, form=form)
    key = StoreKey(
        upstream=args.upstream,
        weights=fingerprint(upstream),
        checkpoint_sha256=checkpoints[0],
        model_config_sha256=checkpoints[1],
        selection=args.upstream_feature_selection,
        layer=args.upstream_layer_selection,
        form=form,
        dtype="float32" if form != "frames" or getattr(upstream, "keeps_float32", False) else options.dtype,
        s3prl=metadata.version("s3prl"),
        source_sha256=source_sha256(args.upstream),
    )
    store = find_store(options.root, key, StoreShape(probe[0].shape[0], probe[0].shape[2], rate), probe)
    store.title = title
    utterances = utterances_of(manifest, preparation)
    extract(store, utterances, compute, args.device, options.limit_bytes)
    keys = [item.key for item in utterances]

    def again(number: int) -> Tensor:
        with preserved_random_state():  # the training goes on as if nothing had been damaged
            return compute(torch.from_numpy(utterances[number].read()).to(args.device))

    return CachedUpstream(store, keys, compute, args.device, options.device or args.device, again)


def utterances_of(manifest: Manifest, preparation: Preparation = WHOLE) -> list[Waveform]:
    """The utterances of a checked manifest as :func:`~s3prl_emotion.features.extraction.extract` takes them."""
    return [_utterance(manifest, index, preparation) for index in range(len(manifest.utterances))]


def fingerprint(upstream: nn.Module) -> str:
    """128 bits of BLAKE2b over names, shapes and values of all parameters and buffers."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(upstream.state_dict().items()):
        if isinstance(value, Tensor):
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _utterance(manifest: Manifest, index: int, preparation: Preparation) -> Waveform:
    utterance = manifest.utterances[index]
    max_samples = preparation.max_samples

    def read() -> np.ndarray:
        return preparation.waveform(manifest.path_of(utterance), utterance.start_s, utterance.end_s)

    duration_s = utterance.duration_s or 0.0
    is_cut = max_samples is not None and (utterance.content is None or duration_s * SAMPLE_RATE_HZ > max_samples)
    if is_cut or utterance.content is None:
        return Waveform(waveform_key(read()), min(duration_s, (max_samples or 0) / SAMPLE_RATE_HZ) or duration_s, read)
    return Waveform(utterance.content, duration_s, read)
