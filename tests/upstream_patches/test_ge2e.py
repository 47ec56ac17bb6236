"""Resemblyzer's encoder: random weights in the wheel's form against torch's own three-layer LSTM."""

from __future__ import annotations

import pytest
import torch

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.upstream_patches.ge2e import ge2e


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(40, 256, 3, batch_first=True)
    state = {f"lstm.{name}": value for name, value in lstm.state_dict().items()}
    path = tmp_path_factory.mktemp("ge2e") / "random.pt"
    torch.save({"step": 1, "model_state": {**state, "similarity_weight": torch.ones(1)}}, path)
    return path, lstm


def noise(samples, level=0.1):
    return level * torch.randn(samples, generator=torch.Generator().manual_seed(samples))


@torch.no_grad()
def test_the_last_layer_is_that_of_the_whole_network(made):
    path, lstm = made
    encoder = ge2e(str(path)).eval()
    states = encoder([noise(16000)])["hidden_states"]
    assert [tuple(layer.shape) for layer in states] == [(1, 101, 256)] * 3
    expected, _ = lstm(encoder.frames(noise(16000))[None])
    torch.testing.assert_close(states[-1], expected)
    assert encoder.get_downsample_rates() == 160


@torch.no_grad()
def test_padding_and_batch_mates_change_nothing(made):
    encoder = ge2e(str(made[0])).eval()
    alone = encoder([noise(1600)])["hidden_states"]
    beside = encoder([noise(1600), noise(16000)])["hidden_states"]
    for one, two in zip(alone, beside, strict=True):
        assert one.shape[1] == 11
        torch.testing.assert_close(two[0, :11], one[0])


@torch.no_grad()
def test_quiet_speech_is_raised_and_loud_speech_is_left(made):
    encoder = ge2e(str(made[0])).eval()
    quiet, quieter = (encoder([noise(16000, level)])["last_hidden_state"] for level in (1e-3, 1e-4))
    torch.testing.assert_close(quiet, quieter, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(encoder([noise(16000, 0.5)])["last_hidden_state"], quiet, atol=1e-3)
    assert torch.isfinite(encoder([torch.zeros(1600)])["last_hidden_state"]).all()


def test_the_spectrogram_is_librosas(made):
    librosa = pytest.importorskip("librosa")
    wav = noise(4000, 0.5)
    expected = librosa.feature.melspectrogram(y=wav.numpy(), sr=16000, n_fft=400, hop_length=160, n_mels=40)
    torch.testing.assert_close(ge2e(str(made[0])).frames(wav), torch.from_numpy(expected.T), atol=1e-4, rtol=1e-4)


def test_without_resemblyzer_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr("s3prl_emotion.upstreams.ge2e.find_spec", lambda name: None)
    with pytest.raises(UpstreamError, match="pip install Resemblyzer"):
        ge2e()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda value: value.mul(100).to(torch.int8), "is of int8, expected floating-point numbers"),
        (lambda value: value.mul(100).to(torch.int64), "is of int64, expected floating-point numbers"),
        (lambda value: value * torch.nan, "holds values that are not finite"),
    ],
)
def test_numbers_that_are_no_weights(made, tmp_path, change, says):
    content = torch.load(made[0], weights_only=True)
    changed = {name: change(value) for name, value in content["model_state"].items()}
    torch.save({**content, "model_state": changed}, tmp_path / "changed.pt")
    with pytest.raises(UpstreamError, match=says):
        ge2e(str(tmp_path / "changed.pt"))


def test_a_file_of_something_else(tmp_path):
    torch.save({"weights": {}}, tmp_path / "other.pt")
    with pytest.raises(UpstreamError, match="expected Resemblyzer's model_state, found keys weights"):
        ge2e(str(tmp_path / "other.pt"))
