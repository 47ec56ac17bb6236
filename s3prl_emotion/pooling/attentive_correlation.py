"""Attentive correlation pooling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s3prl_emotion.pooling import poolings
from s3prl_emotion.pooling._correlation import CorrelationBase
from s3prl_emotion.pooling._options import Variant, check_integer


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
