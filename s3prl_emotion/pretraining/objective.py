"""Masked prediction: masks and objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from s3prl_emotion.errors import UpstreamError, suggest

# Which frames are masked: transformers' rule, which the paper's code uses, and fairseq's.
#
# Both mask ``prob * frames / length`` spans of ``length`` frames that may overlap, rounded up or down at random.
# fairseq then trims every utterance's mask to the smallest of its batch. An utterance's draws come from its own
# generator alone: they do not depend on batch mates, processes or what was drawn before.


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


class LabelHead(nn.Module):
    """Logits of a frame: cosine of its projection with each label's embedding, over a temperature.

    ``logits = normalise(W h + b) · normalise(E)ᵀ / τ``, which equals fairseq's and torchaudio's computation.

    Args:
        width: of a hidden state h
        labels: how many
        projection: width of the embeddings E
        temperature: τ
        generator: of the initial weights; embeddings are uniform in [0, 1) as in torchaudio
    """

    def __init__(
        self, width: int, labels: int, projection: int, temperature: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.projection = nn.Linear(width, projection)
        self.embeddings = nn.Parameter(torch.empty(labels, projection).uniform_(generator=generator))
        self.temperature = temperature
        bound = width**-0.5  # nn.Linear's own
        with torch.no_grad():
            self.projection.weight.uniform_(-bound, bound, generator=generator)
            self.projection.bias.uniform_(-bound, bound, generator=generator)

    def forward(self, states: Tensor) -> Tensor:
        """``(n, width)`` to ``(n, labels)``, computed in float32 at least."""
        projected = self.projection(states)
        with torch.autocast(projected.device.type, enabled=False):
            projected = projected.to(self.embeddings.dtype)
            return (
                functional.normalize(projected, dim=-1) @ functional.normalize(self.embeddings, dim=-1).T
            ) / self.temperature


class LossPart(NamedTuple):
    """What one forward pass gives: sums, so that parts and processes add up."""

    cross_entropy: Tensor  # summed over masked frames
    penalty: Tensor  # mean square of the convolutional features over all valid frames
    correct: Tensor  # masked frames whose label has the largest logit
    unmasked_correct: Tensor | None  # the same of the other frames, where it was asked for


class MaskedPrediction(nn.Module):
    """A transformers HuBERT with a mask and a label head.

    Args:
        hubert: transformers' ``HubertModel``, with or without a ``masked_spec_embed``
        labels: how many
        projection: see :class:`LabelHead`
        temperature: see :class:`LabelHead`
        freeze_convolutions: leave the convolutional encoder as it is
        generator: of the head's initial weights, and of the mask embedding's where there is none

    Raises:
        UpstreamError: if the model is no HuBERT
    """

    def __init__(
        self,
        hubert: Any,
        labels: int,
        projection: int,
        temperature: float,
        freeze_convolutions: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if hubert.config.model_type != "hubert":
            raise UpstreamError(f"expected a HuBERT, found a model of type {hubert.config.model_type!r}")
        self.hubert = hubert
        width = int(hubert.config.hidden_size)
        self.head = LabelHead(width, labels, projection, temperature, generator)
        if getattr(hubert, "masked_spec_embed", None) is None:
            hubert.masked_spec_embed = nn.Parameter(torch.empty(width).uniform_(generator=generator))
        self.freeze_convolutions = freeze_convolutions
        if freeze_convolutions:
            for parameter in hubert.feature_extractor.parameters():
                parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> MaskedPrediction:
        """As of any module, but frozen convolutions stay in evaluation mode."""
        super().train(mode)
        if self.freeze_convolutions:
            self.hubert.feature_extractor.eval()
        return self

    def states(self, waveforms: Tensor, lengths: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Last hidden states, and the penalty.

        Args:
            waveforms: ``(batch, samples)``, zero-padded
            lengths: ``(batch,)``, frames of each
            mask: ``(batch, frames)``, true where masked

        Returns:
            ``(batch, frames, width)`` and a scalar
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_convolutions):
            features = self.hubert.feature_extractor(waveforms).transpose(1, 2)
        valid = torch.arange(features.shape[1], device=features.device) < lengths[:, None]
        penalty = features.float().square()[valid].mean()
        hidden = self.hubert.feature_projection(features)
        hidden = torch.where(mask[..., None], self.hubert.masked_spec_embed.to(hidden.dtype), hidden)
        given = {} if bool((lengths == features.shape[1]).all()) else {"attention_mask": valid}
        return self.hubert.encoder(hidden, **given)[0], penalty

    def forward(
        self, waveforms: Tensor, lengths: Tensor, labels: Tensor, mask: Tensor, unmasked: bool = False
    ) -> LossPart:
        """The objective's sums over a part of a batch.

        Args:
            waveforms: ``(batch, samples)``, zero-padded
            lengths: ``(batch,)``, frames of each
            labels: ``(batch, frames)``
            mask: ``(batch, frames)``, true where masked; false behind each utterance's end
            unmasked: also count what is right where nothing is masked
        """
        states, penalty = self.states(waveforms, lengths, mask)
        logits = self.head(states[mask])
        targets = labels[mask]
        cross_entropy = functional.cross_entropy(logits, targets, reduction="sum")
        correct = (logits.detach().argmax(dim=-1) == targets).sum()
        others = None
        if unmasked:
            with torch.no_grad():
                valid = torch.arange(mask.shape[1], device=mask.device) < lengths[:, None]
                rest = valid & ~mask
                others = (self.head(states.detach()[rest]).argmax(dim=-1) == labels[rest]).sum()
        return LossPart(cross_entropy, penalty, correct, others)
