"""Small HuBERTs and clips for the tests of pretraining."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import HubertConfig, HubertModel

from s3prl_emotion.pretraining.batches import Clip
from s3prl_emotion.pretraining.frames import Framing


def small_hubert(norm: str = "layer", stable: bool = False, **changes: Any) -> HubertModel:
    """Two layers of width 16 with random weights."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "conv_dim": (8,) * 7,
        "feat_extract_norm": norm,
        "do_stable_layer_norm": stable,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
        "mask_time_prob": 0.05,
        "layerdrop": 0.0,
    }
    return HubertModel(HubertConfig(**{**settings, **changes}))


def noise_clips(lengths: Sequence[int], classes: int = 5, seed: int = 0) -> list[Clip]:
    """Clips of noise with random labels."""
    rng = np.random.default_rng(seed)
    framing = Framing()
    clips = []
    for number, samples in enumerate(lengths):
        waveform = rng.standard_normal(samples).astype(np.float32)
        labels = rng.integers(classes, size=framing.frames(samples)).astype(np.int32)
        clips.append(Clip(f"clip{number}", samples, labels, lambda waveform=waveform: waveform))  # type: ignore[misc]
    return clips
