"""Batches by seconds, crops that keep labels and frames together; everything follows from (seed, step, utterance)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from s3prl_emotion.errors import RunError
from s3prl_emotion.pretraining.batches import Batches, Clip, crop_start, cropped, split_files
from s3prl_emotion.pretraining.frames import Framing
from s3prl_emotion.pretraining.objective import MaskSettings
from s3prl_emotion.pretraining.settings import BatchSettings
from tests.pretraining.models import noise_clips, small_hubert

FRAMING = Framing()
BATCH = BatchSettings(seconds=12.0, part_seconds=6.0, min_s=0.5, max_s=2.0)


def _batches(seed: int = 3, batch: BatchSettings = BATCH, count: int = 30) -> Batches:
    lengths = np.random.default_rng(1).integers(8000, 50000, size=count).tolist()
    return Batches(noise_clips(lengths), batch, MaskSettings(), FRAMING, seed)


@pytest.mark.parametrize("samples", [399, 400, 719, 720, 16000, 16079, 16080, 163840])
def test_frames_are_those_of_the_model(samples: int) -> None:
    model = small_hubert()
    assert FRAMING.frames(samples) == int(model._get_feat_extract_output_lengths(torch.tensor(samples)))
    assert FRAMING.frames(samples) == max(0, (samples - 400) // 320 + 1)
    assert (FRAMING.hop, FRAMING.reach) == (320, 400)
    assert FRAMING.frames(FRAMING.samples(7)) == 7


def _heard(waveform: np.ndarray) -> np.ndarray:
    """A label that each frame's own 400 samples decide, so that labels of other frames are wrong."""
    frames = [waveform[start : start + 400] for start in range(0, len(waveform) - 399, 320)]
    return np.array([int(np.abs(frame).argmax()) for frame in frames])


@pytest.mark.parametrize("start", [0, 1, 17, 40])
def test_a_crops_labels_are_those_of_its_frames(start: int) -> None:
    """Labels computed again from the cropped samples alone; one frame off, and they would differ."""
    waveform = np.random.default_rng(0).standard_normal(320 * 60 + 399).astype(np.float32)
    labels = _heard(waveform)
    assert len(labels) == FRAMING.frames(len(waveform))
    samples, kept = cropped(waveform, labels, start, 20, FRAMING)
    assert (kept == _heard(samples)).all()
    for off in (-1, 1):
        if 0 <= start + off <= len(labels) - 20:
            assert (labels[start + off : start + off + 20] == _heard(samples)).mean() < 0.2


def test_parts_pair_every_frame_with_its_own_label() -> None:
    """The same over whole batches, as training gets them."""
    rng = np.random.default_rng(0)
    clips = []
    for number, samples in enumerate((20000, 30000, 47000, 9000)):
        waveform = rng.standard_normal(samples).astype(np.float32)
        clips.append(Clip(str(number), samples, _heard(waveform).astype(np.int32), lambda waveform=waveform: waveform))  # type: ignore[misc]
    for crop in ("shortest", "none"):
        batch = BatchSettings(seconds=12.0, part_seconds=6.0, min_s=0.5, max_s=2.0, crop=crop)
        batches = Batches(clips, batch, MaskSettings(), FRAMING, 0)
        for step in range(5):
            for members in batches.members(step):
                part = batches.part(step, members)
                assert (len({int(x) for x in part.lengths}) == 1) == (crop == "shortest" or len(members) == 1)
                for row, (waveform, length, labels) in enumerate(
                    zip(part.waveforms, part.lengths, part.labels, strict=True)
                ):
                    count = int(length)
                    assert (_heard(waveform.numpy())[:count] == labels[:count].numpy()).all()
                    assert not part.mask[row, count:].any()
                    assert count <= FRAMING.frames(32000)


def test_crops_begin_anywhere() -> None:
    starts = {crop_start(10, 8, np.random.default_rng(seed)) for seed in range(60)}
    assert starts == {0, 1, 2}


