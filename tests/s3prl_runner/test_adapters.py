"""Adapters that somebody else wrote: what they must give, and what is said where they do not."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import s3prl_emotion
from s3prl_emotion.corpora.validation import validate
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.s3prl_runner.arguments import arguments
from s3prl_emotion.s3prl_runner.cache import CacheOptions, open_cache


class Adapter(nn.Module):
    """Frames of 320 samples as features; what it gives for them can be spoilt."""

    def __init__(self, spoil: Callable[[torch.Tensor], Any] | None = None, rate: Any = 320) -> None:
        super().__init__()
        self.spoil, self.rate = spoil, rate

    def get_downsample_rates(self, key: str | None = None) -> Any:
        return self.rate

    def forward(self, wavs: list[torch.Tensor]) -> Any:
        states = torch.stack([wav[: len(wav) // 320 * 320].view(-1, 320)[:, :8] for wav in wavs])
        if self.spoil is None:
            return {"hidden_states": [states, 2 * states], "last_hidden_state": 2 * states}
        return self.spoil(states)


class NoRate(nn.Module):
    def forward(self, wavs: list[torch.Tensor]) -> Any:
        return Adapter()(wavs)


def _hidden(change: Callable[[torch.Tensor], Any]) -> Adapter:
    return Adapter(lambda states: {"hidden_states": change(states)})


def _raise(_: torch.Tensor) -> Any:
    raise IndexError("tuple index out of range")


SPOILT: dict[str, tuple[Callable[[], Any], str]] = {
    "no rate": (NoRate, "NoRate has no get_downsample_rates(key)"),
    "rate 0": (lambda: Adapter(rate=0), "get_downsample_rates('hidden_states') gives 0, expected"),
    "rate negative": (lambda: Adapter(rate=-320), "gives -320, expected"),
    "rate a fraction": (lambda: Adapter(rate=0.5), "gives 0.5, expected"),
    "rate a text": (lambda: Adapter(rate="320"), "gives '320', expected"),
    "rate None": (lambda: Adapter(rate=None), "gives None, expected"),
    "rate NaN": (lambda: Adapter(rate=float("nan")), "gives nan, expected"),
    "another rate": (lambda: Adapter(rate=160), "gives 50 frames for 16000 samples, its rate promises 100"),
    "no module": (lambda: lambda wavs: wavs, "gives a function, expected a torch.nn.Module"),
    "nothing": (lambda: None, "gives a NoneType, expected a torch.nn.Module"),
    "2-D states": (lambda: _hidden(lambda states: [states[0], states[0]]), "layer 0 of the upstream's hidden_states"),
    "NumPy states": (lambda: _hidden(lambda states: [states.numpy()]), "is a numpy.ndarray, expected a torch.Tensor"),
    "a list of lists": (lambda: _hidden(lambda states: [states.tolist()]), "is a list, expected a torch.Tensor"),
    "a list for the dictionary": (lambda: Adapter(lambda states: [states]), "gives a list, expected a dictionary"),
    "a tensor for the dictionary": (lambda: Adapter(lambda states: states), "gives a Tensor, expected a dictionary"),
    "None for the dictionary": (lambda: Adapter(lambda _: None), "gives a NoneType, expected a dictionary"),
    "None for the states": (lambda: _hidden(lambda _: None), "is a NoneType, expected a torch.Tensor"),
    "None for a state": (lambda: _hidden(lambda states: [states, None]), "layer 1 of the upstream's hidden_states"),
    "no layer": (lambda: _hidden(lambda _: []), "gives no layer"),
    "no frames": (lambda: _hidden(lambda states: [states[:, :0]]), "gives 0 frames"),
    "no width": (lambda: _hidden(lambda states: [states[..., :0]]), "shape (1, 50, 0)"),
    "whole numbers": (lambda: _hidden(lambda states: [states.long()]), "is of torch.int64, expected"),
    "two utterances": (lambda: _hidden(lambda states: [states.repeat(2, 1, 1)]), "shape (2, 50, 8)"),
    "widths that differ": (lambda: _hidden(lambda states: [states, states[..., :4]]), "its layers differ in shape"),
    "NaN": (lambda: _hidden(lambda states: [states, states / 0 * 0]), "are not finite, first in layer 1"),
    "infinite": (lambda: _hidden(lambda states: [states / 0]), "are not finite, first in layer 0"),
    "it raises": (lambda: _hidden(_raise), "fails on a second of noise: IndexError: tuple index out of range"),
    "another name": (
        lambda: Adapter(lambda states: {"states": [states]}),
        "-s hidden_states: the upstream gives states",
    ),
}


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[..., Any]], None]:
    """Put an upstream on the hub as a user's plugin does."""
    s3prl_emotion.register()
    from s3prl import hub

    return lambda name, build: monkeypatch.setattr(hub, name, build, raising=False)


