"""What a run says of its settings, and that a checkpoint is evaluated as its run was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from s3prl_emotion.cli import main, run_options
from s3prl_emotion.config import read_yaml
from s3prl_emotion.errors import ConfigError, UpstreamError
from s3prl_emotion.experiment import Request
from s3prl_emotion.experiment.request import resolve_request
from s3prl_emotion.random_state import MAX_SEED
from s3prl_emotion.runs.prediction import read_predictions
from s3prl_emotion.s3prl_runner import arguments, launch
from s3prl_emotion.s3prl_runner.registration import downstream_configs

HEAD = "config.downstream_expert.modelrc."


def _deviations(downstream: str, override: str | None = None, **more: object) -> list[str]:
    s3prl = {"upstream": "fbank", "downstream": downstream, "device": "cpu", "override": override, **more}
    return list(resolve_request(Request(s3prl=s3prl, corpus="demo")).remarks.deviations)


NEEDS_MORE = {"emotion_attn_pool", "emotion_mean_pool", "emotion_contrastive"}
"""Downstreams that only work with -s, or with --pretrained, which names the head that was started from."""


@pytest.mark.parametrize("downstream", sorted(set(downstream_configs()) - NEEDS_MORE))
def test_what_ships_deviates_in_nothing(downstream: str, tiny_hubert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = shutil.copytree(
        tiny_hubert, Path("models--google-bert--bert-base-uncased/snapshots/0123456789").absolute()
    )
    monkeypatch.setattr("s3prl_emotion.text.loading.snapshot", lambda *_, **__: snapshot)  # of text heads: it is found
    assert _deviations(downstream) == []
    assert _deviations(downstream, "config.runner.log_step=7,,config.runner.save_step=9") == []


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (f"{HEAD}pooling.variant=released", "downstream_expert.modelrc.pooling.variant null -> released"),
        (f"{HEAD}objective.smoothing=0", "downstream_expert.modelrc.objective.smoothing 0.25 -> 0"),
        (f"{HEAD}projector_dim=16", "downstream_expert.modelrc.projector_dim 256 -> 16"),
        ("config.optimizer.torch_optim_name=SGD", "optimizer.torch_optim_name Adam -> SGD"),
        ("config.optimizer.lr=1e-3", "optimizer.lr 0.0001 -> 0.001"),
        ("config.runner.gradient_accumulate_steps=8", "runner.gradient_accumulate_steps 1 -> 8"),
        ("config.runner.total_steps=5000", "5000 steps"),
        ("config.downstream_expert.datarc.max_duration_s=3", "audio cut to 3.0 s"),
    ],
)
def test_an_override_is_named(override: str, told: str) -> None:
    assert _deviations("emotion_attn_corr", override) == [told]


@pytest.mark.parametrize(
    ("tag", "told"),
    [("lr0.01", []), ("lr-mine", ["optimizer.lr 0.0001 -> 0.01"]), ("", ["optimizer.lr 0.0001 -> 0.01"])],
)
def test_only_the_tag_of_its_own_rate_stands_for_a_rate(tag: str, told: list[str]) -> None:
    """A sweep chooses its rates by the dev sets; any other tag hides nothing."""
    s3prl = {"upstream": "fbank", "downstream": "emotion_mean", "device": "cpu", "override": "config.optimizer.lr=1e-2"}
    assert list(resolve_request(Request(s3prl=s3prl, corpus="demo", tag=tag)).remarks.deviations) == told


def test_another_file_is_held_against_what_ships(tmp_path: Path) -> None:
    config = read_yaml(downstream_configs()["emotion_mean"])
    config["downstream_expert"]["datarc"]["train_batch_size"] = 8
    config["scheduler"] = {"name": "linear_schedule_with_warmup", "num_warmup_steps": 100}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    told = _deviations("emotion_mean", config=str(tmp_path / "mine.yaml"))
    assert told[0] == "downstream_expert.datarc.train_batch_size 32 -> 8"
    assert told[1].startswith("scheduler null -> {")


def test_deviations_are_in_the_result_and_in_the_table(run, tmp_path, capsys) -> None:
    assert run("-u", "fbank", "-d", "emotion_mean_std", "--fold", "1", more=f"{HEAD}projector_dim=16") == 0
    assert "modelrc.projector_dim 256 -> 16" in " ".join(capsys.readouterr().out.split())
    settings = json.loads((tmp_path / "run" / "results.json").read_text())["settings"]
    assert "downstream_expert.modelrc.projector_dim 256 -> 16" in settings["deviations"]


@pytest.mark.parametrize("head", ["emotion_attn_corr_released", "emotion_corr", "emotion_mean"])
def test_a_checkpoint_is_evaluated_in_the_batches_of_its_run(run, tmp_path, head: str, tiny_hubert) -> None:
    """Without the store; the released variant sees padding, so batches of one would give other probabilities."""
    options = ("-u", "hf_auto_custom", "-k", str(tiny_hubert), "-d", head, "--fold", "1")
    assert run(*options, steps=2, every=1, more="config.runner.gradient_accumulate_steps=1") == 0
    fold = tmp_path / "run" / "fold1"
    assert main(["run", "-m", "evaluate", "-e", str(fold / "dev-best.ckpt"), "--device", "cpu"]) == 0
    before, now = (
        torch.tensor([row.probabilities for row in read_predictions(fold / name)[0]])
        for name in ("predictions.csv", "test_predictions.csv")
    )
    torch.testing.assert_close(now, before, atol=1e-6, rtol=0)


def test_batches_of_one_would_differ(run, tmp_path, tiny_hubert) -> None:
    options = ("-u", "hf_auto_custom", "-k", str(tiny_hubert), "-d", "emotion_attn_corr_released", "--fold", "1")
    assert run(*options, steps=2, every=1, more="config.runner.gradient_accumulate_steps=1") == 0
    fold = tmp_path / "run" / "fold1"
    alone = "config.downstream_expert.datarc.eval_batch_size=1"
    assert main(["run", "-m", "evaluate", "-e", str(fold / "dev-best.ckpt"), "--device", "cpu", "-o", alone]) == 0
    before, now = (
        torch.tensor([row.probabilities for row in read_predictions(fold / name)[0]])
        for name in ("predictions.csv", "test_predictions.csv")
    )
    assert float((now - before).abs().max()) > 1e-5


def test_nothing_reaches_the_runner_past_the_gate(tmp_path) -> None:
    config = read_yaml(downstream_configs()["emotion"])
    values = {"upstream": "fbank", "downstream": "emotion", "device": "cpu", "expdir": str(tmp_path)}
    code = "__import__('os').system('touch EXECUTED')"
    config["downstream_expert"]["modelrc"]["select"] = code
    with pytest.raises(ConfigError, match="unknown select"):
        launch.start(arguments.arguments(**values), config)
    config["downstream_expert"]["modelrc"]["select"] = "UtteranceLevel"
    with pytest.raises(ConfigError, match="is not an emotion downstream"):
        launch.start(arguments.arguments(**{**values, "downstream": code}), config)
    with pytest.raises(UpstreamError, match="neither one of S3PRL's nor one of ours"):
        launch.start(arguments.arguments(**{**values, "upstream": "Path"}), config)
    assert not (tmp_path / "EXECUTED").exists()


def test_the_command_line_knows_numpys_limit() -> None:
    assert run_options.MAX_SEED == MAX_SEED


def test_the_released_configuration_has_the_authors_batches() -> None:
    config, paper = (
        read_yaml(downstream_configs()[name]) for name in ("emotion_attn_corr_released", "emotion_attn_corr")
    )
    assert config["runner"]["gradient_accumulate_steps"] == 8
    assert config["downstream_expert"]["datarc"]["train_batch_size"] == 4
    assert config["downstream_expert"]["modelrc"]["pooling"].pop("variant") == "released"
    assert config["downstream_expert"]["modelrc"] == paper["downstream_expert"]["modelrc"]
    assert config["optimizer"] == paper["optimizer"]
