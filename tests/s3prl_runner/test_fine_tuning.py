"""``finetune``: what ``-f`` does to upstreams of every format, and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import s3prl_emotion
from s3prl_emotion.cli import main
from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.s3prl_runner.checkpoints import load_checkpoint
from s3prl_emotion.s3prl_runner.fine_tuning import fine_tune
from s3prl_emotion.upstreams.formats import adapter_of

sys.path.insert(0, str(Path(__file__).parent.parent / "upstream_patches"))
import tiny

MASKED = tuple(name for name in tiny.TRANSFORMERS if name != "whisper")
CONVERTED = tuple(name for name in tiny.FILES if not name.startswith("torchaudio"))
TORCHAUDIO = tuple(name for name in tiny.FILES if name.startswith("torchaudio"))


@pytest.fixture(scope="module", autouse=True)
def _registered() -> None:
    s3prl_emotion.register()


def built(path: Path) -> nn.Module:
    from s3prl import hub

    upstream: nn.Module = getattr(hub, adapter_of(path))(ckpt=str(path), model_config=None, refresh=False)
    return upstream


def without_dropout(upstream: nn.Module) -> nn.Module:
    """The upstream in training, with nothing random but what ``finetune`` asks for."""
    for module in upstream.modules():
        if "Dropout" in type(module).__name__:
            module.p = 0.0
        for name in ("dropout", "attention_dropout", "activation_dropout", "dropout_p", "layer_drop", "dropout_module"):
            if isinstance(vars(module).get(name), float):
                setattr(module, name, 0.0)
    upstream.train()
    for module in upstream.modules():
        if isinstance(module, nn.BatchNorm1d):  # of a batch in training, by its nature
            module.eval()
    return upstream


def noise(*lengths: int) -> list[Tensor]:
    return [torch.randn(samples, generator=torch.Generator().manual_seed(samples)) for samples in lengths]


def last(upstream: nn.Module, waveforms: list[Tensor], seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    states: Tensor = upstream(waveforms)["hidden_states"][-1]
    return states


def with_embedding(name: str, folder: Path, prob: float = 0.5) -> Path:
    """A tiny folder of transformers that masks by its own configuration."""
    path = tiny.TRANSFORMERS[name](folder / name)
    config = json.loads((path / "config.json").read_text())
    config |= {"mask_time_prob": prob, "mask_time_length": 2, "mask_feature_prob": prob, "mask_feature_length": 2}
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.mark.parametrize("name", tiny.TRANSFORMERS)
def test_a_folder_is_trained_without_the_masks_of_its_configuration(name: str, tmp_path: Path) -> None:
    """By default training computes what evaluation does, as S3PRL's own models do, and clips of 40 ms are no error."""
    upstream = without_dropout(built(with_embedding(name, tmp_path)))
    fine_tune(upstream, None, name)
    waveforms = noise(16000, 16000)
    trained = last(upstream, waveforms)
    torch.testing.assert_close(trained, last(upstream.eval(), waveforms), rtol=1e-4, atol=1e-4)
    last(upstream.train(), noise(640, 800))


@pytest.mark.parametrize("name", [*MASKED, *CONVERTED, *TORCHAUDIO])
def test_masks_are_of_training_alone(name: str, tmp_path: Path) -> None:
    path = with_embedding(name, tmp_path) if name in tiny.TRANSFORMERS else tiny.make(name, tmp_path)
    upstream = without_dropout(built(path))
    state = {key: value.clone() for key, value in upstream.state_dict().items()}
    before = last(upstream.eval(), noise(16000))
    fine_tune(upstream, {"mask_time_prob": 0.3, "mask_feature_prob": 0.3, "mask_feature_length": 3}, name)
    assert torch.equal(last(upstream.eval(), noise(16000)), before)
    upstream.train()
    masked = last(upstream, noise(16000))
    assert not torch.allclose(masked, before, atol=1e-3)
    assert torch.equal(masked, last(upstream, noise(16000))), "drawn from torch's generator"
    assert not torch.equal(masked, last(upstream, noise(16000), seed=1))
    assert set(state) == set(upstream.state_dict())


def projected(upstream: nn.Module, waveforms: list[Tensor]) -> Tensor:
    """What the first block's stack is given, ``(batch, frames, width)``."""
    found: list[Tensor] = []
    module = next(m for n, m in upstream.named_modules() if n.endswith("feature_projection"))
    handle = module.register_forward_hook(lambda *call: found.append(call[2]))
    try:
        last(upstream, waveforms)
    finally:
        handle.remove()
    return found[0]


