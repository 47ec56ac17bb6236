"""Single precision stays accurate where the textbook formulas lose it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from s3prl_emotion.pooling import poolings

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


@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("name", ["correlation", "attentive_correlation"])
def test_single_precision_gradients(name: str, offset: float) -> None:
    torch.manual_seed(0)
    pooling = poolings.build(name, {}, input_size=FEATURES).eval()
    lengths = torch.tensor([FRAMES, FRAMES // 2])
    grads = []
    for dtype in (torch.float32, torch.float64):
        x = correlated(offset).float().to(dtype).requires_grad_()
        out = pooling.to(dtype)(x, lengths)
        (out * torch.linspace(-1, 2, out.numel(), dtype=dtype).view_as(out)).sum().backward()
        assert x.grad is not None
        grads.append(x.grad.double())
    scale = grads[1].abs().max()
    assert scale > 0
    assert (grads[0] - grads[1]).abs().max() < 2e-3 * scale


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
    pooling = poolings.build(name, {}, input_size=4)
    head = torch.nn.Linear(pooling.output_size, 2)
    optimiser = torch.optim.Adam([*pooling.parameters(), *head.parameters()], lr=0.05)
    lengths = torch.randint(15, 31, (40,), generator=generator)
    before = [parameter.clone() for parameter in pooling.parameters()]
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(head(pooling(frames, lengths)), labels).backward()
        optimiser.step()
    predicted = head(pooling.eval()(frames, lengths)).argmax(1)
    assert (predicted == labels).double().mean() > 0.9
    assert all(not torch.equal(old, new) for old, new in zip(before, pooling.parameters(), strict=True))
