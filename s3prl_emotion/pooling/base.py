"""Base class of poolings, and masks of valid frames."""

from __future__ import annotations

import abc
import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn


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


#: ``paper``: the formula as published. ``released``: what the authors' code computes, faults included
Variant = Literal["paper", "released"]


def check_variant(value: Any) -> Variant:
    """Return ``value`` if it is a known variant.

    Raises:
        ValueError: if it is not
    """
    known: tuple[Variant, ...] = get_args(Variant)
    if value not in known:
        raise ValueError(f"variant must be one of {', '.join(known)}, got {value!r}")
    return known[known.index(value)]


def check_integer(name: str, value: Any, minimum: int) -> int:
    """Return ``value`` if it is a whole number of at least ``minimum``.

    Raises:
        ValueError: if it is not
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f"{name} must be a whole number of at least {minimum}, got {value!r}")
    return value


def check_probability(name: str, value: Any) -> float:
    """Return ``value`` if it is a number in [0, 1).

    Raises:
        ValueError: if it is not
    """
    if not _is_number(value) or not 0 <= value < 1:
        raise ValueError(f"{name} must be a number in [0, 1), got {value!r}")
    return float(value)


def check_positive(name: str, value: Any) -> float:
    """Return ``value`` if it is a finite number above zero.

    Raises:
        ValueError: if it is not; a number that YAML reads as text is named as such
    """
    if isinstance(value, str):
        raise ValueError(
            f"{name} must be a number above 0, got the text {value!r} (YAML wants a point: 1.0e-8, not 1e-8)"
        )
    if not _is_number(value) or not (0 < value < math.inf):
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class Pooling(nn.Module, abc.ABC):
    """Frames to one vector per utterance.

    Every pooling promises:

    - padded frames have no influence whatever, even where they hold NaN, and receive gradients of exactly zero;
    - an utterance gives the same vector alone, padded, and beside any others in a batch;
    - one frame, and frames that do not change, give finite vectors and finite gradients;
    - dtype and device are those of the input. Half-precision input (float16, bfloat16, autocast) is pooled in float32
      and the result is rounded once, at the end.

    ``variant="released"`` of some poolings breaks the first two promises on purpose: it reproduces published code.

    A subclass sets :attr:`output_size` and overrides :meth:`pool`, and :meth:`weights` if its frames do not weigh the
    same. Checks, masking and precision are done here, before either is called.

    Args:
        input_size: number of features of a frame

    Raises:
        ValueError: if ``input_size`` is not a whole number above zero
    """

    #: number of features of the vector that comes out
    output_size: int

    #: whether padded frames are set to zero before pooling; false only where a released fault is reproduced
    masks_padding: bool = True

    #: whether utterances of a batch meet in training, in statistics over it: then the whole batch is pooled at once
    mixes_batch: bool = False

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.input_size = check_integer("input_size", input_size, minimum=1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Pool a padded batch.

        Args:
            x: frames, ``(batch, frames, features)``, floating point
            lengths: number of valid frames of each utterance, ``(batch,)``, whole numbers in 1 ... frames

        Returns:
            one vector per utterance, ``(batch, output_size)``

        Raises:
            ValueError: if shapes or dtypes do not fit, or a length is outside 1 ... frames. Lengths that live on a
                GPU are not read back to check their range; pass them on the CPU to have it checked
        """
        v, valid = self._prepare(x, lengths)
        with torch.autocast(x.device.type, enabled=False):
            return self.pool(v, valid).to(x.dtype)

    def frame_weights(self, x: Tensor, lengths: Tensor) -> Tensor:
        """How much each frame counts, as in evaluation: channel dropout is not applied.

        Args:
            x: frames, ``(batch, frames, features)``
            lengths: number of valid frames, ``(batch,)``

        Returns:
            weights ``(batch, frames)``: they sum to 1 over the valid frames and are exactly 0 on padding. float32 if
            ``x`` has half precision, else of its dtype

        Raises:
            ValueError: as :meth:`forward`
        """
        v, valid = self._prepare(x, lengths)
        with torch.autocast(x.device.type, enabled=False):
            return self.weights(v, valid)

    @abc.abstractmethod
    def pool(self, v: Tensor, valid: Tensor) -> Tensor:
        """The pooling itself.

        Args:
            v: frames, ``(batch, frames, features)``, float32 or float64, zero on padding
            valid: true on valid frames, ``(batch, frames)``

        Returns:
            ``(batch, output_size)``
        """

    def weights(self, v: Tensor, valid: Tensor) -> Tensor:
        """Frame weights ``(batch, frames)`` for the same arguments as :meth:`pool`; uniform unless overridden."""
        return uniform_weights(valid, v.dtype)

    def extra_repr(self) -> str:
        return f"{self.input_size} -> {self.output_size}"

    def _prepare(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        check_input(x, lengths, self.input_size)
        valid = valid_frames(lengths.to(x.device, non_blocking=True), x.shape[1])
        v = zero_padding(x, valid) if self.masks_padding else x
        return v.to(torch.promote_types(x.dtype, torch.float32)), valid