@pytest.mark.parametrize("cache", ["--cache", "--no-cache"])
@pytest.mark.parametrize("name", SPOILT)
def test_an_adapter_that_gives_something_else(put, run, capsys, name: str, cache: str) -> None:
    build, message = SPOILT[name]
    if cache == "--no-cache" and name in ("no module", "nothing"):
        message = "cannot be built: AttributeError"  # S3PRL's own Runner is the first to touch it
    put("theirs", lambda ckpt=None, model_config=None, refresh=False: build())
    assert run("-u", "theirs", "-d", "emotion_mean_std", "--fold", "1", cache) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("noise", [0.5, 0.01])
def test_an_adapter_whose_output_changes_is_refused_before_anything_is_stored(
    put, run, tmp_path, capsys, noise: float
) -> None:
    put("theirs", lambda **_: _hidden(lambda states: [states + noise * torch.randn_like(states)]))
    root = ("--cache-root", str(tmp_path / "cache"))
    assert run("-u", "theirs", "-d", "emotion_mean_std", "--fold", "1", *root) == 2
    assert "two calls on the same waveform give different states" in capsys.readouterr().err
    assert not list((tmp_path / "cache").glob("*/data-*"))


def test_an_adapter_that_keeps_dropout_on_is_refused(put, run, capsys) -> None:
    put("theirs", lambda **_: _hidden(lambda states: [nn.functional.dropout(states, 0.1, training=True)]))
    assert run("-u", "theirs", "-d", "emotion_mean_std", "--fold", "1") == 2
    assert "Is dropout, masking or another random step on" in capsys.readouterr().err


@pytest.fixture
def plugin(put, tmp_path: Path) -> Callable[[str], None]:
    """An adapter in a file of its own, which can be edited."""
    file = tmp_path / "plugin" / "their_adapter.py"
    file.parent.mkdir()

    def write(scale: str, comment: str = "") -> None:
        file.write_text(
            f"from test_adapters import Adapter\nimport helper_of_theirs\n{comment}\n"
            f"def theirs(ckpt=None, model_config=None, refresh=False):\n"
            f"    return Adapter(lambda states: {{'hidden_states': [{scale} * helper_of_theirs.SCALE * states]}})\n"
        )
        spec = importlib.util.spec_from_file_location("their_adapter", file)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules["their_adapter"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        put("theirs", module.theirs)

    return write


@pytest.fixture
def helper(monkeypatch: pytest.MonkeyPatch) -> Any:
    import types

    module = types.ModuleType("helper_of_theirs")
    module.SCALE = 1.0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "helper_of_theirs", module)
    monkeypatch.setitem(sys.modules, "test_adapters", sys.modules[__name__])
    monkeypatch.setitem(sys.modules, "their_adapter", module)
    return module


def test_states_of_another_behaviour_are_not_found(
    plugin, helper, tmp_path, demo_manifest, caplog: pytest.LogCaptureFixture
) -> None:
    """Edited in its own file, or in a file that it imports: extracted again, and the store passed over is named."""
    manifest = validate(demo_manifest)[0]

    def first() -> tuple[str, float]:
        cached = open_cache(
            arguments(upstream="theirs", device="cpu"), manifest, CacheOptions(tmp_path), (None, None), False
        )
        return cached.store.folder.name, float(cached.block(torch.empty(0, 0)).abs().sum())

    plugin("1.0")
    name, value = first()
    assert first() == (name, value)
    assert "passed over" not in caplog.text

    plugin("0.5")
    other, half = first()
    assert half == pytest.approx(value / 2, rel=1e-3)
    assert f"{tmp_path / name} is passed over, states are extracted again: the source file" in caplog.text
    caplog.clear()

    helper.SCALE = 4.0
    third, double = first()
    assert double == pytest.approx(value * 2, rel=1e-3)
    assert (
        f"{tmp_path / other} is passed over, states are extracted again: the upstream behaves otherwise" in caplog.text
    )
    assert len({name, other, third}) == 3
    caplog.clear()

    helper.SCALE = 1.0
    plugin("1.0")
    assert first() == (name, value), "what is done again is found again"
    helper.SCALE = 1.001
    assert first()[0] == name, "what another machine computes a little differently is the same"
    assert "passed over" not in caplog.text


