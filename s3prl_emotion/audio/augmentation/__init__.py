"""Augmentation: a waveform in, a changed one out, with what was drawn for it.

An effect registers under its name in configurations. A new one is a class in ``transforms.py``, or one new file:

.. code-block:: python

    import numpy as np

    from s3prl_emotion.audio.augmentation import Effect, effects


    @effects.register("invert")
    class Invert(Effect):
        name = "invert"

        def apply(self, waveform, rate_hz, generator, drawn):
            return -waveform

Several in a row, each with its probability, are an :class:`~s3prl_emotion.audio.augmenting.Augmentation`.
``tests/audio/test_augmentation.py`` holds every registered effect to the contract that :class:`Effect` states.
"""

from __future__ import annotations

from s3prl_emotion.audio.augmentation.base import Disturbed, Effect, Range, generator_of
from s3prl_emotion.registry import Registry

effects: Registry[type[Effect]] = Registry("effect", "s3prl_emotion.audio.augmentation")

__all__ = ["Disturbed", "Effect", "Range", "effects", "generator_of"]
