"""What both correlation poolings share: channel dropout, the upper triangle, and the correlation itself."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from s3prl_emotion.pooling._base import Pooling
from s3prl_emotion.pooling._masking import centre
from s3prl_emotion.pooling._options import Variant, check_integer, check_positive, check_probability, check_variant

#: ε of the authors' code, which hard-codes it
RELEASED_EPS = 1e-9


class CorrelationBase(Pooling):
    """Options, buffers and steps that the two correlation poolings have in common.

    Args:
        input_size: number of channels d, at least 2; the output has d(d-1)/2 features
        channel_dropout: probability in [0, 1) of dropping a channel
        eps: ε above 0, added to variances
        variant: ``paper`` or ``released``
    """

    _upper: Tensor
    _mirror: Tensor

    def __init__(self, input_size: int, channel_dropout: float, eps: float, variant: Variant) -> None:
        super().__init__(input_size)
        size = check_integer("input_size of correlations", input_size, minimum=2)
        self.channel_dropout = check_probability("channel_dropout", channel_dropout)
        self.variant = check_variant(variant)
        self.eps = check_positive("eps", eps)
        if self.variant == "released":
            self.eps = RELEASED_EPS
        self.output_size = size * (size - 1) // 2
        row, column = torch.triu_indices(size, size, offset=1)
        place = torch.zeros(size, size, dtype=torch.long)
        place[row, column] = torch.arange(self.output_size)
        # where in a flattened matrix the upper triangle lies, and where in the triangle each entry of the matrix lies
        self.register_buffer("_upper", row * size + column, persistent=False)
        self.register_buffer("_mirror", (place + place.T).flatten(), persistent=False)

    def drop_channels(self, v: Tensor) -> Tensor:
        """Zero whole channels of each utterance and scale up the others, in training only."""
        if not self.training or self.channel_dropout == 0:
            return v
        return v * F.dropout(v.new_ones(len(v), 1, self.input_size), self.channel_dropout)

    def correlate(self, v: Tensor, weights: Tensor) -> Tensor:
        """Correlations above the diagonal, row by row: ``(batch, frames, d)`` to ``(batch, d(d-1)/2)``."""
        found: Tensor = _WeightedCorrelation.apply(v, weights, self.eps, self._upper, self._mirror)  # type: ignore[no-untyped-call]
        return found

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, channel_dropout={self.channel_dropout}, eps={self.eps}, variant={self.variant}"


class _WeightedCorrelation(torch.autograd.Function):
    r"""Upper triangle of the weighted correlation matrix, with a backward pass of one matrix product.

    Forward, with weights that sum to 1::

        μ = Σ_t w_t v_t      c_t = v_t - μ      Σ = Σ_t w_t c_t c_tᵀ      r = (diag Σ + ε)^(-1/2)      C = Σ ⊙ r rᵀ

    Backward, with H the symmetric matrix that holds the gradient of C's upper triangle on both sides, zero diagonal::

        ∂L/∂r_i = Σ_j H_ij Σ_ij r_j                  ∂r_i/∂Σ_ii = -r_i³/2
        G = H ⊙ r rᵀ, with -r_i² Σ_j H_ij C_ij on its diagonal      (the gradient of Σ plus its transpose)
        ∂L/∂v_t = w_t G c_t                          ∂L/∂w_t = c_tᵀ G c_t / 2

    μ contributes nothing because Σ_t w_t c_t = 0. Autograd would need two matrix products and a scattered write; here
    the same G serves v and w, and both directions of the triangle are reads. Once differentiable.
    """

    @staticmethod
    def forward(ctx: Any, v: Tensor, weights: Tensor, eps: float, upper: Tensor, mirror: Tensor) -> Tensor:
        w = weights.unsqueeze(-1)  # (batch, frames, 1)
        _, centred = centre(weights, v)  # (batch, frames, d)
        correlation = torch.bmm((centred * w).transpose(1, 2), centred)  # (batch, d, d), still the covariance
        scale = torch.rsqrt(correlation.diagonal(dim1=1, dim2=2) + eps)  # (batch, d)
        correlation.mul_(scale.unsqueeze(1)).mul_(scale.unsqueeze(2))
        ctx.save_for_backward(centred, weights, scale, correlation, mirror)
        return correlation.flatten(1).gather(1, upper.expand(len(v), -1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        centred, weights, scale, correlation, mirror = ctx.saved_tensors
        batch, size = scale.shape
        with torch.autocast(grad.device.type, enabled=False):
            g = grad.gather(1, mirror.expand(batch, -1)).view(batch, size, size)
            g.diagonal(dim1=1, dim2=2).zero_()
            shrink = torch.linalg.vecdot(g, correlation)  # (batch, d)
            g.mul_(scale.unsqueeze(1)).mul_(scale.unsqueeze(2))
            g.diagonal(dim1=1, dim2=2).copy_(-scale.square() * shrink)
            product = torch.bmm(centred, g)  # (batch, frames, d)
            grad_weights = torch.linalg.vecdot(centred, product) / 2 if ctx.needs_input_grad[1] else None
            grad_v = product.mul_(weights.unsqueeze(-1)) if ctx.needs_input_grad[0] else None
        return grad_v, grad_weights, None, None, None
