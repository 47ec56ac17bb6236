"""Which frames count, and the checks on what enters a pooling."""

from __future__ import annotations

import torch
from torch import Tensor


def valid_frames(lengths: Tensor, frames: int) -> Tensor:
    """True on the first ``lengths[b]`` frames of utterance ``b``: ``(batch,)`` to ``(batch, frames)``."""
    return torch.arange(frames, device=lengths.device) < lengths.unsqueeze(1)


def zero_padding(x: Tensor, valid: Tensor) -> Tensor:
    """``x (batch, frames, features)`` with padded frames replaced by zero, whatever they held."""
    return torch.where(valid.unsqueeze(-1), x, 0.0)


def uniform_weights(valid: Tensor, dtype: torch.dtype) -> Tensor:
    """1/T on the T valid frames, 0 on padding: ``(batch, frames)``."""
    return valid.to(dtype) / valid.sum(dim=1, keepdim=True)


def weighted_sum(weights: Tensor, v: Tensor) -> Tensor:
    """Σ_t w_t v_t: ``(batch, frames)`` and ``(batch, frames, features)`` to ``(batch, features)``."""
    return torch.bmm(weights.unsqueeze(1), v).squeeze(1)


def centre(weights: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over time, and frames around it whose weighted sum is zero to the precision of *their* size.

    In one pass it is zero to the precision of ``v`` only: a gradient that relies on Σ_t w_t c_t = 0 is then wrong where
    one frame holds nearly all weight, or where the mean is large beside the deviations. A second pass mends both.

    Args:
        weights: sum to 1, ``(batch, frames)``
        v: ``(batch, frames, features)``

    Returns:
        the mean ``(batch, features)``, and frames minus the mean, ``(batch, frames, features)``
    """
    mean = weighted_sum(weights, v)
    centred = v - mean.unsqueeze(1)
    rest = weighted_sum(weights, centred)
    return mean + rest, centred.sub_(rest.unsqueeze(1))


def check_input(x: Tensor, lengths: Tensor, features: int) -> None:
    """Check what enters a pooling. Reads no value of a tensor on a GPU, so it never waits for one.

    Raises:
        ValueError: if something does not fit; the message names both sides
    """
    if x.ndim != 3:
        raise ValueError(f"x must be (batch, frames, features), but its shape is {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"x must be floating point, but its dtype is {x.dtype}")
    batch, frames, given = x.shape
    if given != features:
        raise ValueError(f"x and pooling differ in features: {given} != {features}")
    if lengths.ndim != 1:
        raise ValueError(f"lengths must be (batch,), but its shape is {tuple(lengths.shape)}")
    if len(lengths) != batch:
        raise ValueError(f"x and lengths differ in batch: {batch} != {len(lengths)}")
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise ValueError(f"lengths must be whole numbers of frames, but its dtype is {lengths.dtype}")
    if lengths.device.type != "cpu" or batch == 0 or torch.compiler.is_compiling():
        return
    shortest, longest = (int(bound) for bound in torch.aminmax(lengths))
    if shortest < 1:
        raise ValueError(
            f"every utterance needs at least one frame, but utterance {int(lengths.argmin())} has {shortest}"
        )
    if longest > frames:
        raise ValueError(f"lengths and x differ in frames: utterance {int(lengths.argmax())} has {longest} > {frames}")
