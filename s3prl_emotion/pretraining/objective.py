"""Masked prediction of frame labels (HuBERT, arXiv 2106.07447; FLEA, arXiv 2312.16383)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from s3prl_emotion.errors import UpstreamError


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
