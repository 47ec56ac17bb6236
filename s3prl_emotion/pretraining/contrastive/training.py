"""Contrastive training of a head on stored states."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from s3prl_emotion.downstream.config import check_parts
from s3prl_emotion.downstream.head import sees_only_means
from s3prl_emotion.downstream.pretrained import FORMAT, VERSION, HeadUpstream, PretrainedHead, write_head
from s3prl_emotion.downstream.speaker_task import UNKNOWN
from s3prl_emotion.errors import RunError
from s3prl_emotion.features.forms import Form
from s3prl_emotion.features.upstream import CachedUpstream, ticket
from s3prl_emotion.pretraining.contrastive import clustering, clusters
from s3prl_emotion.pretraining.contrastive.clusters import Clustered
from s3prl_emotion.pretraining.contrastive.losses import Contrast, contrasts
from s3prl_emotion.pretraining.contrastive.model import ContrastiveModel, HeadShape, built, kept_weights, trunk_config
from s3prl_emotion.pretraining.contrastive.plan import ContrastivePlan
from s3prl_emotion.pretraining.contrastive.sampler import CLUSTERS, Groups, Pairs, Sampler, pairs_of, split_dev, usable
from s3prl_emotion.pretraining.contrastive.settings import ContrastiveSettings
from s3prl_emotion.pretraining.hubert import new_folder
from s3prl_emotion.pretraining.loop import BEST, Loop, forget_checkpoints
from s3prl_emotion.pretraining.provenance import Stage, sha256_of_path
from s3prl_emotion.pretraining.settings import plain
from s3prl_emotion.pretraining.task import LossSums, Task
from s3prl_emotion.pretraining.trainer_state import load, make_accelerator


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
        negatives: see :func:`~s3prl_emotion.pretraining.contrastive.sampler.pairs_of`
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


logger = logging.getLogger(__name__)

NAME = "pretrain"
HEAD = "head"
"""In the stage's folder: the weights of the best dev loss, see :mod:`s3prl_emotion.downstream.pretrained`."""


def stage_of(plan: ContrastivePlan, fold: int | None) -> Stage:
    """The stage for a fold, or the one for all.

    Raises:
        RunError: if the stage before is not finished
    """
    before = clustering.stage_of(plan, fold)
    if before.finished() is None:
        raise RunError(f"{NAME}: stage {before} is not finished: run it first (--stage {before.name})")
    settings = {key: plain(getattr(plan.settings, key)) for key in ("model", "batches", "loss", "training")}
    upstream = {f"upstream_{name}": value for name, value in plan.upstream.sha256(fold).items()}
    inputs = {**upstream, "clusters": sha256_of_path(before.folder / clusters.ROWS)}
    return plan.stage(NAME, fold, {"upstream": plan.upstream.name, **settings}, inputs)


def train(plan: ContrastivePlan, fold: int | None) -> dict[str, Any]:
    """Pretrain to the last step, going on where an earlier start was stopped; in any number of processes.

    Returns:
        the stage's record; ``head`` in its folder holds the weights of the best dev loss

    Raises:
        RunError: if there are no clusters, or they give no pairs
    """
    stage = stage_of(plan, fold)
    done = stage.finished()
    if done is not None:
        logger.info("%s: finished already", stage)
        return done
    check_settings(plan.settings)
    rows = clusters.read(clustering.stage_of(plan, fold).folder, plan.heard(fold))
    accelerator = make_accelerator(plan.settings.training.precision, plan.device)
    with stage.working() if accelerator.is_main_process else contextlib.nullcontext():
        states = _states(plan, fold, accelerator)
        seed = plan.wanted.seed
        metrics = pretrain(rows, states, plan.settings, seed, stage.folder, accelerator, str(stage))
        if accelerator.is_main_process:
            stage.finish(metrics, (HEAD,))
        accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        forget_checkpoints(stage.folder)
    return stage.finished() or {}


def check_settings(settings: ContrastiveSettings) -> None:
    """Build pooling and loss once, so that a wrong option is named before anything is computed.

    Raises:
        ConfigError: naming the key
    """
    check_parts(trunk_config(settings.model), "model")
    _contrast(settings)


