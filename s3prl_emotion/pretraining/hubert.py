"""Reading and writing a HuBERT in transformers format, with its feature extractor."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from s3prl_emotion.errors import RunError, UpstreamError
from s3prl_emotion.files import clean_up, named, sync, temporary_beside
from s3prl_emotion.pretraining.frames import Framing

MASK_EMBEDDING = "masked_spec_embed"


@dataclass(frozen=True)
class Base:
    """A HuBERT and what belongs to it."""

    model: Any  # transformers' HubertModel, float32
    extractor: Any
    layerdrop: float = 0.0  # as its configuration says; while it is loaded, it is off

    @property
    def blocks(self) -> int:
        """Transformer blocks, L."""
        return int(self.model.config.num_hidden_layers)

    @property
    def framing(self) -> Framing:
        """How it divides samples into frames."""
        return Framing.of(self.model.config)

    def prepared(self, waveform: np.ndarray) -> np.ndarray:
        """A whole utterance as the model wants it: with zero mean and unit variance if it was trained so."""
        if not self.extractor.do_normalize:
            return waveform
        return np.asarray((waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7), dtype=np.float32)


def read_base(folder: Path) -> Base:
    """Load a HuBERT; the mask embedding is kept where the weights hold one, whatever the configuration says.

    Raises:
        UpstreamError: if it is no HuBERT, or cannot be loaded
    """
    from s3prl_emotion.upstreams.transformers import load_encoder, read_config
    from s3prl_emotion.upstreams.weights import read_weights, weight_files

    if not folder.is_dir():
        raise UpstreamError(f"{folder}: no such folder; expected a HuBERT in transformers format, or a Hub id")
    kind = read_config(folder).model_type
    if kind != "hubert":
        raise UpstreamError(
            f"{folder}: expected a HuBERT, found a model of type {kind!r}: this recipe trains HuBERT only"
        )
    encoder = load_encoder(folder)
    model = encoder.model
    stored = {
        name.rpartition(".")[2]: value
        for name, value in read_weights(weight_files(folder), str(folder)).items()
        if name.rpartition(".")[2] == MASK_EMBEDDING
    }
    if MASK_EMBEDDING in stored:
        model.masked_spec_embed = nn.Parameter(stored[MASK_EMBEDDING].float().clone())
    elif hasattr(model, MASK_EMBEDDING):
        del model.masked_spec_embed  # drawn by transformers from the global generator
    from transformers import HubertConfig

    own = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return Base(model, encoder.extractor, float(own.get("layerdrop", HubertConfig().layerdrop)))


def write_model(base: Base, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
    """Write a model and its feature extractor in transformers format.

    Args:
        base: the architecture, and the weights unless others are given
        folder: to make; it must not hold anything that is kept
        weights: of the model, by name
    """
    if weights is not None:
        if MASK_EMBEDDING in weights and getattr(base.model, MASK_EMBEDDING, None) is None:
            base.model.masked_spec_embed = nn.Parameter(weights[MASK_EMBEDDING].clone())
        base.model.load_state_dict(weights)
    from s3prl_emotion.upstreams.pretrained import quiet

    base.model.config.layerdrop = base.layerdrop
    with quiet():
        base.model.save_pretrained(folder)
    base.extractor.save_pretrained(folder)


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill beside ``folder``, which takes its place when it is complete; those of killed processes go."""
    clean_up(folder.parent)
    temporary = temporary_beside(folder)
    temporary.mkdir(parents=True)
    try:
        with named(folder):
            yield temporary
            sync(temporary)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except SafetensorError as error:  # its word for a disk that is full
        raise RunError(
            f"{folder}: the weights cannot be written ({str(error).splitlines()[0]}). Make room there, then repeat the "
            "command: what is computed is kept"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def seeded(seed: int) -> torch.Generator:
    """A generator of its own for initial weights."""
    return torch.Generator().manual_seed(seed)
