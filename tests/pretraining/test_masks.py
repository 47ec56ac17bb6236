"""Both mask rules against the codes that they are named after."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from s3prl_emotion.pretraining.objective import RULES, MaskSettings, fairseq_mask, transformers_mask

SETTINGS = MaskSettings()


def _generators(count: int, start: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([start, number]) for number in range(count)]


def test_share_of_masked_frames_is_that_of_the_originals() -> None:
    """28 clips of 156 frames: 0.56 by transformers' rule, 0.45 by fairseq's."""
    from torchaudio.models.wav2vec2.components import _compute_mask_indices as torchaudio_rule
    from transformers.models.hubert.modeling_hubert import _compute_mask_indices as transformers_rule

    lengths = [156] * 28
    np.random.seed(0)
    torch.manual_seed(0)
    theirs = {
        "transformers": np.mean([transformers_rule((28, 156), 0.8, 10, min_masks=2).mean() for _ in range(40)]),
        "fairseq": np.mean([torchaudio_rule((28, 156), None, 0.8, 10, min_masks=2).float().mean() for _ in range(40)]),
    }
    for name, rule in RULES.items():
        mine = np.mean([rule(lengths, SETTINGS, _generators(28, start)).mean() for start in range(40)])
        assert abs(mine - theirs[name]) < 0.012, (name, mine, theirs[name])
    assert theirs["transformers"] - theirs["fairseq"] > 0.08


@pytest.mark.parametrize("name", sorted(RULES))
@pytest.mark.parametrize("lengths", [[156, 80, 30], [49, 12, 11], [9, 40, 200], [2, 3, 4]])
def test_no_padding_is_masked_and_spans_are_whole(name: str, lengths: list[int]) -> None:
    for start in range(20):
        mask = RULES[name](lengths, SETTINGS, _generators(len(lengths), start))
        assert mask.shape == (len(lengths), max(lengths))
        for row, frames in zip(mask, lengths, strict=True):
            assert not row[frames:].any()
            if name == "transformers" and frames >= 20:
                edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
                assert (edges[1::2] - edges[::2] >= 10).all()
                assert row.sum() >= 11, "two spans at least"


def test_transformers_rule_masks_an_utterance_the_same_in_any_batch() -> None:
    alone = transformers_mask([100], SETTINGS, _generators(1))
    beside = transformers_mask([100, 300], SETTINGS, _generators(2))
    assert (alone[0] == beside[0, :100]).all()


def test_fairseq_rule_masks_as_many_frames_in_every_utterance() -> None:
    mask = fairseq_mask([200, 150, 60], SETTINGS, _generators(3))
    assert len(set(mask.sum(axis=1).tolist())) == 1


@pytest.mark.parametrize("prob", [0.08, 0.8])
def test_short_clips_are_masked_as_transformers_masks_them(prob: float) -> None:
    """As many frames at least and at most over many draws; below the length of a mask, where it raises, none."""
    from transformers.models.hubert.modeling_hubert import _compute_mask_indices as transformers_rule

    settings = MaskSettings(prob=prob)
    np.random.seed(0)
    for frames in (1, 9, 10, 11, 12, 15, 19, 20, 21):
        mine = {int(transformers_mask([frames], settings, _generators(1, start)).sum()) for start in range(300)}
        if frames < 10:
            assert mine == {0}
            continue
        theirs = {int(transformers_rule((1, frames), prob, 10, min_masks=2).sum()) for _ in range(300)}
        assert (min(mine), max(mine)) == (min(theirs), max(theirs)), frames
        if frames < 20:
            assert mine == {10}, "one mask fits"


def test_as_many_masks_as_there_are_places_for() -> None:
    """Masks of one frame: never more than the clip has frames."""
    for frames in (1, 2, 3):
        mask = transformers_mask([frames], MaskSettings(length=1, prob=1.0, min_masks=9), _generators(1))
        assert mask.sum() == frames