def test_an_epoch_holds_every_clip_once_and_parts_fit() -> None:
    batches = _batches()
    for number in (0, 1):
        parts = batches.epoch(number)
        assert sorted(index for part in parts for index in part) == list(range(30))
        for part in parts:
            longest = max(int(batches.frames[index]) for index in part)
            assert longest * len(part) * 0.02 <= BATCH.part_seconds + 1e-6 or len(part) == 1
    assert batches.epoch(0) != batches.epoch(1)
    assert {len(parts) for parts in (batches.members(step) for step in range(6))} == {2}


def test_similar_lengths_share_a_part() -> None:
    spread = [
        np.ptp([batches.frames[i] for i in part]) for batches in [_batches(count=200)] for part in batches.epoch(0)
    ]
    assert np.mean(spread) < 0.25 * np.ptp(_batches(count=200).frames)


def test_steps_do_not_depend_on_what_was_asked_before() -> None:
    in_order = _batches()
    everything = [in_order.members(step) for step in range(20)]
    for step in (19, 3, 3, 11, 0):
        assert _batches().members(step) == everything[step]
        assert in_order.members(step) == everything[step]
    mine, again = _batches().part(7, everything[7][0]), in_order.part(7, everything[7][0])
    for name in ("waveforms", "lengths", "labels", "mask"):
        assert torch.equal(getattr(mine, name), getattr(again, name))
    other = _batches(seed=4)
    assert [other.members(step) for step in range(20)] != everything


def test_a_crop_and_a_mask_do_not_depend_on_batch_mates() -> None:
    batches = _batches(batch=BatchSettings(seconds=12.0, part_seconds=6.0, min_s=0.5, max_s=1.0, crop="none"))
    long = [index for index in range(30) if batches.frames[index] == batches.frames.max()][:3]
    alone, beside = batches.part(5, long[:1]), batches.part(5, long)
    assert torch.equal(alone.waveforms[0], beside.waveforms[0])
    assert torch.equal(alone.mask[0], beside.mask[0])


def test_files_are_divided_by_the_seed() -> None:
    ids = [f"u{number}" for number in range(50)]
    train, dev = split_files(ids, 0.1, 7)
    assert len(dev) == 5
    assert sorted(train + dev) == sorted(ids)
    assert split_files(ids, 0.1, 7) == (train, dev)
    assert split_files(ids, 0.1, 8) != (train, dev)
    assert tuple(map(len, split_files(ids[:2], 0.9, 0))) == (1, 1)
    with pytest.raises(RunError, match="at least 2 clips"):
        split_files(ids[:1], 0.1, 0)


def test_nothing_to_train_on() -> None:
    with pytest.raises(RunError, match=r"no clip is at least 0.5 s long \(batch.min_s\)"):
        Batches([], BATCH, MaskSettings(), FRAMING, 0)


def test_more_buckets_keep_more_of_the_audio() -> None:
    """5531 clips with IEMOCAP's mean length: 1000 groups lose half a percent by cropping, 20 groups about six."""
    seconds = np.clip(np.random.default_rng(0).gamma(3.0, 4.55 / 3, 5531), 1.0, 34)
    clips = [Clip(str(k), int(16000 * value), np.zeros(0), lambda: np.zeros(0)) for k, value in enumerate(seconds)]

    def figures(buckets: int) -> tuple[float, float]:
        batches = Batches(clips, BatchSettings(buckets=buckets), MaskSettings(), FRAMING, 0)
        kept = [int(batches.frames[part].min()) * len(part) for part in batches.epoch(0)]
        return sum(kept) / int(batches.frames.sum()), float(np.mean(kept)) / 50

    assert BatchSettings().buckets == 1000
    (kept, mean_s), (few, shorter_s) = figures(1000), figures(20)
    assert 0.993 < kept < 0.997
    assert 0.92 < few < 0.95
    assert 82 < mean_s < 85
    assert 71 < shorter_s < 76
