"""FLEA's attention pooling."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s3prl_emotion.pooling import Pooling, poolings
from s3prl_emotion.pooling._masking import weighted_sum


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
