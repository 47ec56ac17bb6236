"""Utterances of one split as batches for S3PRL's Runner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from s3prl_emotion.audio import SAMPLE_RATE_HZ
from s3prl_emotion.audio.augmenting import Augmentation
from s3prl_emotion.audio.preparation import WHOLE, Preparation
from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.features.upstream import ticket
from s3prl_emotion.interruption import leave_to_parent

Item = tuple[Any, int, str]


class UtteranceDataset(Dataset[Item]):
    """Waveform, class index and utterance id of the utterances ``ids`` of a manifest, in that order.

    Args:
        manifest: where the audio, labels and speakers are
        ids: the utterances of this split
        preparation: of each utterance, from the times that the manifest has for it
        pre_load: keep decoded audio in memory after its first use
        cached: give tickets for stored hidden states instead of waveforms; no audio is read then
        augmentation: of each waveform, drawn from :attr:`seed`, :attr:`epoch` and the utterance's id alone, so that a
            training that goes on hears what it would have heard
        seed: of the run
    """

    epoch = 0
    """Of the training, set before its batches are made."""

    def __init__(
        self,
        manifest: Manifest,
        ids: Sequence[str],
        preparation: Preparation = WHOLE,
        pre_load: bool = True,
        cached: bool = False,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        by_id = {utterance.id: utterance for utterance in manifest.utterances}
        self.manifest = manifest
        self.utterances = [by_id[item] for item in ids]
        self.labels = [manifest.labels.index(utterance.label) for utterance in self.utterances]
        self.preparation = preparation
        self._kept: dict[int, np.ndarray] | None = {} if pre_load else None
        numbers = {utterance.id: number for number, utterance in enumerate(manifest.utterances)}
        self.numbers = [numbers[item] for item in ids]
        self.cached = cached
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> Item:
        waveform = ticket(self.numbers[index]) if self.cached else self._waveform(index)
        return waveform, self.labels[index], self.utterances[index].id

    def _waveform(self, index: int) -> np.ndarray:
        samples = self._clean(index)
        if self.augmentation is None:
            return samples
        utterance = self.utterances[index]
        key = (self.seed, self.epoch, utterance.id)
        name = str(self.manifest.path_of(utterance))
        changed, _ = self.augmentation(samples, SAMPLE_RATE_HZ, *key, name=name)
        return changed[: self.preparation.max_samples]

    def _clean(self, index: int) -> np.ndarray:
        if self._kept is not None and index in self._kept:
            return self._kept[index]
        utterance = self.utterances[index]
        samples = self.preparation.waveform(self.manifest.path_of(utterance), utterance.start_s, utterance.end_s)
        if self._kept is not None:
            self._kept[index] = samples
        return samples


def epoch_batches(
    labels: Sequence[int], batch_size: int, seed: int, epoch: int, class_weighted: bool = False, skip: int = 0
) -> list[list[int]]:
    """Batches of one training epoch, drawn from ``(seed, epoch)`` alone: no global random state is read or moved.

    Args:
        labels: class index of every utterance
        batch_size: utterances in a batch; the last batch of an epoch may be smaller
        seed: of the run
        epoch: 0, 1, ...
        class_weighted: draw with replacement, each utterance with weight 1 / (size of its class)
        skip: batches of this epoch that an interrupted run has used already
    """
    generator = np.random.default_rng([seed, epoch])
    if class_weighted:
        weights = 1.0 / np.bincount(labels)[np.asarray(labels)]
        order = generator.choice(len(labels), size=len(labels), p=weights / weights.sum())
    else:
        order = generator.permutation(len(labels))
    batches = [order[start : start + batch_size].tolist() for start in range(0, len(order), batch_size)]
    return batches[skip:]


class AnnouncedBatches(Sampler[list[int]]):
    """The same batches, each announced while the one before it is used."""

    def __init__(self, batches: Sequence[list[int]], announce: Callable[[list[int]], None]) -> None:
        self.batches = batches
        self.announce = announce

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        for batch, following in zip(self.batches, [*self.batches[1:], []], strict=False):
            self.announce(following)
            yield batch


def make_loader(
    dataset: UtteranceDataset,
    batches: Sequence[list[int]],
    num_workers: int,
    read_ahead: Callable[[list[int]], None] | None = None,
) -> DataLoader[Any]:
    """A loader over ``batches`` whose own random state is its own, so that it leaves torch's global generator alone.

    Args:
        dataset: utterances
        batches: positions in ``dataset``
        num_workers: processes; with stored hidden states there is nothing for them to do
        read_ahead: called with the manifest numbers of the utterances of the next batch
    """

    def announce(batch: list[int]) -> None:
        if read_ahead is not None:
            read_ahead([dataset.numbers[index] for index in batch])

    return DataLoader(
        dataset,
        batch_sampler=AnnouncedBatches(batches, announce),
        num_workers=num_workers,
        collate_fn=_collate,
        generator=torch.Generator().manual_seed(0),
        worker_init_fn=leave_to_parent if num_workers else None,
    )


def _collate(items: list[Item]) -> tuple[list[np.ndarray], list[int], list[str]]:
    waveforms, labels, ids = zip(*items, strict=True)
    return list(waveforms), list(labels), list(ids)
