"""The objective against a direct computation in float64, and against torchaudio's HuBERTPretrainModel."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.pretraining.objective import LabelHead, MaskedPrediction
from tests.pretraining.models import small_hubert

FRAMES = (24, 17, 11)


def _batch(padded: bool = True) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor(FRAMES if padded else (24, 24, 24))
    samples = [400 + 320 * (int(count) - 1) for count in lengths]
    waveforms = torch.zeros(3, max(samples))
    for row, count in zip(waveforms, samples, strict=True):
        row[:count] = torch.randn(count, generator=generator)
    labels = torch.randint(5, (3, 24), generator=generator)
    mask = torch.rand(3, 24, generator=generator) < 0.5
    return waveforms, lengths, labels, mask & (torch.arange(24) < lengths[:, None])


def test_head_is_cosine_over_temperature_in_float64() -> None:
    """Logit by logit, and the gradients, from the formula written out."""
    head = LabelHead(6, 4, 3, 0.1, torch.Generator().manual_seed(0)).double()
    states = torch.randn(7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    labels = torch.tensor([0, 1, 2, 3, 0, 1, 2])
    logits = head(states)
    nn.functional.cross_entropy(logits, labels, reduction="sum").backward()
    found = [states.grad.clone(), head.embeddings.grad.clone(), head.projection.weight.grad.clone()]
    states.grad = None
    head.zero_grad()
    total = torch.zeros((), dtype=torch.float64)
    for frame in range(7):
        projected = head.projection.weight @ states[frame] + head.projection.bias
        scores = []
        for label in range(4):
            embedding = head.embeddings[label]
            cosine = (projected * embedding).sum() / (projected.pow(2).sum().sqrt() * embedding.pow(2).sum().sqrt())
            scores.append(torch.exp(cosine / 0.1))
            assert math.isclose(logits[frame, label].item(), cosine.item() / 0.1, abs_tol=1e-9)
        total = total - torch.log(scores[int(labels[frame])] / sum(scores))
    total.backward()
    for mine, direct in zip(found, (states.grad, head.embeddings.grad, head.projection.weight.grad), strict=True):
        torch.testing.assert_close(mine, direct, rtol=1e-9, atol=1e-12)


class _GivenMask(nn.Module):
    """torchaudio's mask generator with our mask."""

    def __init__(self, mask: Tensor, embedding: nn.Parameter) -> None:
        super().__init__()
        self.mask, self.embedding = mask, embedding

    def forward(self, x: Tensor, padding_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        return torch.where(self.mask[..., None], self.embedding, x), self.mask


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("norm", "stable"), [("group", False), ("layer", True)])
def test_loss_and_gradients_equal_torchaudios(norm: str, stable: bool, padded: bool) -> None:
    from torchaudio.models import HuBERTPretrainModel
    from torchaudio.models.wav2vec2.components import LogitGenerator
    from torchaudio.models.wav2vec2.utils import import_huggingface_model

    model = MaskedPrediction(small_hubert(norm, stable), 5, 8, 0.1, False, torch.Generator().manual_seed(0)).eval()
    theirs = import_huggingface_model(model.hubert).eval()
    logits = LogitGenerator(16, 5, 8, skip_masked=False, skip_nomask=False)
    logits.label_embeddings.data.copy_(model.head.embeddings.data)
    logits.final_proj.load_state_dict(model.head.projection.state_dict())
    waveforms, lengths, labels, mask = _batch(padded)
    embedding = nn.Parameter(model.hubert.masked_spec_embed.detach().clone())
    oracle = HuBERTPretrainModel(theirs, _GivenMask(mask, embedding), logits, None)
    samples = 400 + 320 * (lengths - 1)
    masked, unmasked, penalty = oracle(waveforms, labels, samples if padded else None)
    expected = nn.functional.cross_entropy(masked, torch.zeros(len(masked), dtype=torch.long), reduction="sum")
    if padded:  # torchaudio averages the penalty over padding too, ours does not
        expected.backward()
    else:
        (expected + 10 * penalty * mask.sum()).backward()

    found = model(waveforms, lengths, labels, mask, unmasked=True)
    torch.testing.assert_close(found.cross_entropy, expected, rtol=1e-5, atol=1e-4)
    assert int(found.correct) == int((masked.argmax(-1) == 0).sum())
    assert int(found.unmasked_correct) == int((unmasked.argmax(-1) == 0).sum())
    (found.cross_entropy if padded else found.cross_entropy + 10 * found.penalty * mask.sum()).backward()
    if not padded:
        torch.testing.assert_close(found.penalty, penalty)
    pairs = {
        "embeddings": (model.head.embeddings, logits.label_embeddings),
        "projection": (model.head.projection.weight, logits.final_proj.weight),
        "mask embedding": (model.hubert.masked_spec_embed, embedding),
        "features": (
            model.hubert.feature_extractor.conv_layers[0].conv.weight,
            theirs.feature_extractor.conv_layers[0].conv.weight,
        ),
        "block": (
            model.hubert.encoder.layers[0].feed_forward.output_dense.weight,
            theirs.encoder.transformer.layers[0].feed_forward.output_dense.weight,
        ),
    }
    for name, (mine, other) in pairs.items():
        assert float(other.grad.abs().max()) > 0, name
        torch.testing.assert_close(
            mine.grad, other.grad, rtol=2e-4, atol=2e-4 * float(other.grad.abs().max()), msg=name
        )


