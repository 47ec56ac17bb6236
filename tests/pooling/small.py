"""Poolings that are networks, in sizes that tests can afford."""

from __future__ import annotations

from typing import Any

import torch

from s3prl_emotion.pooling import Pooling, poolings
from s3prl_emotion.pooling.convolutional import MaskedBatchNorm

SMALL: dict[str, dict[str, Any]] = {"cnn": {"width": 8}, "mobilenet": {"block": 5, "width": 0.1}}
BY_LENGTH = {"mobilenet"}
"""Poolings whose shapes depend on lengths: which blocks there are is known where the lengths are."""
DEEP = {"mobilenet"}
"""Networks of others, so deep that at random weights single precision and float16's range are felt."""


def small(name: str, input_size: int, **options: Any) -> Pooling:
    """A pooling in evaluation mode; where it normalises, with statistics of a batch, as after training."""
    pooling: Pooling = poolings.build(name, {**SMALL.get(name, {}), **options}, input_size=input_size)
    layers = [
        layer
        for layer in pooling.modules()
        if isinstance(layer, (MaskedBatchNorm, torch.nn.modules.batchnorm._BatchNorm))
    ]
    if layers:
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.momentum = 1.0
        x = torch.randn(6, 9, input_size, generator=torch.Generator().manual_seed(5))
        with torch.no_grad():
            pooling.train()(x, torch.tensor([9, 9, 8, 7, 5, 1]))
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    return pooling.eval()
