"""Convolutional networks as poolings: the 1-D CNN and MobileNetV2 of arXiv 2312.11503."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from s3prl_emotion.errors import ConfigError
from s3prl_emotion.files import UNREADABLE
from s3prl_emotion.module_weights import load_weights
from s3prl_emotion.pooling import Pooling, poolings
from s3prl_emotion.pooling.base import check_integer, check_positive, check_probability


class MaskedBatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy, ICML 2015) of frames, whose statistics leave padding out.

    Training: mean and biased variance of each channel over all valid frames of the batch; running statistics follow
    with ``momentum``, the variance unbiased, as :class:`torch.nn.BatchNorm1d` does on the valid frames alone.
    Evaluation: running statistics, so that an utterance does not depend on its batch mates.

    Args:
        channels: features of a frame
        affine: learn a scale and a shift
        momentum: of the running statistics
        eps: added to the variance
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, affine: bool = True, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Normalise ``x (batch, frames, channels)``; ``valid (batch, frames)`` is 1 on frames that count, else 0."""
        mean, variance = self.running_mean.to(x.dtype), self.running_var.to(x.dtype)
        if self.training and x.shape[0] > 0:
            weights = valid.unsqueeze(-1)
            count = weights.sum()
            mean = (x * weights).sum(dim=(0, 1)) / count
            variance = ((x - mean).square() * weights).sum(dim=(0, 1)) / count
            with torch.no_grad():
                unbiased = variance * count / (count - 1).clamp(min=1)
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        y = (x - mean) * (variance + self.eps).rsqrt()
        if self.weight is not None and self.bias is not None:
            y = y * self.weight.to(x.dtype) + self.bias.to(x.dtype)
        return y


CHANNELS = 3
"""Colours of an image: the same spectrogram in each, so that weights of images fit."""


@poolings.register("mobilenet")
class MobileNet(Pooling):
    """Each block of frames through torchvision's MobileNetV2 (Sandler et al., CVPR 2018), then the mean over blocks.

    A block of ``block`` frames and all their features is one image; MobileNetV2 without its classifier gives 1280
    numbers. 250 frames are the second of arXiv 2312.11503 with ``-u spectrogram_16ms_4ms``.

    Not stated there, and ours: blocks follow each other without a gap, and the last one ends with the clip, over frames
    of the one before; a clip shorter than a block is repeated until it fills one; blocks are averaged. So no image
    holds padding, and batch normalisation sees valid frames only. In evaluation an utterance does not depend on its
    batch mates. In training it does, as with any batch normalisation: through the statistics over all images of its
    batch (of one micro-batch, where gradients are accumulated).

    The network starts from random weights; ``weights`` names a file of others, torchvision's own ``mobilenet_v2`` for
    example. It is read wherever the run is used, so keep it.

    Args:
        input_size: number of features of a frame
        block: frames of an image
        width: of the network, torchvision's ``width_mult``
        weights: a file with a state dict of torchvision's MobileNetV2

    Raises:
        ValueError: if an option is out of range, or the file does not fit
        ConfigError: if torchvision is not installed
    """

    mixes_batch = True

    def __init__(self, input_size: int, *, block: int = 250, width: float = 1.0, weights: str | None = None) -> None:
        super().__init__(input_size)
        self.block = check_integer("block", block, minimum=1)
        try:
            from torchvision.models.mobilenetv2 import MobileNetV2
        except ImportError as error:
            raise ConfigError(
                "the pooling mobilenet needs torchvision: pip install 's3prl-emotion[mobilenet]'"
            ) from error
        network = MobileNetV2(num_classes=1, width_mult=check_positive("width", width))
        self.network: nn.Module = network.features
        self.output_size = int(network.last_channel)
        if weights is not None:
            self._load(weights)

    def pool(self, v: Tensor, valid: Tensor) -> Tensor:
        if v.shape[0] == 0:
            return v.new_zeros(0, self.output_size)
        frames, counted = self._blocks(valid)  # (batch, blocks, block), (batch, blocks)
        owners, _ = counted.nonzero(as_tuple=True)
        images = v[owners.unsqueeze(-1), frames[counted]]  # (images, block, features)
        pictures = images.unsqueeze(1).expand(-1, CHANNELS, -1, -1)
        parts = {name: part.to(v.dtype) if part.is_floating_point() else part for name, part in self._parts()}
        seen: Tensor = torch.func.functional_call(self.network, parts, pictures).mean(dim=(2, 3))  # (images, channels)
        summed = seen.new_zeros(v.shape[0], self.output_size).index_add(0, owners, seen)
        return summed / counted.sum(dim=1, keepdim=True)

    def weights(self, v: Tensor, valid: Tensor) -> Tensor:
        """How often a frame stands in an image of its utterance, over all their frames; within one all weigh alike."""
        frames, counted = self._blocks(valid)
        share = counted.to(v.dtype) / (counted.sum(dim=1, keepdim=True) * self.block)
        each = share.unsqueeze(-1).expand(-1, -1, self.block)
        found = torch.zeros(v.shape[:2], dtype=v.dtype, device=v.device)
        return found.scatter_add(1, frames.flatten(1), each.flatten(1))

    def _blocks(self, valid: Tensor) -> tuple[Tensor, Tensor]:
        """The frames of each block, ``(batch, blocks, block)``, and which blocks there are, ``(batch, blocks)``."""
        lengths = valid.sum(dim=1, keepdim=True)  # (batch, 1)
        most = -(-valid.shape[1] // self.block)
        numbers = torch.arange(most, device=valid.device).unsqueeze(0)
        counted = numbers * self.block < lengths
        starts = torch.minimum(numbers * self.block, (lengths - self.block).clamp(min=0))
        frames = starts.unsqueeze(-1) + torch.arange(self.block, device=valid.device)
        return frames % lengths.unsqueeze(-1), counted

    def _parts(self) -> list[tuple[str, Tensor]]:
        return [*self.network.named_parameters(), *self.network.named_buffers()]

    def _load(self, file: str) -> None:
        path = Path(file).expanduser()
        if not path.is_file():
            raise ValueError(f"weights {file!r}: no such file")
        try:
            given: Any = torch.load(path, map_location="cpu", weights_only=True)
            features = {
                name.removeprefix("features."): part for name, part in given.items() if name.startswith("features.")
            }
            load_weights(self.network, features)
        except UNREADABLE as error:
            raise ValueError(
                f"weights {file!r}: not the state dict of torchvision's MobileNetV2 of this width: "
                f"{' '.join(str(error).split())[:200]}"
            ) from error


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
