"""Mean and standard deviation pooling."""

from __future__ import annotations

import torch
from torch import Tensor

from s3prl_emotion.pooling import Pooling, poolings
from s3prl_emotion.pooling._masking import uniform_weights
from s3prl_emotion.pooling._moments import mean_and_variance
from s3prl_emotion.pooling._options import Variant, check_variant


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
