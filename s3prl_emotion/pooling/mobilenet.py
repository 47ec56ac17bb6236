"""MobileNetV2 over blocks of a spectrogram, as arXiv 2312.11503 has it over images of 1 s."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_emotion.errors import ConfigError
from s3prl_emotion.files import UNREADABLE
from s3prl_emotion.pooling import Pooling, poolings
from s3prl_emotion.pooling._options import check_integer, check_positive

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
            self.network.load_state_dict(features, assign=False)
        except UNREADABLE as error:
            raise ValueError(
                f"weights {file!r}: not the state dict of torchvision's MobileNetV2 of this width: "
                f"{' '.join(str(error).split())[:200]}"
            ) from error