@pytest.mark.parametrize("stable", [False, True])
def test_padding_is_neither_seen_nor_scored(stable: bool) -> None:
    """With layer normalisation the sums of a padded batch are those of its utterances alone."""
    model = MaskedPrediction(small_hubert("layer", stable), 5, 8, 0.1, True, torch.Generator().manual_seed(0)).eval()
    waveforms, lengths, labels, mask = _batch()
    together = model(waveforms, lengths, labels, mask, unmasked=True)
    alone = []
    for row in range(3):
        count = int(lengths[row])
        samples = 400 + 320 * (count - 1)
        one = slice(row, row + 1)
        alone.append(
            model(waveforms[one, :samples], lengths[one], labels[one, :count], mask[one, :count], unmasked=True)
        )
    torch.testing.assert_close(together.cross_entropy, sum(item.cross_entropy for item in alone), rtol=1e-5, atol=1e-4)
    assert int(together.unmasked_correct) == sum(int(item.unmasked_correct) for item in alone)


def test_frozen_convolutions_get_no_gradient_and_the_penalty_changes_none() -> None:
    model = MaskedPrediction(small_hubert(), 5, 8, 0.1, True, torch.Generator().manual_seed(0)).train()
    assert not model.hubert.feature_extractor.training
    found = model(*_batch())
    (found.cross_entropy + 10 * found.penalty).backward()
    assert all(item.grad is None for item in model.hubert.feature_extractor.parameters())
    assert float(model.hubert.masked_spec_embed.grad.abs().max()) > 0


def test_a_base_without_a_mask_embedding_gets_one() -> None:
    model = MaskedPrediction(small_hubert(mask_time_prob=0.0), 5, 8, 0.1, True, torch.Generator().manual_seed(0))
    assert model.hubert.masked_spec_embed.shape == (16,)


def test_other_models_are_refused() -> None:
    from transformers import WavLMConfig, WavLMModel

    config = WavLMConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    with pytest.raises(UpstreamError, match="expected a HuBERT, found a model of type 'wavlm'"):
        MaskedPrediction(WavLMModel(config), 5, 8, 0.1, True, torch.Generator())


def test_the_penalty_is_of_valid_frames_alone() -> None:
    """Mean square of the convolutional features over the frames that are no padding, by hand."""
    model = MaskedPrediction(small_hubert("layer"), 5, 8, 0.1, False, torch.Generator().manual_seed(0)).eval()
    waveforms, lengths, labels, mask = _batch(padded=True)
    waveforms[:, :] = torch.where(waveforms == 0, 3 * torch.randn(waveforms.shape), waveforms)  # padding that is heard
    with torch.no_grad():
        features = model.hubert.feature_extractor(waveforms).transpose(1, 2)
    valid = torch.cat([row[: int(count)] for row, count in zip(features, lengths, strict=True)])
    assert len(valid) < features.shape[0] * features.shape[1]
    torch.testing.assert_close(model(waveforms, lengths, labels, mask).penalty, valid.square().mean())
    assert not torch.isclose(valid.square().mean(), features.square().mean(), rtol=1e-3)
