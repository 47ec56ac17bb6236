"""Poolings: the frames of an utterance in, one vector out.

A pooling registers under its name in configurations. A new one is a class in the file of its family, or one new file:

.. code-block:: python

    from torch import Tensor

    from s3prl_emotion.pooling import Pooling, poolings


    @poolings.register("max")
    class Max(Pooling):
        def __init__(self, input_size: int) -> None:
            super().__init__(input_size)
            self.output_size = input_size

        def pool(self, v: Tensor, valid: Tensor) -> Tensor:
            return v.masked_fill(~valid.unsqueeze(-1), -float("inf")).amax(dim=1)

``tests/pooling`` holds every registered pooling to the contract that :class:`Pooling` states.
"""

from __future__ import annotations

from s3prl_emotion.pooling.base import Pooling
from s3prl_emotion.registry import Registry

poolings: Registry[type[Pooling]] = Registry("pooling", "s3prl_emotion.pooling")

__all__ = ["Pooling", "poolings"]
