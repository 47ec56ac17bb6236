"""Arguments, overrides, upstream checks, and the guard against gradients that are not finite."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
import torch

from s3prl_emotion.config import read_yaml
from s3prl_emotion.errors import ConfigError, RunError, UpstreamError
from s3prl_emotion.s3prl_runner import arguments, checkpoints, launch, selection
from s3prl_emotion.s3prl_runner.registration import downstream_configs


@pytest.fixture(scope="module")
def guard():
    import s3prl_emotion

    s3prl_emotion.register()
    from s3prl_emotion.s3prl_runner.runner import _guard_gradients

    return _guard_gradients


def test_override_means_what_it_means_in_s3prl() -> None:
    config, args = {"optimizer": {"lr": 1.0}, "runner": {}}, arguments.arguments()
    arguments.override(config, args, "config.optimizer.lr=1e-3,,config.runner.eval_dataloaders=['dev'],,args.seed=7")
    assert config == {"optimizer": {"lr": 1e-3}, "runner": {"eval_dataloaders": ["dev"]}}
    assert args.seed == 7


@pytest.mark.parametrize(
    ("string", "message"),
    [
        ("config.optimizer.lr", "expected config.KEY=VALUE"),
        ("optimizer.lr=3", "expected config.KEY=VALUE"),
        ("args.sed=3", "unknown argument 'sed'. Did you mean 'seed'"),
        ("config=3", "expected config.KEY=VALUE"),
    ],
)
def test_malformed_overrides(string: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        arguments.override({}, arguments.arguments(), string)
    assert message in str(caught.value)


def test_unknown_arguments_are_a_programming_error() -> None:
    with pytest.raises(TypeError, match="sed"):
        arguments.arguments(sed=3)


@pytest.mark.parametrize(
    ("name", "checkpoint", "message"),
    [
        ("hubert_base", "x.pt", r"-u hubert_base ignores -k: .* use -u .*hubert_local"),
        ("fbank", "x.pt", r"-u fbank ignores -k"),
        ("hubert_bas", None, r"-u 'hubert_bas' is not an upstream .* Did you mean 'hubert_base'"),
        ("hubert_local", None, r"-u hubert_local needs a checkpoint: give its path with -k"),
        ("hubert_local", "nowhere.pt", r"-k nowhere.pt: no such file or folder"),
        ("hf_auto_custom", None, r"-u hf_auto_custom needs a checkpoint"),
    ],
)
def test_upstreams_that_would_ignore_what_is_given(name: str, checkpoint: str | None, message: str) -> None:
    with pytest.raises(UpstreamError, match=message):
        selection.check_upstream(name, checkpoint, None)


def test_upstreams_that_are_fine(tmp_path) -> None:
    (tmp_path / "h.pt").touch()
    selection.check_upstream("fbank", None, None)
    selection.check_upstream("hubert_local", str(tmp_path / "h.pt"), None)
    selection.check_upstream("hubert_base", None, None)


def test_cuda_is_refused_where_there_is_none(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert arguments.resolve_device(None) == "cpu"
    with pytest.raises(RunError, match="use --device cpu"):
        arguments.resolve_device("cuda")


def test_distributed_launchers_are_refused(monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RunError, match="Run folds in parallel"):
        launch.start(arguments.arguments(), {})


def _runner_like_step(parameter: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
    """What S3PRL's Runner does after backward."""
    norm = torch.nn.utils.clip_grad_norm_([parameter], 1.0)
    if not torch.isnan(norm):
        optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_an_error(guard, bad: float) -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    guard(optimizer, {id(parameter): "Head.weight"})
    parameter.grad = torch.ones(3)
    _runner_like_step(parameter, optimizer)
    moved = parameter.detach().clone()
    assert moved.abs().min() > 0
    parameter.grad = torch.tensor([1.0, bad, 1.0])
    with pytest.raises(RunError, match=r"not finite at optimiser step 2, first in Head\.weight"):
        _runner_like_step(parameter, optimizer)
    assert torch.equal(parameter.detach(), moved)


def test_a_nan_gradient_in_the_first_step_is_an_error_at_once(guard) -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    guard(optimizer, {id(parameter): "Head.weight"})
    parameter.grad = torch.full((3,), float("nan"))
    with pytest.raises(RunError, match="not finite at optimiser step 1"):
        _runner_like_step(parameter, optimizer)


def test_a_skipped_batch_is_no_error(guard) -> None:
    """Out of memory: the Runner clears gradients without a step and goes on."""
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    guard(optimizer, {id(parameter): "Head.weight"})
    optimizer.zero_grad()
    parameter.grad = torch.ones(3)
    _runner_like_step(parameter, optimizer)
    assert parameter.abs().min() > 0


def _good() -> dict[str, Any]:
    """A checkpoint as the Runner writes it."""
    args = argparse.Namespace(upstream="fbank", downstream="emotion_mean")
    parameters = {"best_score": torch.zeros(1), "w": torch.zeros(500)}
    return {
        "Step": 5,
        "Args": args,
        "Config": read_yaml(downstream_configs()["emotion_mean"]),
        "Downstream": parameters,
    }


def test_torn_and_foreign_checkpoints(tmp_path) -> None:
    good = _good()
    torch.save(good, tmp_path / "states-5.ckpt")
    torch.save(good, tmp_path / "states-10.ckpt")
    torn = (tmp_path / "states-10.ckpt").read_bytes()
    (tmp_path / "states-10.ckpt").write_bytes(torn[: len(torn) // 2])
    assert checkpoints.newest_checkpoint(tmp_path) == tmp_path / "states-5.ckpt"
    with pytest.raises(RunError, match=r"states-10\.ckpt: not a readable checkpoint"):
        checkpoints.load_checkpoint(tmp_path / "states-10.ckpt")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.ckpt")
    with pytest.raises(RunError, match="Args, Config, Downstream, Step missing"):
        checkpoints.load_checkpoint(tmp_path / "other.ckpt")


class _Payload:
    ran = False

    def __reduce__(self):
        return setattr, (_Payload, "ran", True)


def test_loading_a_checkpoint_executes_nothing(tmp_path) -> None:
    torch.save({"Step": _Payload()}, tmp_path / "states-1.ckpt")
    with pytest.raises(RunError, match="holds more than tensors and plain values"):
        checkpoints.load_checkpoint(tmp_path / "states-1.ckpt")
    assert not _Payload.ran


def test_whatever_a_kill_leaves_of_a_checkpoint_is_not_readable(tmp_path) -> None:
    """Cut at every hundredth of its length, and with a byte changed: a RunError each time, or an intact content."""
    good = _good()
    torch.save(good, tmp_path / "whole.ckpt")
    whole = (tmp_path / "whole.ckpt").read_bytes()
    path = tmp_path / "torn.ckpt"
    for hundredth in range(100):
        path.write_bytes(whole[: len(whole) * hundredth // 100])
        with pytest.raises(RunError, match="not a readable checkpoint"):
            checkpoints.load_checkpoint(path)
    for junk in (b"", b"junk", b"\x80\x02}q\x00.", bytes(range(256)) * 10, b"PK\x03\x04" + bytes(200)):
        path.write_bytes(junk)
        with pytest.raises(RunError, match=r"torn\.ckpt: not a"):
            checkpoints.load_checkpoint(path)
