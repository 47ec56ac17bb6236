"""The 1-D convolutional network of arXiv 2312.11503."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from s3prl_emotion.pooling import Pooling, poolings
from s3prl_emotion.pooling._batch_norm import MaskedBatchNorm
from s3prl_emotion.pooling._options import check_integer, check_probability

BLOCKS = ((2, 4, True), (4, 2, True), (2, 1, False))
"""Convolutions of a block, their channels in units of ``width``, and whether normalisation and dropout follow."""


@poolings.register("cnn")
class Cnn(Pooling):
    """Convolutions over time, then a time mean and two dense layers (arXiv 2312.11503, the 1-D CNN).

    2 convolutions of 256 channels, batch normalisation, dropout; 4 of 128, batch normalisation, dropout; 2 of 64; two
    dense layers, dropout. All kernels are 8 frames wide, padded to keep the length (3 before, 4 behind), with ReLU
    after each layer. The linear layer of the head is the paper's softmax layer.

    Not stated there, and ours: that it convolves over time, frame by frame, and averages over time where a network for
    vectors flattens; the size of the dense layers (64); the initialisation (Glorot's uniform, as in Keras). Batch
    normalisation without scale and shift at the input stands for the paper's standard scaling.

    Padded frames are zero before each convolution and count in no statistic. In evaluation an utterance does not depend
    on its batch mates. In training it does, as with any batch normalisation: through mean and variance of each channel
    over the valid frames of its batch (of one micro-batch, where gradients are accumulated).

    Args:
        input_size: number of features of a frame
        width: a quarter of the first block's channels; 64 is the paper's
        kernel: frames that a convolution sees
        dropout: of the three dropout layers

    Raises:
        ValueError: if an option is out of range
    """

    mixes_batch = True

    def __init__(self, input_size: int, *, width: int = 64, kernel: int = 8, dropout: float = 0.6) -> None:
        super().__init__(input_size)
        self.output_size = check_integer("width", width, minimum=1)
        self.kernel = check_integer("kernel", kernel, minimum=1)
        self.dropout = check_probability("dropout", dropout)
        self.scaling = MaskedBatchNorm(self.input_size, affine=False)
        self.blocks = nn.ModuleList()
        self.norms = nn.ModuleList()
        channels = self.input_size
        for count, units, normalised in BLOCKS:
            block = nn.ModuleList()
            for _ in range(count):
                block.append(nn.Conv1d(channels, units * width, self.kernel))
                channels = units * width
            self.blocks.append(block)
            if normalised:
                self.norms.append(MaskedBatchNorm(channels))
        self.dense = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        for layer in self.modules():
            if isinstance(layer, (nn.Conv1d, nn.Linear)):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(cast(Tensor, layer.bias))

    def pool(self, v: Tensor, valid: Tensor) -> Tensor:
        if v.shape[0] == 0:
            return v.new_zeros(0, self.output_size)
        counts = valid.to(v.dtype)
        mask = counts.unsqueeze(-1)
        x = self.scaling(v, counts) * mask
        for place, block in enumerate(self.blocks):
            for layer in cast(nn.ModuleList, block):
                x = functional.relu(self._convolved(cast(nn.Conv1d, layer), x)) * mask
            if place < len(self.norms):
                x = functional.dropout(self.norms[place](x, counts), self.dropout, self.training) * mask
        r = x.sum(dim=1) / counts.sum(dim=1, keepdim=True)  # (batch, width)
        for layer in self.dense:
            dense = cast(nn.Linear, layer)
            r = functional.relu(functional.linear(r, dense.weight.to(r.dtype), dense.bias.to(r.dtype)))
        return functional.dropout(r, self.dropout, self.training)

    def _convolved(self, layer: nn.Conv1d, x: Tensor) -> Tensor:
        """``(batch, frames, channels)`` to the layer's channels, the number of frames kept."""
        before = (self.kernel - 1) // 2
        padded = functional.pad(x.transpose(1, 2), (before, self.kernel - 1 - before))
        bias = None if layer.bias is None else layer.bias.to(x.dtype)
        return functional.conv1d(padded, layer.weight.to(x.dtype), bias).transpose(1, 2)
