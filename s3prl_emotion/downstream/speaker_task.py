"""Who speaks, as a second task: its gradient is followed, or turned around so that the vectors tell less of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from s3prl_emotion.corpora.manifest import Utterance
from s3prl_emotion.downstream.config import AuxiliaryConfig, ModelConfig
from s3prl_emotion.downstream.head import Trunk
from s3prl_emotion.errors import ConfigError

UNKNOWN = -1
"""The target of an utterance whose speaker is none of those that are told apart."""


class SpeakerFigures(NamedTuple):
    """What a batch gives: sums over the utterances whose speaker is known."""

    loss: Tensor  # cross-entropy
    correct: Tensor
    known: Tensor  # how many


class SpeakerTask(nn.Module):
    """A linear layer from a vector to who speaks.

    Args:
        width: of the vectors
        speakers: how many to tell apart
        reverse: vectors receive the gradient times -1 (arXiv 1409.7495), the layer itself its own
    """

    def __init__(self, width: int, speakers: int, reverse: bool = False) -> None:
        super().__init__()
        self.reverse = reverse
        self.classifier = nn.Linear(width, speakers)

    def forward(self, vectors: Tensor, targets: Tensor) -> SpeakerFigures:
        """Vectors ``(batch, width)`` and speakers ``(batch,)``, :data:`UNKNOWN` where there is none, to sums."""
        if self.reverse:
            vectors = _Reversed.apply(vectors)  # type: ignore[no-untyped-call]
        logits = self.classifier(vectors)
        loss = functional.cross_entropy(logits, targets, ignore_index=UNKNOWN, reduction="sum")
        known = targets != UNKNOWN
        correct = (logits.detach().argmax(dim=-1) == targets) & known
        return SpeakerFigures(loss, correct.sum(), known.sum())

    def extra_repr(self) -> str:
        return "reversed gradient" if self.reverse else ""


class _Reversed(torch.autograd.Function):
    """Forward nothing, backward a change of sign."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        return vectors.view_as(vectors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return -grad


class Auxiliary(nn.Module):
    """``modelrc.auxiliary``: a weight times the cross-entropy of who speaks, in training only.

    Args:
        width: of the pooled vectors
        train: the utterances of the training part, whose speakers are told apart
        config: weight and sign

    Raises:
        ConfigError: if fewer than two speakers are known
    """

    def __init__(self, width: int, train: Sequence[Utterance], config: AuxiliaryConfig) -> None:
        super().__init__()
        self.weight = config.speaker_weight
        self.speakers = {name: number for number, name in enumerate(sorted(set(filter(None, map(_voice, train)))))}
        if len(self.speakers) < 2:
            raise ConfigError(
                f"modelrc.auxiliary tells speakers apart, and the training part has {len(self.speakers)} whose name is "
                "known. Leave it out (auxiliary: null)"
            )
        self.task = SpeakerTask(width, len(self.speakers), config.reverse)

    def forward(self, vectors: Tensor, utterances: Sequence[Utterance]) -> tuple[Tensor, Tensor]:
        """Pooled vectors ``(batch, width)`` to what is added to the loss, and for the log loss, correct and count."""
        numbers = [self.speakers.get(_voice(item) or "", UNKNOWN) for item in utterances]
        told = self.task(vectors, torch.tensor(numbers, device=vectors.device))
        share = self.weight * told.loss / told.known.clamp(min=1)
        return share, torch.stack([told.loss.detach(), told.correct, told.known])


def build_auxiliary(config: ModelConfig, trunk: Trunk, train: Sequence[Utterance]) -> Auxiliary | None:
    """The second task that a configuration asks for; None where it does not."""
    return None if config.auxiliary is None else Auxiliary(trunk.pooling.output_size, train, config.auxiliary)


def speaker_figures(told: Sequence[Tensor]) -> dict[str, float]:
    """Cross-entropy and accuracy of who speaks over batches; empty where nothing was told."""
    if not told:
        return {}
    loss, correct, count = torch.stack(list(told)).sum(dim=0).tolist()
    return {"speaker-loss": loss / max(count, 1.0), "speaker-accuracy": correct / max(count, 1.0)}


def _voice(item: Utterance) -> str | None:
    """Who speaks, in a manifest that may combine corpora; None where nobody knows."""
    return f"{item.corpus or ''}:{item.speaker}" if item.speaker else None
