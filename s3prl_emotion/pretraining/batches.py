"""Batches by seconds in length buckets, with crops and masks as functions of (seed, step, utterance).

A step consists of parts, each small enough for one device. Which utterances are in a part, where they are cropped and
what is masked follows from the seed and the step, so a run that goes on, or that is spread over processes, meets the
same parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from s3prl_emotion.audio import SAMPLE_RATE_HZ
from s3prl_emotion.errors import RunError
from s3prl_emotion.pretraining.frames import Framing
from s3prl_emotion.pretraining.objective import RULES, MaskSettings
from s3prl_emotion.pretraining.settings import BatchSettings

_DRAWS = {"epoch": 1, "crop": 2, "mask": 3, "dropout": 4, "dev": 5, "pairs": 6}  # streams that must not meet
DEV_STEP = 0
"""Dev crops and masks are the same at every evaluation."""


@dataclass(frozen=True)
class Clip:
    """One utterance to train on."""

    id: str
    samples: int  # at 16 kHz
    labels: np.ndarray  # one for each frame
    read: Callable[[], np.ndarray]  # the waveform as the model wants it, normalised or not


@dataclass(frozen=True)
class ClipCrop:
    """Utterances that one forward pass holds, on the CPU."""

    waveforms: Tensor  # (batch, samples), zero-padded
    lengths: Tensor  # (batch,), frames
    labels: Tensor  # (batch, frames), 0 behind each end
    mask: Tensor  # (batch, frames)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What the model is given."""
        return self.waveforms, self.lengths, self.labels, self.mask

    @property
    def seconds(self) -> float:
        """Of audio, without padding."""
        return float(self.lengths.sum()) / 50 if len(self.lengths) else 0.0


def generator(seed: int, draw: str, step: int, which: int) -> np.random.Generator:
    """The generator of one draw at one step for one utterance or part."""
    return np.random.default_rng([seed, _DRAWS[draw], step, which])


class Stream:
    """Parts of epochs that follow each other without end.

    Args:
        epoch: the parts of an epoch, by its number 0, 1, ...
    """

    def __init__(self, epoch: Callable[[int], list[list[int]]]) -> None:
        self._of = epoch
        self._epoch = -1
        self._parts: list[list[int]] = []  # of the epochs that are drawn and not passed by
        self._passed = 0  # parts before the first of them

    def cut(self, first: int, end: int) -> list[list[int]]:
        """Parts ``first`` to ``end``; they may begin in one epoch and end in the next."""
        if first < self._passed:
            self._epoch, self._parts, self._passed = -1, [], 0
        while self._passed + len(self._parts) < end:
            if self._passed + len(self._parts) <= first:
                self._passed += len(self._parts)
                self._parts = []
            self._epoch += 1
            self._parts += self._of(self._epoch)
        return self._parts[first - self._passed : end - self._passed]


