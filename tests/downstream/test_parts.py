"""Objectives, batches and random state."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from s3prl_emotion.downstream.data import AnnouncedBatches, epoch_batches
from s3prl_emotion.downstream.objectives import objectives
from s3prl_emotion.random_state import preserved_random_state, random_state, restore_random_state


def test_label_smoothing_is_the_papers_formula() -> None:
    logits = torch.randn(5, 4, dtype=torch.float64)
    labels = torch.tensor([0, 3, 1, 2, 2])
    p_l = 0.25
    target = torch.nn.functional.one_hot(labels, 4) * (1 - p_l) + p_l / 4
    expected = -(target * torch.log_softmax(logits, dim=-1)).sum(dim=-1).mean()
    torch.testing.assert_close(objectives.build("label_smoothing", {"smoothing": p_l})(logits, labels), expected)


def test_no_smoothing_is_cross_entropy() -> None:
    logits, labels = torch.randn(5, 4), torch.tensor([0, 3, 1, 2, 2])
    plain = objectives.build("cross_entropy", {})(logits, labels)
    torch.testing.assert_close(objectives.build("label_smoothing", {"smoothing": 0.0})(logits, labels), plain)


def test_an_epoch_holds_every_utterance_once() -> None:
    batches = list(epoch_batches([0] * 10, 4, seed=1, epoch=0))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert sorted(index for batch in batches for index in batch) == list(range(10))


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    labels = [0, 1] * 20
    first = list(epoch_batches(labels, 8, seed=1, epoch=3))
    torch.manual_seed(99)
    np.random.seed(99)
    assert list(epoch_batches(labels, 8, seed=1, epoch=3)) == first
    assert list(epoch_batches(labels, 8, seed=1, epoch=4)) != first
    assert list(epoch_batches(labels, 8, seed=2, epoch=3)) != first


def test_skipped_batches_are_the_first() -> None:
    whole = list(epoch_batches([0] * 10, 3, seed=1, epoch=0))
    assert list(epoch_batches([0] * 10, 3, seed=1, epoch=0, skip=2)) == whole[2:]


def test_class_weighted_batches_are_balanced() -> None:
    labels = [0] * 900 + [1] * 100
    drawn = [labels[i] for batch in epoch_batches(labels, 50, seed=0, epoch=0, class_weighted=True) for i in batch]
    assert len(drawn) == 1000
    assert 0.4 < np.mean(drawn) < 0.6


def _draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_random_state_round_trip_without_pickle(tmp_path) -> None:
    np.random.standard_normal()  # leaves a cached second value in numpy's state
    torch.save(random_state(), tmp_path / "state.pt")
    expected = _draw(), float(np.random.standard_normal())
    _draw()
    restore_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert (_draw(), float(np.random.standard_normal())) == expected


def test_random_state_is_preserved_even_on_errors() -> None:
    before = random_state()
    with pytest.raises(KeyError), preserved_random_state():
        _draw()
        raise KeyError
    after = _draw()
    restore_random_state(before)
    assert _draw() == after


def test_batches_are_announced_one_ahead() -> None:
    seen: list[object] = []
    for batch in AnnouncedBatches([[1], [2], [3]], seen.append):
        seen.append(("used", batch))
    assert seen == [[2], ("used", [1]), [3], ("used", [2]), [], ("used", [3])]
