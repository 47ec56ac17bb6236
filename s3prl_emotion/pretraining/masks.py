"""Which frames are masked: transformers' rule, which the paper's code uses, and fairseq's.

Both mask ``prob * frames / length`` spans of ``length`` frames that may overlap, rounded up or down at random. fairseq
then trims every utterance's mask to the smallest of its batch. An utterance's draws come from its own generator alone:
they do not depend on batch mates, processes or what was drawn before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from s3prl_emotion.errors import suggest


@dataclass(frozen=True)
class MaskSettings:
    """Which frames are masked."""

    rule: str = "transformers"  # or fairseq: every mask of a batch is trimmed to the smallest
    prob: float = 0.8
    length: int = 10  # frames of a span
    min_masks: int = 2  # spans of an utterance

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"unknown mask rule {self.rule!r}. {suggest(self.rule, RULES)}")
        if not 0 < self.prob <= 1:
            raise ValueError(f"prob must be in (0, 1], got {self.prob}")
        if self.length < 1 or self.min_masks < 0:
            raise ValueError(f"length must be at least 1 and min_masks at least 0, got {self.length}, {self.min_masks}")


def transformers_mask(
    lengths: Sequence[int], settings: MaskSettings, generators: Sequence[np.random.Generator]
) -> np.ndarray:
    """``_compute_mask_indices`` of transformers: every utterance keeps the spans it drew.

    Args:
        lengths: frames of each utterance
        settings: ``prob``, ``length`` and ``min_masks``
        generators: one for each utterance

    Returns:
        ``(batch, frames)``, true where masked; never behind an utterance's end
    """
    mask = np.zeros((len(lengths), max(lengths)), dtype=bool)
    span = settings.length
    for row, frames, generator in zip(mask, lengths, generators, strict=True):
        count = max(int(settings.prob * frames / span + generator.random()), settings.min_masks)
        count = min(count, frames // span, max(frames - (span - 1), 0))
        if count < 1:
            continue
        starts = generator.choice(frames - (span - 1), count, replace=False)
        row[(starts[:, None] + np.arange(span)).ravel()] = True
    return mask


def fairseq_mask(
    lengths: Sequence[int], settings: MaskSettings, generators: Sequence[np.random.Generator]
) -> np.ndarray:
    """``compute_mask_indices`` of fairseq (and torchaudio): masks are trimmed to the batch's smallest.

    Arguments and result are those of :func:`transformers_mask`.
    """
    found: list[np.ndarray] = []
    span = settings.length
    for frames, generator in zip(lengths, generators, strict=True):
        count = max(int(settings.prob * frames / span + generator.random()), settings.min_masks)
        width = span if frames - span > count else max(frames - count - 1, 0)
        starts = generator.permutation(frames - width)[:count]
        covered = (starts[:, None] + np.arange(span)).ravel()
        found.append(np.unique(covered[covered < frames]))
    smallest = min(len(item) for item in found)
    mask = np.zeros((len(lengths), max(lengths)), dtype=bool)
    for row, covered, generator in zip(mask, found, generators, strict=True):
        row[covered if len(covered) == smallest else generator.choice(covered, smallest, replace=False)] = True
    return mask


def fewest_frames(settings: MaskSettings) -> int:
    """The frames that a clip must have for the rule to mask any of them."""
    return settings.length if settings.rule == "transformers" else 1


RULES: Mapping[str, Callable[[Sequence[int], MaskSettings, Sequence[np.random.Generator]], np.ndarray]] = {
    "transformers": transformers_mask,
    "fairseq": fairseq_mask,
}
"""Mask rules by name."""