class Batches:
    """Parts of any step.

    Args:
        clips: what to train on
        batch: sizes and crop
        mask: the mask rule
        framing: of the model
        seed: of the run

    Raises:
        RunError: if there is nothing to train on
    """

    def __init__(
        self, clips: Sequence[Clip], batch: BatchSettings, mask: MaskSettings, framing: Framing, seed: int
    ) -> None:
        if not clips:
            raise RunError(f"nothing to train on: no clip is at least {batch.min_s:g} s long (batch.min_s)")
        self.clips = list(clips)
        self.batch, self.mask, self.framing, self.seed = batch, mask, framing, seed
        longest = framing.frames(round(batch.max_s * SAMPLE_RATE_HZ))
        self.frames = np.minimum([framing.frames(clip.samples) for clip in clips], longest)
        self._stream = Stream(self.epoch)
        self.parts = batch.parts  # of a step
        self.more_parts = "raise batch.seconds, or lower batch.part_seconds, until there is a part for each"
        self.seconds_per_frame = framing.hop / SAMPLE_RATE_HZ

    def members(self, step: int) -> list[list[int]]:
        """The positions in ``clips`` of each part of a step.

        Epochs follow each other: each holds every clip once. A step may begin in one epoch and end in the next.
        """
        return self._stream.cut(step * self.parts, (step + 1) * self.parts)

    def epoch(self, number: int) -> list[list[int]]:
        """All clips once, in parts of similar lengths that last at most ``part_seconds``, in random order."""
        drawn = generator(self.seed, "epoch", number, 0)
        order = drawn.permutation(len(self.clips))
        ranks = np.argsort(np.argsort(self.frames, kind="stable"), kind="stable")
        bucket = ranks[order] * min(self.batch.buckets, len(order)) // len(order)
        order = order[np.argsort(bucket, kind="stable")]  # random within a bucket
        parts = cut(order, self.frames, self.batch, self.framing)
        return [parts[index] for index in drawn.permutation(len(parts))]

    def part(self, step: int, members: Sequence[int], read: Callable[[Clip], np.ndarray] | None = None) -> ClipCrop:
        """Crop, pad and mask the clips of a part."""
        shortest = int(min(self.frames[index] for index in members))
        waveforms, labels = [], []
        for index in members:
            clip = self.clips[index]
            wanted = shortest if self.batch.crop == "shortest" else int(self.frames[index])
            start = crop_start(self.framing.frames(clip.samples), wanted, generator(self.seed, "crop", step, index))
            waveform, label = cropped(
                clip.read() if read is None else read(clip), clip.labels, start, wanted, self.framing
            )
            waveforms.append(waveform)
            labels.append(label)
        drawn = [generator(self.seed, "mask", step, index) for index in members]
        return assembled(waveforms, labels, self.mask, drawn)

    def dev_parts(self) -> Iterator[list[int]]:
        """Every clip once, in parts, in a fixed order."""
        yield from cut(np.argsort(self.frames, kind="stable"), self.frames, self.batch, self.framing)


def cut(order: np.ndarray, frames: np.ndarray, batch: BatchSettings, framing: Framing) -> list[list[int]]:
    """Divide clips into parts that last at most ``part_seconds``, padding to the longest included."""
    limit = batch.part_seconds * SAMPLE_RATE_HZ / framing.hop
    parts: list[list[int]] = [[]]
    longest = 0
    for index in order.tolist():
        longest = max(longest, int(frames[index]))
        if parts[-1] and longest * (len(parts[-1]) + 1) > limit:
            parts.append([])
            longest = int(frames[index])
        parts[-1].append(index)
    return parts


def crop_start(frames: int, wanted: int, drawn: np.random.Generator) -> int:
    """The first frame of a crop, uniform over all places."""
    return int(drawn.integers(frames - wanted + 1))


def cropped(
    waveform: np.ndarray, labels: np.ndarray, start: int, frames: int, framing: Framing
) -> tuple[np.ndarray, np.ndarray]:
    """Frames ``start`` to ``start + frames`` of a waveform and their labels.

    The crop begins on a multiple of the hop (320 samples), so its frame i hears what frame ``start + i`` heard.
    """
    first = start * framing.hop
    return waveform[first : first + framing.samples(frames)], labels[start : start + frames]


def assembled(
    waveforms: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    mask: MaskSettings,
    drawn: Sequence[np.random.Generator],
) -> ClipCrop:
    """Pad waveforms and labels to the longest, and mask."""
    lengths = [len(label) for label in labels]
    padded = np.zeros((len(waveforms), max(map(len, waveforms))), dtype=np.float32)
    targets = np.zeros((len(labels), max(lengths)), dtype=np.int64)
    for row, waveform, target, label in zip(padded, waveforms, targets, labels, strict=True):
        row[: len(waveform)] = waveform
        target[: len(label)] = label
    masked = RULES[mask.rule](lengths, mask, drawn)
    return ClipCrop(
        torch.from_numpy(padded), torch.tensor(lengths), torch.from_numpy(targets), torch.from_numpy(masked)
    )


def split_files(ids: Sequence[str], dev_share: float, seed: int) -> tuple[list[str], list[str]]:
    """Divide files at random into those to train on and those whose loss chooses the checkpoint, in their order.

    Raises:
        RunError: if there are fewer than two
    """
    if len(ids) < 2:
        raise RunError(
            f"pretraining needs at least 2 clips, one to train on and one for the dev loss, found {len(ids)}"
        )
    order = generator(seed, "dev", 0, 0).permutation(len(ids))
    count = min(len(ids) - 1, max(1, round(dev_share * len(ids))))
    dev = set(order[:count].tolist())
    return [name for k, name in enumerate(ids) if k not in dev], [name for k, name in enumerate(ids) if k in dev]