def test_masked_frames_are_the_embedding_and_never_padding(tmp_path: Path) -> None:
    """A clip that is shorter than a mask has none; masks are whole and begin within the clip."""
    upstream = without_dropout(built(with_embedding("hubert-layer", tmp_path)))
    waveforms = noise(32000, 12000, 3000)
    plain = projected(upstream.eval(), waveforms)
    fine_tune(upstream, {"mask_time_prob": 0.4, "mask_time_length": 10}, "hubert")
    masked = projected(upstream.train(), waveforms)
    changed = (masked != plain).any(dim=2)
    embedding = upstream.model.masked_spec_embed  # type: ignore[union-attr]
    assert torch.equal(masked[changed], embedding.expand(int(changed.sum()), -1))
    counts = changed.sum(dim=1).tolist()
    assert 20 <= counts[0] <= 50
    assert 11 <= counts[1] <= 20
    assert counts[2] == 0, "9 frames"
    assert not changed[1, 37:].any()


def test_masked_channels_are_zero(tmp_path: Path) -> None:
    upstream = without_dropout(built(with_embedding("hubert-layer", tmp_path)))
    fine_tune(upstream, {"mask_feature_prob": 0.5, "mask_feature_length": 4}, "hubert")
    states = projected(upstream.train(), noise(8000, 8000))
    zero = (states == 0).all(dim=1)
    assert set(zero.sum(dim=1).tolist()) <= {4, 5, 6, 7, 8, 9, 10, 11, 12}


@pytest.mark.parametrize("name", [*tiny.TRANSFORMERS, *CONVERTED, *TORCHAUDIO])
def test_layerdrop_skips_blocks(name: str, tmp_path: Path) -> None:
    """Of two blocks a share of 0.5 each: none, one or both; then the last state is what the first block was given."""
    upstream = without_dropout(built(tiny.make(name, tmp_path)))
    fine_tune(upstream, {"layerdrop": 0.5}, name)
    waveforms = noise(8000)
    found = {
        tuple(round(value, 3) for value in last(upstream, waveforms, seed)[0, 0, :4].tolist()) for seed in range(40)
    }
    assert len(found) == 4
    evaluated = last(upstream.eval(), waveforms)
    assert torch.equal(evaluated, last(upstream, waveforms, 5))


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("name", ["hubert-layer", "wav2vec2-group", *CONVERTED, *TORCHAUDIO])
def test_the_convolutions_are_trained_if_asked_for(name: str, frozen: bool, tmp_path: Path) -> None:
    upstream = without_dropout(built(tiny.make(name, tmp_path)))
    fine_tune(upstream, {"freeze_feature_encoder": frozen}, name)
    last(upstream, noise(8000, 8000)).square().sum().backward()
    moved = {
        key: parameter.grad is not None and float(parameter.grad.abs().max()) > 0
        for key, parameter in upstream.named_parameters()
        if "feature_extractor.conv_layers" in key and key.endswith("weight")
    }
    assert moved
    assert set(moved.values()) == {not frozen}
    assert any(parameter.grad is not None for key, parameter in upstream.named_parameters() if "layers.0" in key)


def test_the_same_weights_are_fine_tuned_alike_in_two_formats(tmp_path: Path) -> None:
    """transformers' and torchaudio's form of one HuBERT: layer-drop and gradients agree, also of the convolutions."""
    from torchaudio.models.wav2vec2.utils import import_huggingface_model
    from transformers import AutoModel

    folder = tiny.TRANSFORMERS["hubert-layer"](tmp_path / "folder")
    model = import_huggingface_model(AutoModel.from_pretrained(folder))
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    text = tiny.SETTINGS.format(normalize="true", first="true")
    (tmp_path / "weights.pt.yaml").write_text(text)
    gradients = []
    for path in (folder, tmp_path / "weights.pt"):
        upstream = without_dropout(built(path))
        fine_tune(upstream, {"layerdrop": 0.4, "freeze_feature_encoder": False}, "hubert")
        for seed in range(4):
            last(upstream, noise(9000, 16000), seed)[0, :20].square().sum().backward()
        gradients.append(
            [
                value.grad
                for key, value in upstream.named_parameters()
                if key.endswith(("conv_layers.0.conv.weight", "layers.0.attention.q_proj.weight"))
            ]
        )
    assert len(gradients[0]) == 2
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("whisper", {"mask_time_prob": 0.1}, "nothing can be masked. Use -o config.finetune.mask_time_prob=0"),
        ("whisper", {"mask_feature_prob": 0.1}, "mask_feature_prob is 0.1"),
        ("hubert-layer", {"mask_feature_prob": 0.1, "mask_feature_length": 17}, "its hidden states have 16 channels"),
        ("fbank", {"layerdrop": 0.1}, "-u fbank: finetune.layerdrop is 0.1, but its transformer blocks are not known"),
    ],
)
def test_what_an_upstream_cannot_do_is_refused(name: str, config: dict[str, Any], message: str, tmp_path: Path) -> None:
    from s3prl import hub

    if name == "fbank":
        upstream = hub.fbank()
    else:
        upstream = built(tiny.make(next(item for item in (*tiny.TRANSFORMERS, *tiny.FILES) if name in item), tmp_path))
    with pytest.raises(UpstreamError) as caught:
        fine_tune(upstream, config, name)
    assert message in str(caught.value)


