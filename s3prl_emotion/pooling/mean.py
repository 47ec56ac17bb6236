"""Mean pooling."""

from __future__ import annotations

from torch import Tensor

from s3prl_emotion.pooling import Pooling, poolings


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
