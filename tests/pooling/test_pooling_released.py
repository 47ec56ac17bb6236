"""``variant="released"`` computes what the authors' code computes (github.com/skakouros/s3prl_attentive_correlation).

The references below do what that code does, one utterance at a time. The poolings' docstrings say what is wrong in it.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from s3prl_emotion.pooling import Pooling, poolings
from s3prl_emotion.pooling.correlation import AttentiveCorrelation

FEATURES = 5
LENGTHS = torch.tensor([8, 5, 2])
UPPER = tuple(torch.triu_indices(FEATURES, FEATURES, offset=1))


def make(name: str, variant: str = "released", **options: object) -> Pooling:
    torch.manual_seed(0)
    return poolings.build(name, {"variant": variant, **options}, input_size=FEATURES).double().eval()


def batch() -> Tensor:
    return torch.randn(3, 8, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(5)) + 1


def released_mean_std(pooling: Pooling, x: Tensor) -> list[Tensor]:
    utterances = [frames[:length] for frames, length in zip(x, LENGTHS, strict=True)]
    return [torch.cat((frames.mean(0), frames.std(0))) for frames in utterances]


def released_correlation(pooling: Pooling, x: Tensor) -> list[Tensor]:
    out = []
    for frames in x:  # lengths play no part
        z = (frames - frames.mean(0)) / (frames.std(0) + 1e-9)
        out.append((z.T @ z / len(frames))[UPPER])
    return out


def released_attentive_correlation(pooling: Pooling, x: Tensor) -> list[Tensor]:
    assert isinstance(pooling, AttentiveCorrelation)
    mask = torch.arange(x.shape[1]) < LENGTHS.unsqueeze(1)
    logits = torch.logsumexp(pooling.queries(torch.relu(pooling.attention(x))), dim=-1)
    weights = torch.softmax(mask + logits, dim=-1).unsqueeze(-1)
    mean = (x * weights).sum(1)
    out = []
    for frames, centre, weight in zip(x, mean, weights, strict=True):
        matrix = ((frames - centre) * weight).T @ (frames - centre)
        s = torch.sqrt(matrix.diagonal() + 1e-9)
        out.append((matrix / torch.outer(s, s))[UPPER])
    return out


REFERENCES = {
    "mean_std": released_mean_std,
    "correlation": released_correlation,
    "attentive_correlation": released_attentive_correlation,
}
DISTANCE = {"mean_std": 0.02, "correlation": 0.02, "attentive_correlation": 0.02}


@pytest.mark.parametrize("name", REFERENCES)
def test_matches_the_released_code_and_the_paper_variant_does_not(name: str) -> None:
    pooling, x = make(name), batch()
    expected = torch.stack(REFERENCES[name](pooling, x))
    torch.testing.assert_close(pooling(x, LENGTHS), expected, rtol=0, atol=1e-12)
    assert (make(name, "paper")(x, LENGTHS) - expected).abs().max() > DISTANCE[name]


def test_released_correlation_ignores_lengths() -> None:
    x, full = batch(), torch.full_like(LENGTHS, 8)
    assert torch.equal(make("correlation")(x, LENGTHS), make("correlation")(x, full))
    assert not torch.allclose(
        make("correlation", "paper")(x, LENGTHS), make("correlation", "paper")(x, full), atol=0.02
    )
    assert torch.equal(make("correlation").frame_weights(x, LENGTHS), torch.full((3, 8), 1 / 8, dtype=x.dtype))


def test_released_correlation_is_shrunk_by_its_two_divisors() -> None:
    x, full = batch(), torch.full_like(LENGTHS, 8)
    torch.testing.assert_close(
        make("correlation")(x, full), make("correlation", "paper")(x, full) * 7 / 8, rtol=1e-6, atol=1e-8
    )


def test_released_attention_leaves_weight_on_padding() -> None:
    pooling, x = make("attentive_correlation"), batch()
    weights = pooling.frame_weights(x, LENGTHS)
    torch.testing.assert_close(weights.sum(1), torch.ones(3, dtype=x.dtype))
    assert weights[2, 2:].sum() > 0.3  # six of eight frames are padding
    assert isinstance(pooling, AttentiveCorrelation)
    torch.testing.assert_close(pooling.head_weights(x, LENGTHS).sum(1), weights)
    assert make("attentive_correlation", "paper").frame_weights(x, LENGTHS)[2, 2:].sum() == 0


@pytest.mark.parametrize("name", ["correlation", "attentive_correlation"])
def test_padding_changes_the_released_output_only(name: str) -> None:
    x, longer = batch(), torch.cat((batch(), torch.zeros(3, 4, FEATURES, dtype=torch.float64)), dim=1)
    assert (make(name)(x, LENGTHS) - make(name)(longer, LENGTHS)).abs().max() > 0.02
    torch.testing.assert_close(
        make(name, "paper")(x, LENGTHS), make(name, "paper")(longer, LENGTHS), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("name", ["correlation", "attentive_correlation"])
def test_released_epsilon_is_hard_coded(name: str) -> None:
    x = batch() * 1e-4
    assert torch.equal(make(name, eps=1.0)(x, LENGTHS), make(name)(x, LENGTHS))


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("frames", [1, 6])
def test_released_is_finite_for_one_frame_and_constant_frames(name: str, training: bool, frames: int) -> None:
    pooling = make(name).train(training)
    x = batch()[:, :1].expand(-1, frames, -1).clone().requires_grad_()
    out = pooling(x, torch.ones(3, dtype=torch.long))
    assert out.isfinite().all()
    (out * torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", REFERENCES)
def test_released_gradients(name: str) -> None:
    x = batch()[:, :, :].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: make(name)(x, LENGTHS), (x,))


@pytest.mark.parametrize(
    ("name", "variant"), [(name, variant) for name in REFERENCES for variant in ("paper", "released")]
)
def test_known_variants_are_accepted(name: str, variant: str) -> None:
    assert make(name, variant).output_size > 0