# --- runs -----------------------------------------------------------------------------------------------------------

SAID = "config.finetune.mask_time_prob=0.2,,config.finetune.layerdrop=0.25"


def test_settings_of_a_run(run: Callable[..., int], tiny_hubert: Path, tmp_path: Path) -> None:
    """They are recorded whole under -f, the convolutions stay, and other settings are another run."""
    options = ("-u", str(tiny_hubert), "-d", "emotion_mean", "-f", "-s", "last_hidden_state", "--fold", "1")
    assert run(*options, more=SAID) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["config"]["finetune"] == {
        "mask_time_prob": 0.2,
        "mask_time_length": 10,
        "mask_time_min_masks": 2,
        "mask_feature_prob": 0.0,
        "mask_feature_length": 10,
        "mask_feature_min_masks": 0,
        "layerdrop": 0.25,
        "freeze_feature_encoder": True,
    }
    assert "finetune.mask_time_prob 0.0 -> 0.2" in record["settings"]["deviations"]
    content = load_checkpoint(tmp_path / "run" / "fold1" / "states-4.ckpt")
    from transformers import AutoModel

    before = AutoModel.from_pretrained(tiny_hubert).state_dict()
    moved = {
        name.removeprefix("model."): float((value - before[name.removeprefix("model.")]).abs().max())
        for name, value in content["Upstream"].items()
        if name.removeprefix("model.") in before
    }
    assert max(value for name, value in moved.items() if name.startswith("feature_extractor")) == 0
    assert moved["feature_projection.projection.weight"] > 0
    assert run(*options, more=SAID.replace("0.25", "0.5")) == 2


def test_a_frozen_run_has_none(
    run: Callable[..., int], tiny_hubert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What ships waits for -f; what is given is refused."""
    assert run("-u", "fbank", "-d", "emotion_attn_pool", "--fold", "1") == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "finetune" not in record["config"]
    assert not [text for text in record["settings"]["deviations"] if "finetune" in text]
    capsys.readouterr()
    assert run("-u", "fbank", "-d", "emotion_mean", more=SAID, folder=tmp_path / "other") == 2
    assert "finetune is given, but the upstream stays frozen: add -f" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("config.finetune.mask_prob=0.1", "finetune: unknown key 'mask_prob'"),
        ("config.finetune.mask_time_prob=2", "mask_time_prob must be in [0, 1], got 2"),
        ("config.finetune.layerdrop=1", "layerdrop must be in [0, 1), got 1"),
        ("config.finetune.mask_time_length=0", "mask_time_length must be at least 1"),
        ("config.finetune.mask_time_min_masks=-1", "mask_time_min_masks must be at least 0"),
        ("config.finetune.layerdrop=1e999", "expected a finite number, found inf"),
        ("config.finetune.freeze_feature_encoder=1", "freeze_feature_encoder: expected bool"),
        ("config.finetune=3", "finetune: expected a mapping"),
        ("config.finetune.layerdrop=0.1", "-u fbank: finetune.layerdrop is 0.1, but"),
    ],
)
def test_wrong_settings(
    run: Callable[..., int], said: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("-u", "fbank", "-d", "emotion_mean", "-f", more=said) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_resumed_training_is_the_same(run: Callable[..., int], tiny_hubert: Path, tmp_path: Path) -> None:
    """Masks and dropped blocks after a checkpoint are those of the uninterrupted training."""
    options = ("-u", str(tiny_hubert), "-d", "emotion_mean", "-f", "-s", "last_hidden_state", "--fold", "1")
    assert run(*options, more=SAID) == 0
    fold = tmp_path / "run" / "fold1"
    whole = load_checkpoint(fold / "states-4.ckpt")["Upstream"]
    for name in ("states-4.ckpt", "fold.json"):
        (fold / name).unlink()
    assert run(*options, more=SAID) == 0
    again = load_checkpoint(fold / "states-4.ckpt")["Upstream"]
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


def test_a_warm_up_as_long_as_the_training(
    run: Callable[..., int], demo_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused with the steps of the fold before anything is trained, and with how to set it."""
    scheduler = "config.scheduler={'name': 'linear_schedule_with_warmup', 'num_warmup_steps': 4}"
    assert run("-u", "fbank", "-d", "emotion_mean", more=scheduler) == 2
    assert "num_warmup_steps 4 must be below the 4 optimiser steps" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    command = ["run", "-u", "fbank", "-d", "emotion_finetune", "--corpus", "demo", "--data", str(demo_root)]
    command += ["--device", "cpu", "--no-cache", "-p", str(tmp_path / "epochs"), "--fold", "2"]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert "-d emotion_finetune, fold 2: scheduler.num_warmup_steps 500 must be below the 18 optimiser steps" in told
    assert "-o config.scheduler.num_warmup_steps=1" in told
    assert not (tmp_path / "epochs" / "fold2" / "states-18.ckpt").exists()
    assert main([*command, "-o", "config.scheduler.num_warmup_steps=1"]) == 0
