"""Batch normalisation over valid frames only."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaskedBatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy, ICML 2015) of frames, whose statistics leave padding out.

    Training: mean and biased variance of each channel over all valid frames of the batch; running statistics follow
    with ``momentum``, the variance unbiased, as :class:`torch.nn.BatchNorm1d` does on the valid frames alone.
    Evaluation: running statistics, so that an utterance does not depend on its batch mates.

    Args:
        channels: features of a frame
        affine: learn a scale and a shift
        momentum: of the running statistics
        eps: added to the variance
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, affine: bool = True, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Normalise ``x (batch, frames, channels)``; ``valid (batch, frames)`` is 1 on frames that count, else 0."""
        mean, variance = self.running_mean.to(x.dtype), self.running_var.to(x.dtype)
        if self.training and x.shape[0] > 0:
            weights = valid.unsqueeze(-1)
            count = weights.sum()
            mean = (x * weights).sum(dim=(0, 1)) / count
            variance = ((x - mean).square() * weights).sum(dim=(0, 1)) / count
            with torch.no_grad():
                unbiased = variance * count / (count - 1).clamp(min=1)
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        y = (x - mean) * (variance + self.eps).rsqrt()
        if self.weight is not None and self.bias is not None:
            y = y * self.weight.to(x.dtype) + self.bias.to(x.dtype)
        return y
