"""What an exported folder holds.

``config.json`` says what the heads are and what they were trained on. ``head.safetensors`` holds, for each fold ``N``,
``fold<N>.head.<parameter>``, ``fold<N>.layer_weights`` (they sum to 1) and ``fold<N>.layer_logits`` (the same before
the softmax; computed with, so that results are the same to the bit). ``upstream.safetensors`` holds a fine-tuned
upstream's ``fold<N>.<parameter>``. ``README.md`` is the model card.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from s3prl_emotion.deployment.parts import UpstreamUse
from s3prl_emotion.downstream.config import ModelConfig
from s3prl_emotion.runs.results import Results

FORMAT = "s3prl-emotion head"
VERSION = 1
CONFIG_FILE = "config.json"
HEAD_FILE = "head.safetensors"
UPSTREAM_FILE = "upstream.safetensors"
CARD_FILE = "README.md"
FILES = (CONFIG_FILE, HEAD_FILE, UPSTREAM_FILE, CARD_FILE)


@dataclass(frozen=True)
class Features:
    """What the upstream gives."""

    sample_rate_hz: int
    rate: int  # samples per frame
    width: int  # features per frame
    layers: int  # in the weighted sum


@dataclass(frozen=True)
class CorpusFacts:
    """What the heads were trained on."""

    name: str
    licence: str | None = None
    citation: str | None = None


@dataclass(frozen=True)
class ExportConfig:
    """``config.json``."""

    format: str
    version: int
    upstream: UpstreamUse
    features: Features
    downstream: str  # the -d name
    modelrc: ModelConfig
    labels: tuple[str, ...]
    folds: tuple[int, ...]
    corpus: CorpusFacts
    max_duration_s: float | None = None  # the first seconds of a recording only
    trim_zeros: bool = False  # leave out digital zeros at both ends of a recording
    results: Results | None = None  # the run's results.json
    versions: dict[str, Any] | None = None  # of the packages that exported
