"""Batches of stored hidden states with their pairs, and the losses and figures on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from s3prl_emotion.downstream.speaker_task import UNKNOWN
from s3prl_emotion.pretraining.contrastive.losses import Contrast
from s3prl_emotion.pretraining.contrastive.model import ContrastiveModel
from s3prl_emotion.pretraining.contrastive.pairs import CLUSTERS, Pairs, pairs_of
from s3prl_emotion.pretraining.contrastive.sampler import Sampler
from s3prl_emotion.pretraining.task import LossSums, Task


@dataclass(frozen=True)
class Batch:
    """Utterances that are compared with each other."""

    blocks: tuple[Tensor, ...]  # of each, (layers, frames_i, width)
    targets: Tensor  # (batch,): which of the speakers that are told apart
    pairs: Pairs
    seconds: float  # of audio

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What the model is given."""
        return (*self.blocks, self.targets, *self.pairs)


@dataclass(frozen=True)
class Item:
    """One utterance to train on."""

    speaker: str
    cluster: int
    seconds: float
    read: Callable[[], Tensor]  # hidden states (layers, frames, width)


class ContrastiveBatches:
    """Parts of any step, see :class:`~s3prl_emotion.pretraining.task.BatchSource`.

    Args:
        items: by the positions that the sampler knows
        sampler: which of them are in a part
        told_apart: the speakers that are told apart, by name; others have no target
        negatives: see :func:`~s3prl_emotion.pretraining.contrastive.pairs.pairs_of`
    """

    more_parts = "raise batches.per_step until there is a batch for each"
    seconds_per_frame = 1.0  # seconds are counted, not frames

    def __init__(
        self, items: Sequence[Item], sampler: Sampler, told_apart: dict[str, int], negatives: str = CLUSTERS
    ) -> None:
        self.items, self.sampler, self.told_apart, self.negatives = items, sampler, told_apart, negatives
        self.parts = sampler.parts

    def members(self, step: int) -> list[list[int]]:
        """The utterances of each part of a step."""
        return self.sampler.members(step)

    def dev_parts(self) -> Iterable[list[int]]:
        """The sampler's first epoch."""
        return self.sampler.epoch(0)

    def part(self, step: int, members: Sequence[int]) -> Batch:
        """Hidden states and pairs."""
        items = [self.items[place] for place in members]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(item.speaker for item in items))}
        speakers = torch.tensor([numbers[item.speaker] for item in items])
        clusters = torch.tensor([item.cluster for item in items])
        return Batch(
            tuple(item.read() for item in items),
            torch.tensor([self.told_apart.get(item.speaker, UNKNOWN) for item in items]),
            pairs_of(speakers, clusters, self.negatives),
            sum(item.seconds for item in items),
        )


class ContrastiveTask(Task[Batch]):
    """A contrastive loss, and a weight times the cross-entropy of who speaks.

    The checkpoint is chosen by the contrastive loss alone (ours). Beside it are told, of embeddings z of length 1,
    alignment, the mean of :math:`\\|z_a - z_p\\|^2` over positive pairs, and uniformity,
    :math:`\\log \\operatorname{mean} e^{-2 \\|z_i - z_j\\|^2}` over all pairs of a batch (arXiv 2005.10242).

    Args:
        model: what is trained
        contrast: a registered loss
        speaker_weight: λ of the speaker task
    """

    sums = 11
    shown = "loss"
    model: ContrastiveModel

    def __init__(self, model: ContrastiveModel, contrast: Contrast, speaker_weight: float) -> None:
        super().__init__(model)
        self.contrast, self.speaker_weight = contrast, speaker_weight

    def weights(self, part: Batch) -> tuple[float, ...]:
        count = float(self.contrast.count(part.pairs))
        if self.model.speaker_task is None:
            return (count,)
        return count, float((part.targets != UNKNOWN).sum())

    def measure(self, part: Batch, tensors: tuple[Tensor, ...], everything: bool) -> LossSums:
        size = len(part.blocks)
        blocks, targets, pairs = tensors[:size], tensors[size], Pairs(*tensors[size + 1 :])
        embeddings, pooled = self.model(blocks)
        contrast = self.contrast(embeddings, pairs)
        losses, told = [contrast], [0.0, 0.0, 0.0]
        if self.model.speaker_task is not None:
            speaker = self.model.speaker_task(pooled, targets)
            losses.append(self.speaker_weight * speaker.loss)
            told = [speaker.loss.detach(), speaker.correct, speaker.known]
        geometry = _geometry(embeddings.detach(), pairs) if everything else [0.0] * 4
        sums = [contrast.detach(), self.contrast.count(part.pairs), *told, *geometry, size, part.seconds]
        return LossSums(tuple(losses), sums)

    def figures(self, totals: Sequence[float]) -> dict[str, float]:
        """The contrastive loss, and whatever was counted of the speaker task and of the embeddings."""
        contrast, count, speaker, correct, known, alignment, positives, uniformity, pairs, _, _ = totals
        found = {"loss": contrast / max(count, 1.0)}
        if known:
            found["speaker_loss"] = speaker / known
            found["speaker_accuracy"] = correct / known
            found["total"] = found["loss"] + self.speaker_weight * found["speaker_loss"]
        if positives and pairs:
            found["alignment"] = alignment / positives
            found["uniformity"] = math.log(uniformity / pairs)
        return found

    def frames(self, totals: Sequence[float]) -> float:
        return totals[10]


@torch.no_grad()
def _geometry(embeddings: Tensor, pairs: Pairs) -> list[Tensor | float]:
    """Sums of alignment and uniformity, each with its number of pairs."""
    z = functional.normalize(embeddings.float(), dim=-1)
    near = (z[pairs.anchors] - z[pairs.positives]).square().sum()
    distances = torch.pdist(z).square()
    return [near, float(len(pairs.anchors)), torch.exp(-2 * distances).sum(), float(len(distances))]
