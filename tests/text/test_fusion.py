"""Speech and text in one head."""

from __future__ import annotations

import pytest
import torch

from s3prl_emotion.downstream.config import AuxiliaryConfig, ModelConfig, StartConfig
from s3prl_emotion.downstream.head import Head, sees_only_means
from s3prl_emotion.downstream.text import TextBranch
from s3prl_emotion.features.ragged import pack
from s3prl_emotion.pooling import poolings
from s3prl_emotion.text.settings import TextConfig

TEXTS = ["the lamp", "no", "it is slick"]
DEVICE = torch.device("cpu")


def _speech(width: int = 12) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(length, width, generator=generator) for length in (5, 9, 7)]


@pytest.mark.parametrize("pooling", sorted(poolings.names()))
def test_any_pooling_beside_text_and_gradients_reach_both(pooling: str, bert) -> None:
    torch.manual_seed(0)
    text = TextConfig(encoder=str(bert), trainable=True)
    branch = TextBranch(text)
    head = Head(12, 4, ModelConfig(pooling={"name": pooling}, projector_dim=8, text=text), branch.output_size)
    features = [item.requires_grad_() for item in _speech()]
    logits = head(pack(features), branch(TEXTS, DEVICE))
    assert logits.shape == (3, 4)
    logits.logsumexp(dim=1).sum().backward()
    assert all(float(item.grad.abs().sum()) > 0 for item in features), "of the speech, which an upstream is behind"
    reached = [name for name, value in branch.named_parameters() if value.grad is not None and bool(value.grad.any())]
    assert any("layer.0.attention" in name for name in reached)
    assert any("word_embeddings" in name for name in reached)


def test_by_hand(bert) -> None:
    """Without dropout the logits are one linear map of both vectors, side by side."""
    text = TextConfig(encoder=str(bert))
    branch = TextBranch(text).eval()
    head = Head(12, 4, ModelConfig(pooling={"name": "mean"}, projector_dim=None, text=text), 16).eval()
    features, said = _speech(), branch(TEXTS, DEVICE)
    both = torch.cat([torch.stack([item.mean(dim=0) for item in features]), said], dim=1)
    expected = both @ head.classifier.weight.T + head.classifier.bias
    torch.testing.assert_close(head(pack(features), said), expected, rtol=1e-5, atol=1e-6)
    assert sees_only_means(ModelConfig(pooling={"name": "mean"}, projector_dim=None, text=text))


def test_each_side_has_its_dropout(bert) -> None:
    text = TextConfig(encoder=str(bert), dropout=0.0, speech_dropout=0.9)
    head = Head(12, 4, ModelConfig(pooling={"name": "mean"}, projector_dim=None, text=text), 16).train()
    seen: list[torch.Tensor] = []
    head.classifier.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    torch.manual_seed(0)
    said = torch.ones(3, 16)
    head(pack(_speech()), said)
    assert torch.equal(seen[0][:, 12:], said)
    assert int((seen[0][:, :12] == 0).sum()) > 20


def test_without_speech_nothing_of_it_enters(bert) -> None:
    text = TextConfig(encoder=str(bert), speech=False)
    head = Head(12, 4, ModelConfig(pooling={"name": "mean"}, projector_dim=None, text=text), 16).eval()
    said = TextBranch(text)(TEXTS, DEVICE)
    assert torch.equal(head(pack(_speech()), said), head(pack([7 * item for item in _speech()]), said))
    assert head.classifier.in_features == 16


def test_a_frozen_encoder_is_no_part_of_a_checkpoint(bert) -> None:
    assert TextBranch(TextConfig(encoder=str(bert))).state_dict() == {}
    trained = TextBranch(TextConfig(encoder=str(bert), trainable=True)).state_dict()
    assert "encoder.model.embeddings.word_embeddings.weight" in trained
    assert not [name for name in trained if "pooler" in name or "cls" in name]


@pytest.mark.parametrize(
    "given",
    [
        {"projector_dim": 8, "pooling": {"name": "mean"}},
        {"projector_dim": None, "pooling": {"name": "correlation"}},
        {"projector_dim": None, "pooling": {"name": "mean"}, "dropout": 0.1},
        {"projector_dim": None, "pooling": {"name": "mean"}, "auxiliary": AuxiliaryConfig()},
        {"projector_dim": None, "pooling": {"name": "mean"}, "pretrained": StartConfig()},
    ],
)
def test_settings_of_speech_that_is_switched_off_are_refused(given) -> None:
    with pytest.raises(ValueError, match=r"text.speech is false"):
        ModelConfig(**given, text=TextConfig(speech=False))


@pytest.mark.parametrize(
    ("given", "says"),
    [({"dropout": 1.0}, "dropout"), ({"speech_dropout": -0.1}, "speech_dropout"), ({"max_tokens": 2}, "max_tokens")],
)
def test_values_out_of_range(given, says) -> None:
    with pytest.raises(ValueError, match=says):
        TextConfig(**given)


def test_a_head_that_reads_text_needs_one(bert) -> None:
    text = TextConfig(encoder=str(bert))
    with pytest.raises(ValueError, match="given none"):
        Head(12, 4, ModelConfig(pooling={"name": "mean"}, text=text), 16)(pack(_speech()))
