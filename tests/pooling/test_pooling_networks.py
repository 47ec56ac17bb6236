"""The two networks of arXiv 2312.11503: against torch's own layers, and what they do at the edges."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import small
from torch import nn
from torch.nn import functional

from s3prl_emotion.downstream.config import ModelConfig
from s3prl_emotion.downstream.head import Head
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.features.ragged import pack
from s3prl_emotion.pooling import poolings
from s3prl_emotion.pooling.convolutional import MaskedBatchNorm


def test_masked_batch_norm_is_torchs_over_valid_frames() -> None:
    torch.manual_seed(0)
    x, lengths = torch.randn(3, 7, 4), torch.tensor([7, 3, 1])
    valid = torch.arange(7) < lengths.unsqueeze(1)
    ours, theirs = MaskedBatchNorm(4), nn.BatchNorm1d(4)
    for _ in range(3):
        found = ours(x, valid.float())[valid]
        torch.testing.assert_close(found, theirs(x[valid]))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(x, valid.float())[valid], theirs.eval()(x[valid]))


def test_cnn_is_these_layers_one_after_the_other() -> None:
    """A clip without padding through torch's own layers, ``padding="same"``."""
    torch.manual_seed(1)
    pooling = poolings.build("cnn", {"width": 4}, input_size=5).eval()
    for norm in (pooling.scaling, *pooling.norms):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    x = torch.randn(1, 11, 5)

    def normalised(norm: MaskedBatchNorm, y: torch.Tensor) -> torch.Tensor:
        return functional.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    y = normalised(pooling.scaling, x.transpose(1, 2))
    for block, norm in zip(pooling.blocks, (*pooling.norms, None), strict=True):
        for layer in block:
            y = functional.relu(functional.conv1d(y, layer.weight, layer.bias, padding="same"))
        y = y if norm is None else normalised(norm, y)
    r = y.mean(dim=2)
    for layer in pooling.dense:
        r = functional.relu(layer(r))
    torch.testing.assert_close(pooling(x, torch.tensor([11])), r)


def test_cnn_has_the_papers_size() -> None:
    pooling = poolings.build("cnn", {}, input_size=94)
    assert [[layer.out_channels for layer in block] for block in pooling.blocks] == [[256] * 2, [128] * 4, [64] * 2]
    assert {layer.kernel_size for block in pooling.blocks for layer in block} == {(8,)}
    assert pooling.output_size == 64


def test_mobilenet_is_torchvisions_over_blocks() -> None:
    """Frames 0 to 4 and 3 to 7 of a clip of 8; a clip of 3 goes round: 0 1 2 0 1."""
    pooling = small("mobilenet", 6)
    x = torch.randn(2, 8, 6)
    images = torch.stack([x[0, 0:5], x[0, 3:8], x[1, [0, 1, 2, 0, 1]]]).unsqueeze(1).expand(-1, 3, -1, -1)
    seen = pooling.network(images).mean(dim=(2, 3))
    found = pooling(x, torch.tensor([8, 3]))
    torch.testing.assert_close(found, torch.stack([seen[:2].mean(dim=0), seen[2]]))
    weights = pooling.frame_weights(x, torch.tensor([8, 3]))
    torch.testing.assert_close(weights[0], torch.tensor([1, 1, 1, 2, 2, 1, 1, 1]) / 10)
    torch.testing.assert_close(weights[1, :4], torch.tensor([2, 2, 1, 0]) / 5)


def test_mobilenet_takes_weights_from_a_file(tmp_path: Path) -> None:
    from torchvision.models import mobilenet_v2

    torch.manual_seed(3)
    network = mobilenet_v2(width_mult=0.1)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    options = {"width": 0.1, "weights": str(tmp_path / "weights.pt")}
    pooling = poolings.build("mobilenet", options, input_size=6)
    assert all(
        torch.equal(value, network.features.state_dict()[key]) for key, value in pooling.network.state_dict().items()
    )
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no weights")
    whole = {name: value.mul(100).to(torch.int8) for name, value in network.state_dict().items()}
    torch.save(whole, tmp_path / "quantised.pt")
    for file, message in (
        ("missing.pt", "no such file"),
        ("other.pt", "not the state dict of torchvision's MobileNetV2"),
        ("text.pt", "not the state dict of torchvision's MobileNetV2"),
        ("quantised.pt", "holds torch.int8, expected torch.float32"),
    ):
        with pytest.raises(ConfigError, match=message):
            poolings.build("mobilenet", {"width": 0.1, "weights": str(tmp_path / file)}, input_size=6)
    with pytest.raises(ConfigError, match="not the state dict"):
        poolings.build("mobilenet", {"width": 1.0, "weights": str(tmp_path / "weights.pt")}, input_size=6)


def test_mobilenet_without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchvision.models.mobilenetv2", None)
    with pytest.raises(ConfigError, match=r"pip install 's3prl-emotion\[mobilenet\]'"):
        poolings.build("mobilenet", {}, input_size=6)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cnn", {"width": 0}, "width must be a whole number of at least 1"),
        ("cnn", {"kernel": 2.5}, "kernel must be a whole number"),
        ("cnn", {"dropout": 1}, r"dropout must be a number in \[0, 1\)"),
        ("mobilenet", {"block": 0}, "block must be a whole number"),
        ("mobilenet", {"width": "1e-1"}, "width must be a number above 0"),
        ("mobilenet", {"weight": "x"}, "unknown option 'weight'"),
    ],
)
def test_wrong_options(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        poolings.build(name, options, input_size=6)


def test_a_batch_is_normalised_whole() -> None:
    """In training the head pools a batch of 20 at once, so that its statistics are the batch's; else in groups."""
    torch.manual_seed(0)
    head = Head(6, 2, ModelConfig(pooling={"name": "cnn", "width": 2}, projector_dim=None))
    calls: list[int] = []
    head.pooling.register_forward_pre_hook(lambda module, given: calls.append(len(given[0])))
    features = pack([torch.randn(frames, 6) for frames in range(1, 21)])
    head.train()(features)
    assert calls == [20]
    calls.clear()
    head.eval()(features)
    assert calls == [8, 8, 4]
