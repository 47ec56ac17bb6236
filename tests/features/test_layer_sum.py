"""The weighted sum over stored states is S3PRL's, forward and backward, and the mean-pooling shortcut is exact."""

from __future__ import annotations

import pytest
import torch

from s3prl_emotion.downstream.config import ModelConfig
from s3prl_emotion.downstream.head import Head, sees_only_means
from s3prl_emotion.features.ragged import LayerSum, RaggedBatch, pack, pad

LENGTHS = (5, 9, 2)


@pytest.fixture
def blocks() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, frames, 6, generator=generator) for frames in LENGTHS]


def _s3prl_sum(blocks: list[torch.Tensor], weights: torch.Tensor, normalize: bool) -> list[torch.Tensor]:
    """Through S3PRL's own featurizer, on the padded batch."""
    import s3prl_emotion

    s3prl_emotion.register()
    from s3prl.upstream.interfaces import Featurizer

    layers = [
        torch.nn.utils.rnn.pad_sequence([block[layer] for block in blocks], batch_first=True) for layer in range(4)
    ]
    featurizer = Featurizer.__new__(Featurizer)
    torch.nn.Module.__init__(featurizer)
    featurizer.layer_num, featurizer.normalize, featurizer.weights = 4, normalize, torch.nn.Parameter(weights)
    summed = featurizer._weighted_sum(layers)
    loss = sum((summed[i, :frames] ** 2).sum() for i, frames in enumerate(LENGTHS))
    loss.backward()
    return [summed[i, :frames] for i, frames in enumerate(LENGTHS)], featurizer.weights.grad


@pytest.mark.parametrize("normalize", [False, True])
def test_it_is_s3prls_weighted_sum(blocks, normalize: bool) -> None:
    weights = torch.tensor([0.3, -1.0, 0.5, 0.1])
    expected, gradient = _s3prl_sum(blocks, weights, normalize)
    mine = LayerSum(4, normalize)
    mine.weights.data.copy_(weights)
    flat = mine(blocks)
    torch.testing.assert_close(flat, torch.cat(expected))
    (flat**2).sum().backward()
    torch.testing.assert_close(mine.weights.grad, gradient)


def test_half_precision_states_are_summed_in_single_precision(blocks) -> None:
    halves = [block.half() for block in blocks]
    mine = LayerSum(4)
    out = mine(halves)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, torch.cat([block.float().mean(dim=0) for block in halves]))


def test_one_layer_learns_nothing(blocks) -> None:
    mine = LayerSum(1)
    assert mine.state_dict() == {}
    assert torch.equal(mine([block[:1] for block in blocks]), torch.cat([block[0] for block in blocks]))


def test_packing_copies_nothing_twice(blocks) -> None:
    features = [block[0] for block in blocks]
    packed = pack(features)
    assert isinstance(packed, list)
    assert pack(packed) is packed
    assert all(torch.equal(one, two) for one, two in zip(packed, features, strict=True))
    padded, lengths = pad(packed)
    assert padded.shape == (3, 9, 6)
    assert lengths.tolist() == list(LENGTHS)
    assert padded[2, 2:].abs().max() == 0


def test_mean_pooling_needs_one_vector_for_each_layer(blocks) -> None:
    """The proof by numbers, in float64: the same logits and the same gradients of head and layer weights."""
    config = ModelConfig(pooling={"name": "mean"}, projector_dim=5)
    assert sees_only_means(config)
    torch.manual_seed(0)
    head = Head(6, 3, config).double()
    results = []
    for states in (blocks, [block.double().mean(dim=1, keepdim=True) for block in blocks]):
        weights = torch.tensor([0.3, -1.0, 0.5, 0.1], dtype=torch.float64, requires_grad=True)
        share = torch.softmax(weights, dim=0)
        flat = torch.cat([torch.einsum("l,ltd->td", share, block.double()) for block in states])
        logits = head(RaggedBatch(flat, [block.shape[1] for block in states]))
        gradients = torch.autograd.grad(logits.square().sum(), [weights, *head.parameters()])
        results.append((logits, *gradients))
    for full, short in zip(*results, strict=True):
        torch.testing.assert_close(full, short, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(pooling={"name": "mean_std"}),
        ModelConfig(pooling={"name": "attention"}),
        ModelConfig(pooling={"name": "mean"}, dropout=0.1),
    ],
)
def test_other_heads_need_frames(config: ModelConfig) -> None:
    assert not sees_only_means(config)


@pytest.mark.parametrize("pooling", ["mean_std", "attentive_correlation", "attention"])
def test_pooling_by_length_changes_no_result(pooling: str) -> None:
    """A batch of 37 in its groups, against every utterance alone, logits and gradients."""
    torch.manual_seed(0)
    head = Head(6, 3, ModelConfig(pooling={"name": pooling}, projector_dim=5)).double().eval()
    features = [torch.randn(frames, 6, dtype=torch.float64) for frames in torch.randint(1, 40, (37,)).tolist()]
    together = head(pack(features))
    alone = torch.cat([head(pack([item])) for item in features])
    torch.testing.assert_close(together, alone)
    for one, two in zip(
        torch.autograd.grad(together.square().sum(), list(head.parameters())),
        torch.autograd.grad(alone.square().sum(), list(head.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(one, two)


def test_released_poolings_see_the_projectors_bias_as_padding() -> None:
    config = ModelConfig(
        pooling={"name": "correlation", "channel_dropout": 0.0, "variant": "released"}, projector_dim=4
    )
    head = Head(6, 3, config)
    x, y = torch.randn(8, 6), torch.randn(3, 6)
    projected = head.projector(torch.nn.utils.rnn.pad_sequence([x, y], batch_first=True))
    expected = head.classifier(head.pooling(projected, torch.tensor([8, 3])))
    torch.testing.assert_close(head(pack([x, y])), expected)