def test_a_store_of_an_earlier_version_is_named(plugin, helper, tmp_path, demo_manifest, caplog) -> None:
    import json

    manifest = validate(demo_manifest)[0].with_utterances([])
    plugin("1.0")
    args = arguments(upstream="theirs", device="cpu")
    cached = open_cache(args, manifest, CacheOptions(tmp_path), (None, None), False)
    folder = cached.store.folder
    cached.store.close()
    content = json.loads((folder / "key.json").read_text())
    (folder / "key.json").write_text(json.dumps({**content, "schema": 2}))
    folder.rename(tmp_path / f"{cached.store.key.title()}0123456789ab")
    open_cache(args, manifest, CacheOptions(tmp_path), (None, None), False)
    assert "is passed over, states are extracted again: an earlier version of s3prl-emotion wrote it" in caplog.text


@pytest.mark.parametrize("device", ["cuda|foo", "foo", "", "mps", "cuda:77", "meta"])
def test_a_device_that_is_none(device: str) -> None:
    with pytest.raises(ConfigError, match="--cache-device"):
        CacheOptions(device=device)


def test_probes_see_scaling_offsets_thresholds_and_normalisation() -> None:
    """Each change of an adapter's input is far outside the tolerance in at least one of the three waveforms."""
    from s3prl_emotion.features.lookup import TOLERANCE, Probe, probe_distance
    from s3prl_emotion.s3prl_runner.selection import probe_waveform
    from s3prl_emotion.s3prl_runner.unbatched import behaviour

    def answer(change: Callable[[torch.Tensor], torch.Tensor]) -> Probe:
        def compute(waveform: torch.Tensor) -> torch.Tensor:
            changed = change(waveform)
            return changed[: len(changed) // 320 * 320].view(1, -1, 320)

        return behaviour(compute, compute(probe_waveform("cpu")), "cpu", "x")

    def difference(change: Callable[[torch.Tensor], torch.Tensor]) -> float:
        return max(probe_distance(one, other) for one, other in zip(plain, answer(change), strict=True))

    plain = answer(lambda wav: wav)
    changes: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "scaled": lambda wav: 0.9 * wav,
        "no offset": lambda wav: wav - wav.mean(),
        "normalised": lambda wav: (wav - wav.mean()) / wav.std(),
        "clipped": lambda wav: wav.clamp(-1, 1),
        "a floor": lambda wav: wav * max(1.0, 0.01 / float(wav.square().mean().sqrt())),
        "cut after a second": lambda wav: torch.cat([wav[:16000], 0 * wav[16000:]]),
        "pre-emphasis": lambda wav: wav - 0.97 * torch.cat([wav[:1], wav[:-1]]),
    }
    for name, change in changes.items():
        assert difference(change) > 2 * TOLERANCE, name
    assert difference(lambda wav: wav * (1 + 1e-3)) < TOLERANCE
    assert difference(lambda wav: wav) == 0, "the probe is always the same"


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_what_another_processor_rounds_otherwise_is_the_same(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another number of threads, and convolutions whose operands are rounded to ten bits as GPUs do (TF32)."""
    from transformers import HubertConfig, HubertModel

    from s3prl_emotion.features.lookup import TOLERANCE, probe_distance
    from s3prl_emotion.s3prl_runner.selection import probe_waveform
    from s3prl_emotion.s3prl_runner.unbatched import behaviour

    torch.manual_seed(0)
    stable = norm == "layer"
    config = HubertConfig(feat_extract_norm=norm, do_stable_layer_norm=stable, num_hidden_layers=6)
    model = HubertModel(config).eval()

    @torch.no_grad()
    def compute(waveform: torch.Tensor) -> torch.Tensor:
        return torch.cat(model(waveform[None], output_hidden_states=True).hidden_states)

    def answer() -> Any:
        return behaviour(compute, compute(probe_waveform("cpu")), "cpu", "x")

    def rounded(values: torch.Tensor) -> torch.Tensor:
        bits = values.contiguous().view(torch.int32)
        return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)

    plain = answer()
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert max(map(probe_distance, plain, answer())) < TOLERANCE / 100
    finally:
        torch.set_num_threads(threads)
    convolve = nn.functional.conv1d
    monkeypatch.setattr(nn.functional, "conv1d", lambda x, weight, *rest: convolve(rounded(x), rounded(weight), *rest))
    assert 0 < max(map(probe_distance, plain, answer())) < TOLERANCE / 2
