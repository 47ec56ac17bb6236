"""The contract of all poolings."""

from __future__ import annotations

import abc

import torch
from torch import Tensor, nn

from s3prl_emotion.pooling._masking import check_input, uniform_weights, valid_frames, zero_padding
from s3prl_emotion.pooling._options import check_integer


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
