"""Correlation poolings of arXiv 2211.01756: plain and attentive."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from s3prl_emotion.pooling import poolings
from s3prl_emotion.pooling.base import (
    Pooling,
    Variant,
    centre,
    check_integer,
    check_positive,
    check_probability,
    check_variant,
    uniform_weights,
)

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


@poolings.register("correlation")
class Correlation(CorrelationBase):
    r"""Correlations between channels over time.

    .. math:: \mu = \frac{1}{T} \sum_t v_t, \quad
              \Sigma = \frac{1}{T} \sum_t (v_t - \mu)(v_t - \mu)^\top, \quad
              C_{ij} = \frac{\Sigma_{ij}}{\sqrt{\Sigma_{ii} + \varepsilon} \sqrt{\Sigma_{jj} + \varepsilon}}

    The d(d-1)/2 values above the diagonal come out, row by row in the order of :func:`torch.triu_indices`. From
    Stafylakis et al., Interspeech 2021 (arXiv 2104.02571); for emotion arXiv 2211.01756, section 3.3, where d = 256.

    The paper divides by :math:`s_i s_j + \varepsilon` with :math:`s = \sqrt{\operatorname{diag} \Sigma}`, whose
    gradient is NaN where a channel does not change (one frame, a dropped channel). ε inside both roots is finite
    everywhere and differs by about ε relative to the variance. Frames are centred before products are taken.

    Args:
        input_size: number of channels d, at least 2
        channel_dropout: probability in [0, 1) of dropping a channel for a whole utterance, in training only
        eps: ε above 0
        variant: ``released`` does as the authors' code: it ignores ``lengths``, so padding counts as frames; and it
            divides by the standard deviation over T - 1 plus 1e-9 (``eps`` is not used) but averages products over T.
            Theirs gives NaN for one frame; here the result is 0 in both variants

    Raises:
        ValueError: if an option is unknown or out of range

    Example:
        >>> import torch
        >>> x = torch.tensor([[[1.0, 2.0], [2.0, 0.0], [3.0, 1.0]]])
        >>> Correlation(2).eval()(x, torch.tensor([3]))
        tensor([[-0.5000]])
    """

    def __init__(
        self, input_size: int, *, channel_dropout: float = 0.25, eps: float = 1e-8, variant: Variant = "paper"
    ) -> None:
        super().__init__(input_size, channel_dropout, eps, variant)
        self.masks_padding = self.variant == "paper"

    def pool(self, v: Tensor, valid: Tensor) -> Tensor:
        v = self.drop_channels(v)
        if self.variant == "released":
            return self._correlate_as_released(v)
        return self.correlate(v, uniform_weights(valid, v.dtype))

    def weights(self, v: Tensor, valid: Tensor) -> Tensor:
        if self.variant == "released":
            return v.new_full(valid.shape, 1 / valid.shape[1])
        return super().weights(v, valid)

    def _correlate_as_released(self, v: Tensor) -> Tensor:
        batch, frames, _ = v.shape
        std = v.std(dim=1, correction=1 if frames > 1 else 0, keepdim=True)
        z = (v - v.mean(dim=1, keepdim=True)) / (std + self.eps)  # (batch, frames, d)
        matrix = z.transpose(1, 2) @ z / frames  # (batch, d, d)
        return matrix.flatten(1).gather(1, self._upper.expand(batch, -1))


@poolings.register("attentive_correlation")
class AttentiveCorrelation(CorrelationBase):
    r"""Correlations over time, frames weighted by multi-head attention (arXiv 2211.01756, section 3.4).

    .. math:: o_t = \operatorname{ReLU}(W_{att} v_t), \quad
              a_t = \log \sum_{h=1}^{H} \exp(q_h \cdot o_t + b_h), \quad
              w = \operatorname{softmax}_t(a)

    .. math:: \mu = \sum_t w_t v_t, \quad
              \Sigma = \sum_t w_t (v_t - \mu)(v_t - \mu)^\top, \quad
              C_{ij} = \frac{\Sigma_{ij}}{\sqrt{\Sigma_{ii} + \varepsilon} \sqrt{\Sigma_{jj} + \varepsilon}}

    The d(d-1)/2 values above the diagonal come out, row by row in the order of :func:`torch.triu_indices`. ε and
    centring are as in :class:`~s3prl_emotion.pooling.correlation.Correlation`.

    The softmax of a log-sum-exp over heads equals one softmax over all H × T scores summed over heads. That is how it
    is computed, so :meth:`head_weights` sums to :meth:`frame_weights`.

    Args:
        input_size: number of channels d, at least 2
        heads: number of heads H, at least 1
        channel_dropout: probability in [0, 1) of dropping a channel of v for a whole utterance, in training only
        eps: ε above 0
        variant: ``released`` does as the authors' code: the mask is added to the scores as 0 or 1, so padded frames
            keep weight and the batch matters; ε is 1e-9 (``eps`` is not used); and :math:`W_{att}` has a bias

    Raises:
        ValueError: if an option is unknown or out of range

    Example:
        >>> import torch
        >>> pooling = AttentiveCorrelation(256, heads=4)
        >>> pooling(torch.randn(2, 50, 256), torch.tensor([50, 20])).shape
        torch.Size([2, 32640])
    """

    def __init__(
        self,
        input_size: int,
        *,
        heads: int = 4,
        channel_dropout: float = 0.25,
        eps: float = 1e-8,
        variant: Variant = "paper",
    ) -> None:
        super().__init__(input_size, channel_dropout, eps, variant)
        self.heads = check_integer("heads", heads, minimum=1)
        self.masks_padding = self.variant == "paper"
        self.attention = nn.Linear(self.input_size, self.input_size, bias=self.variant == "released")
        self.queries = nn.Linear(self.input_size, self.heads)

    def pool(self, v: Tensor, valid: Tensor) -> Tensor:
        v = self.drop_channels(v)
        return self.correlate(v, self.weights(v, valid))

    def weights(self, v: Tensor, valid: Tensor) -> Tensor:
        return self._joint_softmax(v, valid).sum(dim=2)

    def head_weights(self, x: Tensor, lengths: Tensor) -> Tensor:
        """How much each head gives to each frame, as in evaluation: channel dropout is not applied.

        Args:
            x: frames, ``(batch, frames, features)``
            lengths: number of valid frames, ``(batch,)``

        Returns:
            weights ``(batch, heads, frames)`` that sum to 1 over heads and valid frames together, and over heads to
            :meth:`frame_weights`

        Raises:
            ValueError: as :meth:`forward`
        """
        v, valid = self._prepare(x, lengths)
        with torch.autocast(x.device.type, enabled=False):
            return self._joint_softmax(v, valid).transpose(1, 2)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, heads={self.heads}"

    def _joint_softmax(self, v: Tensor, valid: Tensor) -> Tensor:
        """Softmax over the scores of all heads and frames together, ``(batch, frames, heads)``."""
        hidden = F.relu(_linear(self.attention, v), inplace=True)  # (batch, frames, d)
        scores = _linear(self.queries, hidden)  # (batch, frames, heads)
        if self.variant == "released":
            scores = scores + valid.unsqueeze(-1)
        else:
            scores = scores.masked_fill(~valid.unsqueeze(-1), -float("inf"))
        return scores.flatten(1).softmax(dim=1).view_as(scores)


def _linear(layer: nn.Linear, v: Tensor) -> Tensor:
    """Apply ``layer`` in the precision of ``v``, whatever the precision of its parameters."""
    bias = None if layer.bias is None else layer.bias.to(v.dtype)
    return F.linear(v, layer.weight.to(v.dtype), bias)
