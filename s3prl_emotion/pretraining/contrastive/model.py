"""Model of contrastive pretraining: S3PRL's weighted sum of layers, projection and pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from s3prl_emotion.downstream.config import ModelConfig
from s3prl_emotion.downstream.head import Trunk
from s3prl_emotion.downstream.speaker_task import SpeakerTask
from s3prl_emotion.features.ragged import LayerSum, RaggedBatch
from s3prl_emotion.pretraining.contrastive.settings import LossSettings, ModelSettings

LAYERS = "layer_weights"
"""The name of the layer weights, before the softmax, among the weights that are kept."""


@dataclass(frozen=True)
class HeadShape:
    """What stored hidden states are."""

    layers: int
    width: int


def trunk_config(settings: ModelSettings) -> ModelConfig:
    """Projection and pooling in the words of a downstream's configuration."""
    return ModelConfig(pooling=settings.pooling, projector_dim=settings.projector_dim, dropout=settings.dropout)


class ContrastiveModel(nn.Module):
    """Weighted sum of layers -> projection -> pooling -> a small head, whose output is compared.

    Args:
        shape: of the hidden states
        settings: of what is kept and of the dropped head
        loss: says whether there is a speaker task
        speakers: how many it tells apart
    """

    def __init__(self, shape: HeadShape, settings: ModelSettings, loss: LossSettings, speakers: int) -> None:
        super().__init__()
        self.featurizer = LayerSum(shape.layers)
        self.trunk = Trunk(shape.width, trunk_config(settings))
        width = self.trunk.pooling.output_size
        layers: list[nn.Module] = []
        for number, size in enumerate(settings.head):
            layers += [nn.ReLU()] if number else []
            layers.append(nn.Linear(width if not number else settings.head[number - 1], size))
        self.head = nn.Sequential(*layers)
        self.speaker_task = SpeakerTask(width, speakers, loss.reverse) if loss.speaker_weight else None

    def forward(self, blocks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Hidden states ``(layers, frames_i, width)`` to embeddings ``(batch, size)`` and pooled vectors."""
        summed = self.featurizer(list(blocks))
        pooled = self.trunk.pooled(RaggedBatch(summed, [block.shape[1] for block in blocks]))
        return self.head(pooled), pooled


def built(seed: int, shape: HeadShape, settings: ModelSettings, loss: LossSettings, speakers: int) -> ContrastiveModel:
    """A model whose initial weights follow from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ContrastiveModel(shape, settings, loss, speakers)


def kept_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of a model's parameters those that are kept: layer weights, projection and pooling."""
    found = {name.removeprefix("trunk."): value for name, value in state.items() if name.startswith("trunk.")}
    if "featurizer.weights" in state:
        found[LAYERS] = state["featurizer.weights"]
    return {name: value.contiguous() for name, value in found.items()}
