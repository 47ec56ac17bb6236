"""A stage that trains a HuBERT by masked prediction of frame labels: data, loop, and the best weights as a folder."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from s3prl_emotion.audio.preparation import WHOLE
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.pretraining.batches import Batches, Clip, ClipCrop, split_files
from s3prl_emotion.pretraining.clustering import unigram_accuracy
from s3prl_emotion.pretraining.hubert import Base, new_folder, read_base, seeded, write_model
from s3prl_emotion.pretraining.labels import PseudoLabels, check_labels
from s3prl_emotion.pretraining.loop import BEST, Loop
from s3prl_emotion.pretraining.objective import MaskedPrediction, MaskSettings, fewest_frames
from s3prl_emotion.pretraining.settings import MaskedPredictionConfig
from s3prl_emotion.pretraining.task import LossSums, Task
from s3prl_emotion.pretraining.trainer_state import load

logger = logging.getLogger(__name__)

MODEL = "model"
"""In a stage's folder: the weights of the best dev loss, in transformers format."""


class MaskedTask(Task[ClipCrop]):
    """Cross-entropy over masked frames, and the penalty times their number.

    Args:
        model: see :class:`~s3prl_emotion.pretraining.objective.MaskedPrediction`
        penalty: weight of the penalty
    """

    sums = 7
    shown = "cross_entropy"
    model: MaskedPrediction

    def __init__(self, model: MaskedPrediction, penalty: float) -> None:
        super().__init__(model)
        self.penalty = penalty

    def weights(self, part: ClipCrop) -> tuple[float, ...]:
        return (float(part.mask.sum()),)

    def measure(self, part: ClipCrop, tensors: tuple[Tensor, ...], everything: bool) -> LossSums:
        found = self.model(*tensors, unmasked=everything)
        frames, count = int(part.lengths.sum()), int(part.mask.sum())
        loss = found.cross_entropy + self.penalty * found.penalty * count
        others = found.unmasked_correct
        sums = [found.cross_entropy.detach(), found.penalty.detach() * count, count, found.correct]
        sums += [frames - count, others, frames] if others is not None else [0, 0, frames]
        return LossSums((loss,), sums)

    def figures(self, totals: Sequence[float]) -> dict[str, float]:
        """Loss, its cross-entropy, and accuracies where they were counted."""
        cross_entropy, penalty, masked, correct, unmasked, unmasked_correct, _ = totals
        masked = max(masked, 1.0)
        found = {
            "loss": (cross_entropy + self.penalty * penalty) / masked,
            "cross_entropy": cross_entropy / masked,
            "masked_accuracy": correct / masked,
        }
        if unmasked:
            found["unmasked_accuracy"] = unmasked_correct / unmasked
        return found

    def frames(self, totals: Sequence[float]) -> float:
        return totals[6]


def clips_of(base: Base, manifest: Manifest, labels: PseudoLabels, min_s: float) -> list[Clip]:
    """What there is to train on, in the manifest's order; clips shorter than ``min_s`` are left out.

    Raises:
        RunError: if labels are missing, or are not one for each frame
    """
    chosen = [item for item in manifest.utterances if (item.duration_s or 0.0) >= min_s]
    if len(chosen) < len(manifest.utterances):
        logger.info("%d clips are shorter than %g s and left out", len(manifest.utterances) - len(chosen), min_s)
    waveforms = {
        item.id: functools.partial(WHOLE.waveform, manifest.path_of(item), item.start_s, item.end_s) for item in chosen
    }
    samples = {name: len(read()) for name, read in waveforms.items()}
    check_labels(labels, manifest, list(waveforms), samples, base.framing)

    def prepared(name: str) -> np.ndarray:
        return base.prepared(waveforms[name]())

    return [Clip(name, samples[name], labels.of[name], functools.partial(prepared, name)) for name in waveforms]


def check_masks(frames: int, mask: MaskSettings, what: str) -> None:
    """Refuse masks that fit into no clip: nothing would be trained, or nothing be chosen by.

    Args:
        frames: of the longest clip
        mask: the settings
        what: the clip, for the message

    Raises:
        ConfigError: if nothing of it could be masked
    """
    if frames < fewest_frames(mask):
        raise ConfigError(
            f"{what} has {frames} frames, and a mask is mask.length {mask.length} long, so nothing would be masked or "
            "trained: lower training.mask.length, or take longer clips (training.batch.max_s, batch.dev_share)"
        )


def train(
    base_folder: Path,
    manifest: Manifest,
    labels: PseudoLabels,
    settings: MaskedPredictionConfig,
    seed: int,
    folder: Path,
    accelerator: Any,
    name: str,
) -> dict[str, Any]:
    """Train from ``base_folder`` to the last step, going on where an earlier start was stopped.

    Args:
        base_folder: the HuBERT to start from
        manifest: the utterances to train on and to choose by
        labels: of their frames
        settings: of the training
        seed: of batches, crops, masks, dropout and the head's weights
        folder: the stage's
        accelerator: from :func:`~s3prl_emotion.pretraining.trainer_state.make_accelerator`
        name: for messages

    Returns:
        figures of the best step on dev beside what guessing gives; ``model`` in the folder holds its weights
    """
    base = read_base(base_folder)
    clips = clips_of(base, manifest, labels, settings.batch.min_s)
    train_ids, dev_ids = split_files([clip.id for clip in clips], settings.batch.dev_share, seed)
    by_id = {clip.id: clip for clip in clips}

    def batches(ids: Sequence[str], part: str) -> Batches:
        found = Batches([by_id[item] for item in ids], settings.batch, settings.mask, base.framing, seed)
        check_masks(int(found.frames.max()), settings.mask, f"{name}: the longest {part} clip")
        return found

    base.model.config.layerdrop = settings.layerdrop
    model = MaskedPrediction(
        base.model,
        labels.classes,
        settings.projection,
        settings.temperature,
        settings.freeze_convolutions,
        seeded(seed),
    )
    task = MaskedTask(model, settings.penalty)
    loop = Loop(
        task, batches(train_ids, "training"), batches(dev_ids, "dev"), settings, folder, seed, accelerator, name
    )
    progress = loop.run()
    if accelerator.is_main_process:
        best = load(folder / BEST)
        weights = {
            key.removeprefix("hubert."): value for key, value in best["model"].items() if key.startswith("hubert.")
        }
        fresh = read_base(base_folder)
        with new_folder(folder / MODEL) as temporary:
            write_model(fresh, temporary, weights)
    accelerator.wait_for_everyone()
    return {
        "best_step": progress.best_step,
        "steps": progress.step,
        "dev": progress.best,
        **unigram_accuracy(labels, train_ids, dev_ids),
        "train_clips": len(train_ids),
        "dev_clips": len(dev_ids),
        "seconds": sum(clip.samples for clip in clips) / 16000,
        "parameters": sum(item.numel() for item in model.parameters()),
    }
