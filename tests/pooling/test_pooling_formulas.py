"""Poolings against numbers worked out by hand, and against the papers' formulas one utterance and frame at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from s3prl_emotion.pooling import Pooling, poolings
from s3prl_emotion.pooling.correlation import AttentiveCorrelation
from s3prl_emotion.pooling.statistics import Attention

FEATURES = 5
LENGTHS = [11, 7, 4]


def make(name: str, features: int = FEATURES, **options: object) -> Pooling:
    torch.manual_seed(0)
    return poolings.build(name, options, input_size=features).double().eval()


def batch() -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(len(LENGTHS), max(LENGTHS), FEATURES, dtype=torch.float64, generator=generator) * 2 + 1


# --- by hand ----------------------------------------------------------------------------------------------------------


def pool_by_hand(pooling: Pooling, frames: list[list[float]]) -> list[float]:
    x = torch.tensor([[*frames, [99.0] * len(frames[0])]], dtype=torch.float64)  # one padded frame at the end
    return [round(value, 4) for value in pooling(x, torch.tensor([len(frames)]))[0].tolist()]


def test_mean_by_hand() -> None:
    # (1 + 2 + 6) / 3, (0 + 1 + 0) / 3
    assert pool_by_hand(make("mean", 2), [[1, 0], [2, 1], [6, 0]]) == [3.0, 0.3333]


def test_mean_std_by_hand() -> None:
    # squared distances from 3: 4 + 1 + 9 = 14, / 3, root; from 1/3: 1/9 + 4/9 + 1/9 = 6/9, / 3, root
    assert pool_by_hand(make("mean_std", 2), [[1, 0], [2, 1], [6, 0]]) == [3.0, 0.3333, 2.1602, 0.4714]


def test_mean_std_released_by_hand() -> None:
    # the same sums divided by 2: sqrt(7), sqrt(1/3)
    assert pool_by_hand(make("mean_std", 2, variant="released"), [[1, 0], [2, 1], [6, 0]])[2:] == [2.6458, 0.5774]


def test_correlation_by_hand() -> None:
    # means 2.5, 0.5, 1; variances 1.25, 0.25, 3; covariances 12: -0.25, 13: 1.5, 23: -0.5
    # -0.25 / sqrt(1.25 * 0.25), 1.5 / sqrt(1.25 * 3), -0.5 / sqrt(0.25 * 3)
    frames = [[1.0, 1.0, 0.0], [2.0, 0.0, 0.0], [3.0, 1.0, 0.0], [4.0, 0.0, 4.0]]
    assert pool_by_hand(make("correlation", 3), frames) == [-0.4472, 0.7746, -0.5774]


def test_attentive_correlation_by_hand() -> None:
    # W_att = identity, q_1 = (1, 0), q_2 = (0, 1), b = (0, ln 2): exp(a_t) = exp(o_1) + 2 exp(o_2)
    # frames (1, -1), (0, 1), (2, 2); o = (1, 0), (0, 1), (2, 2); exp(a) = 4.71828, 6.43656, 22.16717, sum 33.32201
    # w = 0.141597, 0.193162, 0.665241; means 1.472079, 1.382047; variances 0.635543, 1.085669
    # covariance -0.141597 + 4 * 0.665241 - 1.472079 * 1.382047 = 0.484885; / sqrt(0.635543 * 1.085669) = 0.830655
    pooling = make("attentive_correlation", 2, heads=2)
    assert isinstance(pooling, AttentiveCorrelation)
    with torch.no_grad():
        pooling.attention.weight.copy_(torch.eye(2))
        pooling.queries.weight.copy_(torch.eye(2))
        pooling.queries.bias.copy_(torch.tensor([0.0, math.log(2)]))
    assert pool_by_hand(pooling, [[1.0, -1.0], [0.0, 1.0], [2.0, 2.0]]) == [0.5837]


def test_attention_by_hand() -> None:
    # w = (0.5, 0.25); scores tanh(1) = 0.761594, tanh(0) = 0; exp 2.141687, 1; weights 0.681700, 0.318300
    pooling = make("attention", 2)
    assert isinstance(pooling, Attention)
    with torch.no_grad():
        pooling.weight.copy_(torch.tensor([0.5, 0.25]))
    assert pool_by_hand(pooling, [[2.0, 0.0], [0.0, 0.0]]) == [1.3634, 0.0]


# --- formula by formula -----------------------------------------------------------------------------------------------


def covariance(v: Tensor, w: Tensor) -> Tensor:
    mean = torch.zeros(v.shape[1], dtype=v.dtype)
    for frame, weight in zip(v, w, strict=True):
        mean = mean + weight * frame
    matrix = torch.zeros(v.shape[1], v.shape[1], dtype=v.dtype)
    for frame, weight in zip(v, w, strict=True):
        matrix = matrix + weight * torch.outer(frame - mean, frame - mean)
    return matrix


def correlation(v: Tensor, w: Tensor) -> Tensor:
    """C = Σ ⊘ (s sᵀ + ε), exactly as in the paper, values above the diagonal row by row."""
    matrix = covariance(v, w)
    s = matrix.diagonal().sqrt()
    matrix = matrix / (torch.outer(s, s) + 1e-8)
    size = len(matrix)
    return torch.stack([matrix[row, column] for row in range(size) for column in range(row + 1, size)])


def uniform(v: Tensor) -> Tensor:
    return torch.full((len(v),), 1 / len(v), dtype=v.dtype)


def attentive_weights(pooling: Pooling, v: Tensor) -> Tensor:
    assert isinstance(pooling, AttentiveCorrelation)
    scores = []
    for frame in v:
        o = torch.relu(pooling.attention.weight @ frame)
        heads = [q @ o + b for q, b in zip(pooling.queries.weight, pooling.queries.bias, strict=True)]
        scores.append(torch.logsumexp(torch.stack(heads), dim=0))
    return torch.softmax(torch.stack(scores), dim=0)


def attention_weights(pooling: Pooling, v: Tensor) -> Tensor:
    assert isinstance(pooling, Attention)
    return torch.softmax(torch.stack([torch.tanh(pooling.weight @ frame) for frame in v]), dim=0)


PAPER: dict[str, Callable[[Pooling, Tensor], Tensor]] = {
    "mean": lambda pooling, v: uniform(v) @ v,
    "mean_std": lambda pooling, v: torch.cat((uniform(v) @ v, covariance(v, uniform(v)).diagonal().sqrt())),
    "correlation": lambda pooling, v: correlation(v, uniform(v)),
    "attentive_correlation": lambda pooling, v: correlation(v, attentive_weights(pooling, v)),
    "attention": lambda pooling, v: attention_weights(pooling, v) @ v,
}


@pytest.mark.parametrize("name", PAPER)
def test_formula_and_its_gradients(name: str) -> None:
    """Within 1e-6: moving ε into the roots may change a value by ε over the smallest variance, 1e-7 here."""
    pooling, x = make(name), batch().requires_grad_()
    expected = torch.stack([PAPER[name](pooling, x[row, :length]) for row, length in enumerate(LENGTHS)])
    found = pooling(x, torch.tensor(LENGTHS))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    direction = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    inputs = [x, *pooling.parameters()]
    for left, right in zip(
        torch.autograd.grad(found, inputs, direction), torch.autograd.grad(expected, inputs, direction), strict=True
    ):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


def test_epsilon_is_added_to_each_variance() -> None:
    x, epsilon = batch(), 0.3
    matrix = covariance(x[0], uniform(x[0]))
    s = (matrix.diagonal() + epsilon).sqrt()
    expected = (matrix / torch.outer(s, s))[tuple(torch.triu_indices(FEATURES, FEATURES, offset=1))]
    found = make("correlation", eps=epsilon)(x[:1], torch.tensor([LENGTHS[0]]))[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


# --- attention heads --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heads", [1, 2, 5])
def test_log_sum_exp_over_heads_equals_one_softmax(heads: int) -> None:
    pooling, x, lengths = make("attentive_correlation", heads=heads), batch(), torch.tensor(LENGTHS)
    assert isinstance(pooling, AttentiveCorrelation)
    weights, shares = pooling.frame_weights(x, lengths), pooling.head_weights(x, lengths)
    assert shares.shape == (len(LENGTHS), heads, max(LENGTHS))
    torch.testing.assert_close(shares.sum(1), weights, rtol=0, atol=1e-14)
    torch.testing.assert_close(shares.sum((1, 2)), torch.ones(len(LENGTHS), dtype=x.dtype), rtol=0, atol=1e-12)
    for row, length in enumerate(LENGTHS):
        assert (shares[row, :, length:] == 0).all()
        torch.testing.assert_close(weights[row, :length], attentive_weights(pooling, x[row, :length]))


def test_heads_differ_from_each_other_and_from_uniform() -> None:
    pooling = make("attentive_correlation", heads=3)
    assert isinstance(pooling, AttentiveCorrelation)
    shares = pooling.head_weights(batch(), torch.tensor(LENGTHS))[0]
    assert (shares[0] - shares[1]).abs().max() > 1e-3
    assert (shares.sum(0) - 1 / LENGTHS[0]).abs().max() > 1e-3


def test_one_head_is_plain_attention() -> None:
    pooling, x = make("attentive_correlation", heads=1), batch()
    assert isinstance(pooling, AttentiveCorrelation)
    scores = pooling.queries(torch.relu(pooling.attention(x))).squeeze(-1)[:1]
    torch.testing.assert_close(pooling.frame_weights(x, torch.tensor(LENGTHS))[:1], scores.softmax(1))


def test_equal_scores_give_plain_correlation() -> None:
    pooling, x, lengths = make("attentive_correlation"), batch(), torch.tensor(LENGTHS)
    assert isinstance(pooling, AttentiveCorrelation)
    with torch.no_grad():
        pooling.queries.weight.zero_()
    torch.testing.assert_close(pooling(x, lengths), make("correlation")(x, lengths), rtol=0, atol=1e-12)


def test_attention_starts_uniform_in_zero_to_one() -> None:
    pooling = make("attention", 4000)
    assert isinstance(pooling, Attention)
    values = pooling.weight.detach()
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean().item() - 0.5) < 0.02
    assert abs(values.var().item() - 1 / 12) < 0.005


# --- channel dropout --------------------------------------------------------------------------------------------------


def dropped(out: Tensor, features: int) -> Tensor:
    """Channels all of whose correlations are zero, ``(batch, features)``."""
    row, column = torch.triu_indices(features, features, offset=1)
    matrix = torch.zeros(len(out), features, features, dtype=out.dtype)
    matrix[:, row, column] = out
    return ((matrix + matrix.transpose(1, 2)) == 0).all(dim=2)


@pytest.mark.parametrize("name", ["correlation", "attentive_correlation"])
@pytest.mark.parametrize("probability", [0.25, 0.6])
def test_channel_dropout_drops_whole_channels_at_its_rate(name: str, probability: float) -> None:
    features, utterances = 40, 100
    x = torch.randn(utterances, 6, features, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    lengths = torch.full((utterances,), 6)
    pooling = make(name, features, channel_dropout=probability).train()
    torch.manual_seed(4)
    gone = dropped(pooling(x, lengths), features)
    assert abs(gone.double().mean().item() - probability) < 0.03  # 4000 draws: standard error below 0.008
    assert not torch.equal(gone[0], gone[1])
    assert not dropped(pooling.eval()(x, lengths), features).any()


def test_channel_dropout_leaves_other_correlations_alone() -> None:
    pooling, x, lengths = make("correlation"), batch(), torch.tensor(LENGTHS)
    expected, found = pooling(x, lengths), pooling.train()(x, lengths)
    kept = found != 0
    assert kept.any()
    assert not kept.all()
    torch.testing.assert_close(found[kept], expected[kept], rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["correlation", "attentive_correlation"])
def test_channel_dropout_follows_torch_seed(name: str) -> None:
    pooling, x, lengths = make(name, channel_dropout=0.5).train(), batch(), torch.tensor(LENGTHS)
    torch.manual_seed(1)
    first, second = pooling(x, lengths), pooling(x, lengths)
    torch.manual_seed(1)
    assert torch.equal(pooling(x, lengths), first)
    assert not torch.equal(second, first)


@pytest.mark.parametrize("name", ["correlation", "attentive_correlation"])
def test_no_channel_dropout(name: str) -> None:
    pooling, x, lengths = make(name, channel_dropout=0.0), batch(), torch.tensor(LENGTHS)
    assert torch.equal(pooling.train()(x, lengths), pooling.eval()(x, lengths))


def test_channel_dropout_comes_before_the_scores() -> None:
    """The attention sees v with its channels dropped, as the covariance does."""
    pooling, x = make("attentive_correlation", channel_dropout=0.5), batch()
    assert isinstance(pooling, AttentiveCorrelation)
    torch.manual_seed(0)
    v = pooling.train().drop_channels(x)
    expected = pooling.correlate(v, pooling.weights(v, torch.ones(v.shape[:2], dtype=torch.bool)))
    torch.manual_seed(0)
    assert torch.equal(pooling(x, torch.full((len(x),), x.shape[1])), expected)
