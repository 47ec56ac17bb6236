"""Poolings by moments over time: mean, mean and standard deviation, attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from s3prl_emotion.pooling import Pooling, poolings
from s3prl_emotion.pooling.base import Variant, centre, check_variant, uniform_weights, weighted_sum


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


@poolings.register("mean")
class Mean(Pooling):
    r"""Time mean, the pooling of SUPERB's emotion head.

    .. math:: r = \frac{1}{T} \sum_{t=1}^{T} h_t

    Baseline of arXiv 2211.01756, section 3.2; the output has ``input_size`` features.

    Args:
        input_size: number of features of a frame

    Example:
        >>> import torch
        >>> x = torch.tensor([[[1.0], [3.0], [99.0]]])
        >>> Mean(1)(x, torch.tensor([2]))
        tensor([[2.]])
    """

    def __init__(self, input_size: int) -> None:
        super().__init__(input_size)
        self.output_size = self.input_size

    def pool(self, v: Tensor, valid: Tensor) -> Tensor:
        return v.sum(dim=1) / valid.sum(dim=1, keepdim=True)


@poolings.register("attention")
class Attention(Pooling):
    r"""Weighted time mean with one learned score per frame, from FLEA (arXiv 2312.16383, fine-tuning stage).

    .. math:: e_t = \tanh(w \cdot h_t), \quad a = \operatorname{softmax}_t(e), \quad r = \sum_t a_t h_t

    w starts uniform in (0, 1) and there is no bias. The softmax runs over the valid frames. As scores lie in (-1, 1),
    no frame can weigh more than e² times another. The output has ``input_size`` features.

    Args:
        input_size: number of features of a frame

    Example:
        >>> import torch
        >>> pooling = Attention(1)
        >>> pooling(torch.tensor([[[5.0], [5.0], [99.0]]]), torch.tensor([2])).item()
        5.0
    """

    def __init__(self, input_size: int) -> None:
        super().__init__(input_size)
        self.output_size = self.input_size
        self.weight = nn.Parameter(torch.rand(self.input_size))

    def pool(self, v: Tensor, valid: Tensor) -> Tensor:
        return weighted_sum(self.weights(v, valid), v)

    def weights(self, v: Tensor, valid: Tensor) -> Tensor:
        scores = torch.tanh(v @ self.weight.to(v.dtype))  # (batch, frames)
        return scores.masked_fill(~valid, -float("inf")).softmax(dim=1)


@poolings.register("mean_std")
class MeanStd(Pooling):
    r"""Time mean beside the element-wise standard deviation over time.

    .. math:: r = [\mu; \sigma], \quad \mu = \frac{1}{T} \sum_t h_t, \quad
              \sigma = \sqrt{\tfrac{1}{T} \sum_t (h_t - \mu) \odot (h_t - \mu)}

    Baseline of arXiv 2211.01756, section 3.2; the output has ``2 * input_size`` features, means first.

    Where a channel does not change, σ is 0 and its gradient, which the formula leaves undefined, is set to 0.

    Args:
        input_size: number of features of a frame
        variant: ``released`` divides by T - 1 instead of T, as the authors' code does. Theirs gives NaN for one frame;
            here σ of one frame is 0 in both variants

    Raises:
        ValueError: if ``variant`` is unknown

    Example:
        >>> import torch
        >>> MeanStd(1)(torch.tensor([[[1.0], [3.0]]]), torch.tensor([2]))
        tensor([[2., 1.]])
    """

    def __init__(self, input_size: int, *, variant: Variant = "paper") -> None:
        super().__init__(input_size)
        self.variant = check_variant(variant)
        self.output_size = 2 * self.input_size

    def pool(self, v: Tensor, valid: Tensor) -> Tensor:
        mean, variance = mean_and_variance(v, uniform_weights(valid, v.dtype))  # (batch, features) each
        if self.variant == "released":
            frames = valid.sum(dim=1, keepdim=True)
            variance = variance * frames / (frames - 1).clamp(min=1)
        return torch.cat((mean, _sqrt(variance)), dim=1)


def _sqrt(variance: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0, not infinite."""
    changes = variance > 0
    return torch.where(changes, torch.where(changes, variance, 1.0).sqrt(), 0.0)
