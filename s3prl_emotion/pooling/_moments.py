"""Weighted mean and variance over time, with a backward pass of one sweep."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s3prl_emotion.pooling._masking import centre, weighted_sum


def mean_and_variance(v: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """μ = Σ_t w_t v_t and Σ_t w_t (v_t - μ)², centred before squaring.

    Args:
        v: frames, ``(batch, frames, features)``
        weights: constant weights that sum to 1, ``(batch, frames)``

    Returns:
        mean and variance, each ``(batch, features)``
    """
    found: tuple[Tensor, Tensor] = _Moments.apply(v, weights)  # type: ignore[no-untyped-call]
    return found


class _Moments(torch.autograd.Function):
    """∂L/∂v_t = w_t (∂L/∂μ + 2 (v_t - μ) ∂L/∂var): μ inside the variance adds nothing, as Σ_t w_t (v_t - μ) = 0."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        mean, centred = centre(weights, v)
        ctx.save_for_backward(centred, weights)
        return mean, weighted_sum(weights, centred.square())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_mean: Tensor, grad_variance: Tensor) -> tuple[Tensor, None]:
        centred, weights = ctx.saved_tensors
        grad = torch.addcmul(grad_mean.unsqueeze(1), centred, grad_variance.unsqueeze(1), value=2)
        return grad.mul_(weights.unsqueeze(-1)), None
