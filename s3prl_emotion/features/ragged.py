"""Ragged batches of utterances, and the weighted sum of layers over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import pad_sequence


class RaggedBatch(list[Tensor]):
    """A batch as S3PRL passes it on, a list of ``(frames_i, width)``, that also knows it in one piece.

    Args:
        flat: ``(sum of frames_i, width)``
        lengths: ``frames_i`` of each utterance
    """

    def __init__(self, flat: Tensor, lengths: Sequence[int]) -> None:
        super().__init__(flat.split(list(lengths)))
        self.flat = flat
        self.lengths = list(lengths)


def pack(features: list[Tensor]) -> RaggedBatch:
    """Any list of ``(frames_i, width)`` as :class:`RaggedBatch`; nothing is copied if it is one already."""
    if isinstance(features, RaggedBatch):
        return features
    return RaggedBatch(torch.cat(features), [len(item) for item in features])


def pad(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """``(frames_i, width)`` each to ``(batch, frames, width)``, zero-padded, and ``lengths (batch,)`` on the CPU."""
    lengths = torch.tensor([len(item) for item in features])
    return pad_sequence(list(features), batch_first=True), lengths


class LayerSum(nn.Module):
    r"""The sum of layers with learned weights: :math:`\sum_l \operatorname{softmax}(w)_l\, h_l` (SUPERB, section 3).

    The same function as S3PRL's ``Featurizer``, with the same parameter under the same name, so that checkpoints fit
    both. Where that one stacks all layers of the padded batch in memory, this one reads each utterance's states where
    they lie, in their own dtype, and writes a batch without padding.

    Args:
        layers: number of layers; with one, nothing is learned and nothing is stored in checkpoints
        normalize: layer-normalise every frame of every layer first (S3PRL's ``--upstream_feature_normalize``)
    """

    def __init__(self, layers: int, normalize: bool = False) -> None:
        super().__init__()
        self.normalize = normalize
        self.weights = nn.Parameter(torch.zeros(layers)) if layers > 1 else None

    def forward(self, blocks: list[Tensor]) -> Tensor:
        """Blocks ``(layers, frames_i, width)`` to ``(sum of frames_i, width)``, float32."""
        if self.normalize:
            blocks = [F.layer_norm(block.float(), block.shape[-1:]) for block in blocks]
        if self.weights is None:
            return torch.cat([block[0].float() for block in blocks])
        summed: Tensor = _LayerSum.apply(torch.softmax(self.weights, dim=-1), *blocks)  # type: ignore[no-untyped-call]
        return summed


class _LayerSum(torch.autograd.Function):
    """One pass over the states forward, one backward; float32 copies exist for one utterance at a time only."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, *blocks: Tensor) -> Tensor:
        ctx.blocks = blocks
        frames = [block.shape[1] for block in blocks]
        out = weights.new_empty(sum(frames), blocks[0].shape[2])
        for matrix, part in zip(_matrices(blocks, weights), out.split(frames), strict=True):
            torch.mv(matrix.t(), weights, out=part.view(-1))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        blocks = ctx.blocks
        total = grad.new_zeros(blocks[0].shape[0])
        parts = grad.contiguous().split([block.shape[1] for block in blocks])
        for matrix, part in zip(_matrices(blocks, grad), parts, strict=True):
            total.addmv_(matrix, part.view(-1))
        return (total, *[None] * len(blocks))


def _matrices(blocks: Sequence[Tensor], like: Tensor) -> Iterator[Tensor]:
    """Each block as ``(layers, frames_i * width)`` in the dtype of ``like``; the memory is that of the one before."""
    scratch = None
    for block in blocks:
        if block.dtype == like.dtype:
            yield block.flatten(1)
            continue
        if scratch is None:
            scratch = like.new_empty(max(item.numel() for item in blocks))
        yield scratch[: block.numel()].copy_(block.flatten()).view(block.shape[0], -1)
