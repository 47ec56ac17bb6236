"""What is trained on top of the upstream's weighted sum."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from s3prl_emotion.downstream.config import ModelConfig
from s3prl_emotion.pooling import Pooling, poolings


class Head(nn.Module):
    """Projector -> dropout -> pooling -> linear classifier.

    Args:
        input_size: width of the upstream's features
        classes: number of emotions
        config: widths and pooling
    """

    def __init__(self, input_size: int, classes: int, config: ModelConfig) -> None:
        super().__init__()
        width = config.projector_dim or input_size
        self.projector = nn.Linear(input_size, width) if config.projector_dim else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        options = dict(config.pooling)
        self.pooling: Pooling = poolings.build(options.pop("name"), options, where="pooling", input_size=width)
        self.classifier = nn.Linear(self.pooling.output_size, classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``x (batch, frames, input_size)`` and ``lengths (batch,)`` to logits ``(batch, classes)``."""
        return self.classifier(self.pooling(self.dropout(self.projector(x)), lengths))

    @torch.no_grad()
    def frame_weights(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The weight of every frame in the pooled vector, ``(batch, frames)``, rows summing to 1."""
        return self.pooling.frame_weights(self.dropout(self.projector(x)), lengths)


def pad(features: list[Tensor]) -> tuple[Tensor, Tensor]:
    """A list of ``(frames, features)`` to ``(batch, frames, features)`` and ``lengths (batch,)`` on the same device."""
    lengths = torch.tensor([len(item) for item in features], device=features[0].device)
    return pad_sequence(features, batch_first=True), lengths
