"""Single precision stays accurate where the textbook formulas lose it."""

from __future__ import annotations

import math

import pytest
import torch
from small import DEEP, SMALL
from torch import Tensor

from s3prl_emotion.pooling import Pooling, poolings

FEATURES, FRAMES = 12, 200


def correlated(offset: float) -> Tensor:
    """Channels of unit variance around ``offset``, correlated with each other."""
    generator = torch.Generator().manual_seed(3)
    source = torch.randn(2, FRAMES, FEATURES, dtype=torch.float64, generator=generator)
    return source + source[..., :1] + offset


@pytest.mark.parametrize("name", ["mean_std", "correlation", "attentive_correlation"])
def test_large_mean_does_not_cancel(name: str) -> None:
    """|mean| / std about 1000: the one-pass formula E[v vᵀ] - μ μᵀ is off by up to 0.5 there."""
    torch.manual_seed(0)
    pooling = poolings.build(name, {}, input_size=FEATURES).eval()
    x, lengths = correlated(1000.0).float(), torch.tensor([FRAMES, FRAMES // 2])
    if name == "attentive_correlation":
        with torch.no_grad():  # scores of such frames are far apart; keep the weights spread
            pooling.queries.weight.mul_(1e-3)
    found = pooling(x, lengths)
    expected = pooling.double()(x.double(), lengths)
    start = FEATURES if name == "mean_std" else 0  # the means themselves are large
    assert (found.double() - expected)[:, start:].abs().max() < 2e-3


def test_the_one_pass_formula_would_fail_that_test() -> None:
    x = correlated(1000.0).float()
    covariance = x.transpose(1, 2) @ x / FRAMES - x.mean(1).unsqueeze(2) * x.mean(1).unsqueeze(1)
    exact = correlated(1000.0) - correlated(1000.0).mean(1, keepdim=True)
    assert (covariance - exact.transpose(1, 2) @ exact / FRAMES).abs().max() > 2e-2


def gradient_error(pooling: Pooling, x: Tensor, lengths: Tensor) -> float:
    """Largest difference of the input's float32 gradient from float64, relative to the largest entry."""
    grads = []
    for dtype in (torch.float32, torch.float64):
        frames = x.detach().clone().to(dtype).requires_grad_()
        out = pooling.to(dtype)(frames, lengths)
        (out * torch.linspace(-1, 2, out.numel(), dtype=dtype).view_as(out)).sum().backward()
        assert frames.grad is not None
        grads.append(frames.grad.double())
    scale = grads[1].abs().max()
    assert scale > 0
    return float((grads[0] - grads[1]).abs().max() / scale)


@pytest.mark.parametrize("offset", [0.0, 10.0, 1e2, 1e3, 1e4])
@pytest.mark.parametrize("name", ["mean_std", "correlation", "attentive_correlation"])
def test_single_precision_gradients(name: str, offset: float) -> None:
    """However large the mean beside the deviations; centred once, they are off by 6e-4 at 1e4."""
    torch.manual_seed(0)
    pooling = poolings.build(name, {}, input_size=FEATURES).eval()
    if name == "attentive_correlation":
        with torch.no_grad():  # scores of such frames are far apart; keep the weights spread
            pooling.queries.weight.mul_(1e-3)
    assert gradient_error(pooling, correlated(offset).float(), torch.tensor([FRAMES, FRAMES // 2])) < 2e-6


@pytest.mark.parametrize("frames", [3, 50])
@pytest.mark.parametrize("weight", [0.5, 0.9, 0.99, 0.999, 0.99994, 0.99999, 0.999999, 0.9999999])
def test_gradients_where_one_frame_holds_nearly_all_weight(weight: float, frames: int) -> None:
    """Attention that collapses; centred once, the gradient is off by far more."""
    pooling = poolings.build("attentive_correlation", {"heads": 1}, input_size=FEATURES).eval()
    x = correlated(0.0).float()[:, :frames]
    x[:, :, 0] = -x[:, :, 0].abs()  # the first channel says where to look: where it is above zero
    x[:, 0, 0] = 1.0
    with torch.no_grad():
        pooling.attention.weight.zero_()[0, 0] = 1.0
        pooling.queries.weight.zero_()[0, 0] = math.log(weight / (1 - weight) * (frames - 1))
    lengths = torch.tensor([frames, frames])
    with torch.no_grad():
        assert float(1 - pooling.double().frame_weights(x.double(), lengths).amax()) == pytest.approx(1 - weight)
    assert gradient_error(pooling, x, lengths) < 3e-5  # plain autograd of the formula: up to 1.1e-5


def test_the_formula_as_printed_has_nan_gradients() -> None:
    """Why ε moves into the roots: a channel that does not change makes the printed formula's gradient NaN."""
    x = correlated(0.0)[0].clone()
    x[:, 3] = 2.0
    x.requires_grad_()
    centred = x - x.mean(0)
    matrix = centred.T @ centred / FRAMES
    s = matrix.diagonal().sqrt()
    (matrix / (torch.outer(s, s) + 1e-8)).triu(1).sum().backward()
    assert x.grad is not None
    assert x.grad.isnan().any()

    again = x.detach().unsqueeze(0).requires_grad_()
    poolings.build("correlation", {}, input_size=FEATURES).double().eval()(
        again, torch.tensor([FRAMES])
    ).sum().backward()
    assert again.grad is not None
    assert again.grad.isfinite().all()


@pytest.mark.parametrize("name", poolings.names())
def test_a_head_learns(name: str) -> None:
    """Two classes that differ in mean, spread and correlation: pooling and a linear layer tell them apart."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(40, 30, 4, generator=generator)
    labels = torch.arange(40) % 2
    frames[labels == 1, :, 1] += 2 * frames[labels == 1, :, 0] + 1
    torch.manual_seed(0)
    pooling = poolings.build(name, {**SMALL.get(name, {}), **({"block": 30} if name in DEEP else {})}, input_size=4)
    head = torch.nn.Linear(pooling.output_size, 2)
    rate = 0.05 if name not in SMALL else 0.001 if name in DEEP else 0.005
    optimiser = torch.optim.Adam([*pooling.parameters(), *head.parameters()], lr=rate)
    lengths = torch.randint(15, 31, (40,), generator=generator)
    before = [parameter.clone() for parameter in pooling.parameters()]
    for _ in range(25 if name in DEEP else 60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(head(pooling(frames, lengths)), labels).backward()
        optimiser.step()
    pooling.train(name in DEEP)  # whose running statistics take longer than this
    predicted = head(pooling(frames, lengths)).argmax(1)
    assert (predicted == labels).double().mean() > 0.9
    assert all(not torch.equal(old, new) for old, new in zip(before, pooling.parameters(), strict=True))
