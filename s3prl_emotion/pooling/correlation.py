"""Correlation pooling."""

from __future__ import annotations

from torch import Tensor

from s3prl_emotion.pooling import poolings
from s3prl_emotion.pooling._correlation import CorrelationBase
from s3prl_emotion.pooling._masking import uniform_weights
from s3prl_emotion.pooling._options import Variant


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