def pretrain(
    rows: Sequence[Clustered],
    states: CachedUpstream,
    settings: ContrastiveSettings,
    seed: int,
    folder: Path,
    accelerator: Any,
    name: str,
) -> dict[str, Any]:
    """Train on clusters and hidden states, and leave ``head`` in ``folder``.

    Args:
        rows: of all utterances; their positions are the numbers of ``states``
        states: stored hidden states
        settings: of the recipe
        seed: of everything drawn
        folder: the stage's
        accelerator: from :func:`~s3prl_emotion.pretraining.trainer_state.make_accelerator`
        name: for messages

    Returns:
        figures of the best step on dev, and of the untrained model; who was trained on and held out
    """
    groups = usable([row.speaker for row in rows], [row.cluster for row in rows])
    train_groups, dev_groups = split_dev(groups, settings.training.dev, seed) if groups else ({}, {})
    told_apart = {speaker: number for number, speaker in enumerate(train_groups)}
    items = [_item(row, states, number) for number, row in enumerate(rows)]
    size = settings.batches

    def batches(some: Groups) -> ContrastiveBatches:
        sampler = Sampler(some, size.speakers, size.clusters, size.utterances, size.per_step, seed)
        return ContrastiveBatches(items, sampler, told_apart, settings.loss.negatives)

    store = states.store
    model = built(seed, HeadShape(store.layers, store.width), settings.model, settings.loss, len(told_apart))
    task = ContrastiveTask(model, _contrast(settings), settings.loss.speaker_weight)
    train_batches, dev_batches = batches(train_groups), batches(dev_groups)
    loop = Loop(task, train_batches, dev_batches, settings.training, folder, seed, accelerator, name)
    before = loop.evaluate()
    progress = loop.run()
    if accelerator.is_main_process:
        kept = kept_weights(load(folder / BEST)["model"])
        with new_folder(folder / HEAD) as temporary:
            write_head(temporary, _about(settings, states), kept)
    accelerator.wait_for_everyone()
    return {
        "best_step": progress.best_step,
        "steps": progress.step,
        "dev": progress.best,
        "dev_untrained": before,
        **_counts(rows, train_groups, dev_groups),
        "seconds": sum(row.duration_s or 0.0 for row in rows),
        "parameters": _parameters(model),
    }


def _states(plan: ContrastivePlan, fold: int | None, accelerator: Any) -> CachedUpstream:
    """Hidden states; one process stores what is missing, then all read."""
    form: Form = "mean" if sees_only_means(trunk_config(plan.settings.model)) else "frames"
    if accelerator.is_main_process:
        states = plan.states(fold, form)
        accelerator.wait_for_everyone()
        return states
    accelerator.wait_for_everyone()
    return plan.states(fold, form)


def _contrast(settings: ContrastiveSettings) -> Any:
    options = dict(settings.loss.objective)
    return contrasts.build(options.pop("name"), options, where="loss.objective")


def _item(row: Clustered, states: CachedUpstream, number: int) -> Item:
    read = functools.partial(states.block, ticket(number))
    return Item(row.speaker, -1 if row.cluster is None else row.cluster, row.duration_s or 0.0, read)


def _about(settings: ContrastiveSettings, states: CachedUpstream) -> PretrainedHead:
    store, model = states.store, settings.model
    upstream = HeadUpstream(store.key.upstream, store.key.weights, store.key.selection, store.key.layer)
    return PretrainedHead(
        FORMAT, VERSION, store.layers, store.width, model.projector_dim, dict(model.pooling), upstream
    )


def _counts(rows: Sequence[Clustered], train: Groups, dev: Groups) -> dict[str, Any]:
    def count(groups: Groups) -> int:
        return sum(len(items) for own in groups.values() for items in own.values())

    return {
        "utterances": len(rows),
        "train_utterances": count(train),
        "dev_utterances": count(dev),
        "without_pairs": len(rows) - count(train) - count(dev),
        "train_speakers": len(train),
        "dev_speakers": len(dev),
    }


def _parameters(model: ContrastiveModel) -> Mapping[str, int]:
    """How many are kept, and how many dropped."""
    kept = sum(item.numel() for part in (model.featurizer, model.trunk) for item in part.parameters())
    return {"kept": kept, "dropped": sum(item.numel() for item in model.parameters()) - kept}
