"""Pairs and losses, by hand; and what every registered loss promises."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from s3prl_emotion.errors import ConfigError
from s3prl_emotion.pretraining.contrastive.losses import contrasts
from s3prl_emotion.pretraining.contrastive.sampler import Pairs, pairs_of

A, B = 0, 1


def listed(first: Tensor, second: Tensor) -> list[tuple[int, int]]:
    return list(zip(first.tolist(), second.tolist(), strict=True))


def test_pairs_are_within_a_speaker() -> None:
    """Speaker A has clusters 0 (0, 1) and 1 (2), speaker B cluster 0 (3, 4): the same number, and not the same."""
    pairs = pairs_of(torch.tensor([A, A, A, B, B]), torch.tensor([0, 0, 1, 0, 0]))
    assert listed(pairs.anchors, pairs.positives) == [(0, 1), (1, 0), (3, 4), (4, 3)]
    assert listed(pairs.negative_anchors, pairs.negatives) == [(0, 2), (1, 2), (2, 0), (2, 1)]


def test_other_speakers_are_negatives_only_where_asked_for() -> None:
    pairs = pairs_of(torch.tensor([A, A, B]), torch.tensor([0, 1, 0]), "speakers")
    assert not len(pairs.anchors)
    assert listed(pairs.negative_anchors, pairs.negatives) == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]


def angles(*degrees: float) -> Tensor:
    """Vectors of length 2 in the plane: only the angle counts."""
    return torch.tensor([[2 * math.cos(math.radians(item)), 2 * math.sin(math.radians(item))] for item in degrees])


PAIRS = pairs_of(torch.tensor([A, A, A, A]), torch.tensor([0, 0, 1, 1]))
Z = angles(0, 60, 90, 180)
"""cos: 0-1 0.5, 0-2 0, 0-3 -1, 1-2 0.866, 1-3 -0.5, 2-3 0."""


def by_hand(name: str) -> tuple[float, int]:
    """Sum and number of terms, written out."""
    cos = np.cos(np.radians(np.subtract.outer([0, 60, 90, 180], [0, 60, 90, 180])))
    positive = {0: 1, 1: 0, 2: 3, 3: 2}
    negative = {0: (2, 3), 1: (2, 3), 2: (0, 1), 3: (0, 1)}
    if name == "triplet":
        terms = [max(0.0, cos[a, n] - cos[a, positive[a]] + 0.2) for a in range(4) for n in negative[a]]
        return sum(terms), len(terms)
    tau = 0.1
    terms = []
    for a in range(4):
        top = math.exp(cos[a, positive[a]] / tau)
        terms.append(-math.log(top / (top + sum(math.exp(cos[a, n] / tau) for n in negative[a]))))
    return sum(terms), 4


@pytest.mark.parametrize("name", contrasts.names())
def test_losses_by_hand(name: str) -> None:
    """With one positive for each anchor, supervised contrast is InfoNCE."""
    contrast = contrasts.build(name, {})
    total, count = by_hand(name)
    assert contrast.count(PAIRS) == count
    assert contrast(Z, PAIRS).item() == pytest.approx(total, rel=1e-5)


def test_supervised_contrast_averages_an_anchors_positives() -> None:
    """Anchor 0 has positives at cos 1 and 0.5, and one negative at cos 0: the denominator holds all three."""
    pairs = Pairs(*(torch.tensor(part) for part in ([0, 0], [1, 2], [0], [3])))
    whole = math.exp(10) + math.exp(5) + math.exp(0)
    expected = -(math.log(math.exp(10) / whole) + math.log(math.exp(5) / whole)) / 2
    contrast = contrasts.build("supcon", {"temperature": 0.1})
    assert contrast.count(pairs) == 1
    assert contrast(angles(0, 0, 60, 90), pairs).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", contrasts.names())
def test_parts_add_up(name: str) -> None:
    """Two speakers at once are the sum of each alone: nothing crosses, and counts add up."""
    contrast = contrasts.build(name, {})
    one, two = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))
    clusters = torch.tensor([0, 0, 0, 1, 1, 1])
    alone = pairs_of(torch.zeros(6), clusters)
    both = pairs_of(torch.tensor([A] * 6 + [B] * 6), torch.cat([clusters, clusters]))
    assert contrast.count(both) == 2 * contrast.count(alone)
    expected = contrast(one, alone) + contrast(two, alone)
    torch.testing.assert_close(contrast(torch.cat([one, two]), both), expected)


@pytest.mark.parametrize("name", contrasts.names())
@pytest.mark.parametrize(
    "z", [torch.ones(4, 3), torch.zeros(4, 3), 1e6 * torch.randn(4, 3)], ids=["identical", "zero", "large"]
)
def test_degenerate_embeddings_give_finite_gradients(name: str, z: Tensor) -> None:
    z = z.clone().requires_grad_()
    contrasts.build(name, {})(z, PAIRS).backward()
    assert z.grad is not None
    assert bool(torch.isfinite(z.grad).all())


@pytest.mark.parametrize("name", contrasts.names())
def test_without_negatives_there_is_nothing_to_learn(name: str) -> None:
    z = torch.randn(3, 4, requires_grad=True)
    pairs = pairs_of(torch.zeros(3), torch.zeros(3))
    contrast = contrasts.build(name, {})
    assert contrast.count(pairs) == 0
    contrast(z, pairs).backward()
    assert z.grad is not None
    assert not z.grad.any()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("infonce", {"temperature": 0}, "temperature must be a finite number above 0, got 0"),
        ("supcon", {"temperature": float("nan")}, "temperature must be a finite number above 0, got nan"),
        ("triplet", {"margin": "wide"}, "margin must be a finite number above 0, got 'wide'"),
        ("triplet", {"marign": 0.2}, "unknown option 'marign' of contrastive loss 'triplet'.*margin"),
        ("infonec", {}, "unknown contrastive loss 'infonec'.*infonce"),
    ],
)
def test_wrong_options(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        contrasts.build(name, options)
