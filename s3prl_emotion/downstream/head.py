"""What is trained on top of the upstream's weighted sum."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s3prl_emotion.downstream.config import ModelConfig
from s3prl_emotion.features.packed import Packed, pad
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

    def forward(self, features: Packed) -> Tensor:
        """Features of a batch, each ``(frames_i, input_size)``, to logits ``(batch, classes)``."""
        return self.classifier(self.pooling(*self._project(features)))

    @torch.no_grad()
    def frame_weights(self, features: Packed) -> Tensor:
        """The weight of every frame in the pooled vector, ``(batch, frames)``, rows summing to 1, zero on padding."""
        return self.pooling.frame_weights(*self._project(features))

    def _project(self, features: Packed) -> tuple[Tensor, Tensor]:
        """Projected features, padded, ``(batch, frames, width)``, and their lengths.

        Frames are projected without padding. Only poolings that see padding (``variant: released``) get it as S3PRL
        makes it: padded first, so that it holds the projector's bias.
        """
        if self.pooling.masks_padding:
            return pad(self.dropout(self.projector(features.flat)), features.lengths)
        x, lengths = pad(features.flat, features.lengths)
        return self.dropout(self.projector(x)), lengths


def sees_only_means(config: ModelConfig) -> bool:
    """Whether the head is a function of the features' time mean alone.

    Weighted sum, linear projection and time mean commute: ``mean_t P(sum_l w_l h_lt) = P(sum_l w_l mean_t h_lt)``.
    So for mean pooling, without dropout in between, one mean vector for each layer is all that training needs.
    """
    return config.pooling == {"name": "mean"} and config.dropout == 0.0
