"""Shipped configurations are right, and wrong ones are refused with the file and key in the message."""

from __future__ import annotations

import copy

import pytest
import torch

from s3prl_emotion.config import read_yaml
from s3prl_emotion.downstream.config import fold_number
from s3prl_emotion.downstream.head import Head
from s3prl_emotion.downstream.settings import check_config, read_expert
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.features.ragged import pack
from s3prl_emotion.s3prl_runner.registration import STOCK_DOWNSTREAMS, downstream_configs

CONFIGS = downstream_configs()


@pytest.mark.parametrize("name", CONFIGS)
def test_every_shipped_configuration_is_valid(name: str) -> None:
    config = read_yaml(CONFIGS[name])
    checked = check_config(config, name, ours=name not in STOCK_DOWNSTREAMS)
    again = check_config(checked, name, ours=name not in STOCK_DOWNSTREAMS)
    assert again == checked
    if name not in STOCK_DOWNSTREAMS:
        expert, _ = read_expert(checked["downstream_expert"], name)
        text = None if expert.modelrc.text is None else torch.randn(2, 7)
        head = Head(12, 4, expert.modelrc, 0 if text is None else 7)
        logits = head(pack([torch.randn(9, 12), torch.randn(5, 12)]), text)
        assert logits.shape == (2, 4)


def test_the_papers_settings() -> None:
    config = check_config(read_yaml(CONFIGS["emotion_attn_corr"]), "")
    runner, model, data = (
        config["runner"],
        config["downstream_expert"]["modelrc"],
        config["downstream_expert"]["datarc"],
    )
    assert (runner["total_steps"], runner["eval_step"], runner["gradient_clipping"]) == (30000, 1000, 1.0)
    assert data["train_batch_size"] * runner["gradient_accumulate_steps"] == 32
    assert config["optimizer"] == {"name": "TorchOptim", "torch_optim_name": "Adam", "lr": 1e-4}
    assert model["projector_dim"] == 256
    assert model["pooling"] == {"name": "attentive_correlation", "heads": 4, "channel_dropout": 0.25}
    assert model["objective"] == {"name": "label_smoothing", "smoothing": 0.25}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("runer",), {}, "unknown key 'runer'. Did you mean 'runner'?"),
        (("runner", "total_step"), 1, "runner: unknown key 'total_step'. Did you mean 'total_steps'"),
        (("runner", "eval_step"), 40000, "eval_step 40000 is above total_steps 30000"),
        (("runner", "eval_dataloaders"), ["test"], "eval_dataloaders may hold 'test' and must hold 'dev'"),
        (("runner", "train_dataloader"), "test", "train_dataloader must be 'train', got 'test'"),
        (("runner", "evaluate_ratio"), 0.3, "evaluate_ratio must be 1, got 0.3"),
        (("runner", "gradient_clipping"), -5, "gradient_clipping must be positive"),
        (("optimizer", "lr"), -1.0, "Adam refuses these settings: Invalid learning rate: -1.0"),
        (("optimizer", "lr"), "abc", "optimizer: Adam refuses these settings"),
        (("optimizer", "weight_decay"), float("nan"), "weight_decay"),
        (("downstream_expert", "datarc", "max_duration_s"), 0.001, "max_duration_s must be at least 0.025"),
        (("optimizer", "lr_rate"), 1, "optimizer: unknown key 'lr_rate' of Adam. Did you mean 'lr'"),
        (("optimizer", "torch_optim_name"), "Adan", "unknown torch_optim_name 'Adan'. Did you mean 'Adam'"),
        (("optimizer", "name"), "TorchOptin", "unknown optimizer 'TorchOptin'. Did you mean 'TorchOptim'"),
        (("downstream_expert", "datarc", "batch_size"), 8, "datarc: unknown key 'batch_size'"),
        (("downstream_expert", "datarc", "sampler"), "shufle", "unknown sampler 'shufle'. Did you mean 'shuffle'?"),
        (("downstream_expert", "modelrc", "poolling"), {}, "unknown key 'poolling'. Did you mean 'pooling'?"),
        (("downstream_expert", "modelrc", "pooling", "name"), "attentive_corr", "unknown pooling 'attentive_corr'"),
        (("downstream_expert", "modelrc", "pooling", "head"), 4, "unknown option 'head' of pooling"),
        (("downstream_expert", "modelrc", "pooling", "heads"), 0, "pooling 'attentive_correlation'"),
        (("downstream_expert", "modelrc", "objective", "smoothing"), 1.5, "smoothing must be in [0, 1), got 1.5"),
        (("downstream_expert", "modelrc", "objective", "name"), "label_smothing", "Did you mean 'label_smoothing'"),
        (("downstream_expert", "modelrc", "projector_dim"), 0, "projector_dim must be at least 1"),
    ],
)
def test_mistakes_name_file_and_key(path: tuple[str, ...], value: object, message: str) -> None:
    config = copy.deepcopy(read_yaml(CONFIGS["emotion_attn_corr"]))
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ConfigError) as caught:
        check_config(config, "mine.yaml")
    assert str(caught.value).startswith("mine.yaml")
    assert message in str(caught.value)


def test_numbers_that_yaml_reads_as_text() -> None:
    config = read_yaml(CONFIGS["emotion_mean"])
    config["optimizer"]["lr"] = "1e-3"
    assert check_config(config, "")["optimizer"]["lr"] == 1e-3


@pytest.mark.parametrize(("name", "number"), [("fold1", 1), ("12", 12)])
def test_fold_names(name: str, number: int) -> None:
    assert fold_number(name) == number


@pytest.mark.parametrize("name", ["fold0", "folds1", "", "fold1x"])
def test_other_fold_names(name: str) -> None:
    with pytest.raises(ValueError, match="must look like 'fold1'"):
        fold_number(name)
