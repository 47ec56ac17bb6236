"""Samples and frames of a convolutional encoder: how many, and where a frame begins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Framing:
    """How an encoder of waveforms divides samples into frames; HuBERT's frame hears 400 samples and starts every 320.

    Raises:
        ValueError: if a size is below 1
    """

    kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)

    def __post_init__(self) -> None:
        if len(self.kernels) != len(self.strides) or min((*self.kernels, *self.strides), default=0) < 1:
            raise ValueError(f"expected kernels and strides of as many layers, found {self.kernels}, {self.strides}")

    @classmethod
    def of(cls, config: object) -> Framing:
        """The framing of a transformers configuration."""
        kernels: Sequence[int] = config.conv_kernel  # type: ignore[attr-defined]
        strides: Sequence[int] = config.conv_stride  # type: ignore[attr-defined]
        return cls(tuple(kernels), tuple(strides))

    @property
    def hop(self) -> int:
        """Samples from the beginning of a frame to that of the next."""
        return math.prod(self.strides)

    @property
    def reach(self) -> int:
        """Samples that one frame hears."""
        return self.samples(1)

    def frames(self, samples: int) -> int:
        """Frames of a waveform: ``(samples - 400) // 320 + 1`` for HuBERT; 0 of one that is shorter than a frame."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            if samples < kernel:
                return 0
            samples = (samples - kernel) // stride + 1
        return samples

    def samples(self, frames: int) -> int:
        """The fewest samples that give so many frames."""
        for kernel, stride in zip(reversed(self.kernels), reversed(self.strides), strict=True):
            frames = (frames - 1) * stride + kernel
        return frames
