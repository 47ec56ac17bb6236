"""From a request to a plan, and from a plan to what S3PRL's Runner takes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from s3prl_emotion.config import read_yaml
from s3prl_emotion.downstream.settings import FoldInputs
from s3prl_emotion.errors import ConfigError, RunError
from s3prl_emotion.experiment import Request
from s3prl_emotion.experiment.provenance import identity_of
from s3prl_emotion.experiment.request import resolve_request
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.s3prl_runner.arguments import ARGUMENTS, mapping, namespace, training_of
from s3prl_emotion.s3prl_runner.downstream_kinds import PluginDownstream, StockDownstream, downstream_kind
from s3prl_emotion.s3prl_runner.registration import downstream_configs
from s3prl_emotion.s3prl_runner.validation import check_settings

RUNNER = {
    "total_steps": 20,
    "eval_step": 10,
    "gradient_clipping": 1.0,
    "gradient_accumulate_steps": 1,
    "log_step": 25,
    "save_step": 50,
    "max_keep": 2,
    "eval_dataloaders": ["dev"],
    "train_dataloader": "train",
    "fp16": False,
    "evaluate_ratio": 1.0,
}
EARLIER: dict[str, Any] = {
    "upstream": "fbank",
    "checkpoint": None,
    "checkpoint_sha256": None,
    "model_config_sha256": None,
    "upstream_trainable": False,
    "upstream_feature_selection": "hidden_states",
    "upstream_layer_selection": None,
    "upstream_feature_normalize": False,
    "downstream": "emotion_mean_std",
    "config": {
        "runner": RUNNER,
        "optimizer": {"name": "TorchOptim", "torch_optim_name": "Adam", "lr": 0.001},
        "downstream_expert": {
            "modelrc": {
                "pooling": {"name": "mean_std"},
                "projector_dim": 256,
                "dropout": 0.0,
                "objective": {"name": "cross_entropy"},
            },
            "datarc": {
                "manifest": None,
                "folds": None,
                "train_batch_size": 32,
                "eval_batch_size": 32,
                "num_workers": 0,
                "pre_load": True,
                "sampler": "shuffle",
                "labels": "hard",
                "max_duration_s": None,
                "cached": None,
            },
        },
    },
    "seed": 1337,
    "corpus": {"name": "demo", "data": None, "table_sha256": None, "options": {}},
    "protocol": "superb",
    "skip_bad": False,
    "trim_zeros": False,
    "drop_leaks": False,
    "pretraining": [],
    "cache": "float16",
    "settings": {
        "demo": True,
        "total_steps": 20,
        "lr": 0.001,
        "file": {"total_steps": 30000, "lr": 0.0001},
        "deviations": ["20 steps"],
    },
}
"""``run.json`` of version 0.1.0, as it wrote it for the command in :func:`_demo`."""
EARLIER_STOCK: dict[str, Any] = {
    **EARLIER,
    "downstream": "emotion",
    "config": {
        **EARLIER["config"],
        "runner": {**RUNNER, "gradient_accumulate_steps": 8},
        "downstream_expert": {
            "datarc": {
                "pre_load": True,
                "train_batch_size": 4,
                "eval_batch_size": 4,
                "num_workers": 0,
                "valid_ratio": 0.2,
            },
            "modelrc": {
                "projector_dim": 256,
                "select": "UtteranceLevel",
                "UtteranceLevel": {"pooling": "MeanPooling"},
            },
        },
    },
    "cache": None,
}
"""The same with ``-d emotion``."""


def _demo(downstream: str, **more: Any) -> Request:
    override = "config.runner.total_steps=20,,config.runner.eval_step=10"
    s3prl = {"upstream": "fbank", "downstream": downstream, "device": "cpu", "override": override, **more}
    return Request(s3prl=s3prl, corpus="demo", demo=True)


@pytest.mark.parametrize("earlier", [EARLIER, EARLIER_STOCK], ids=lambda item: item["downstream"])
def test_folders_of_earlier_versions_are_continued(earlier: dict[str, Any], tmp_path: Path) -> None:
    identity = identity_of(resolve_request(_demo(earlier["downstream"])))
    assert identity == earlier, "comparisons hold runs of several versions side by side by this"
    folder = RunFolder(tmp_path)
    folder.record.write_text(json.dumps(earlier))
    (tmp_path / "fold1").mkdir()
    (tmp_path / "fold1" / "states-10.ckpt").touch()
    assert folder.is_for(identity)
    with pytest.raises(RunError, match="seed was 1337 and is 3"):
        folder.is_for(identity_of(resolve_request(_demo(earlier["downstream"], seed=3))))


def test_of_settings_only_plugins_are_compared(tmp_path: Path) -> None:
    """Deviations follow from what is compared anyway; the file behind a plugin's name does not."""
    folder = RunFolder(tmp_path)
    (tmp_path / "fold1").mkdir()
    (tmp_path / "fold1" / "states-10.ckpt").touch()
    plugins = {"pooling max": {"file": "max.py", "sha256": "1"}}
    folder.record.write_text(json.dumps({**EARLIER, "settings": {**EARLIER["settings"], "plugins": plugins}}))
    told = {**EARLIER["settings"], "deviations": ["in other words"], "plugins": plugins}
    assert folder.is_for({**EARLIER, "settings": told})
    other = {**told, "plugins": {"pooling max": {"file": "max.py", "sha256": "2"}}}
    for settings in (other, EARLIER["settings"]):
        with pytest.raises(RunError, match=r"settings\.plugins\.pooling max"):
            folder.is_for({**EARLIER, "settings": settings})


@pytest.mark.parametrize("downstream", downstream_configs())
def test_a_configuration_comes_back_from_its_types(downstream: str) -> None:
    config = read_yaml(downstream_configs()[downstream])
    expert = downstream_kind(downstream)
    assert isinstance(expert, StockDownstream if downstream == "emotion" else PluginDownstream)
    datarc = config["downstream_expert"]["datarc"]
    given = {"root": "/a", "meta_data": "/a"} if downstream == "emotion" else {"manifest": "../m", "folds": "../f"}
    datarc.update(given, test_fold="fold3", cached="float16")
    settings, inputs = check_settings(config, downstream, "a checkpoint")
    assert inputs == FoldInputs(test_fold="fold3", cached="float16", **given)
    again = mapping(downstream, settings, inputs)
    assert {key: again["downstream_expert"]["datarc"][key] for key in datarc} == datarc
    assert check_settings(again, downstream, "again") == (settings, inputs)
    of_no_fold = mapping(downstream, settings)["downstream_expert"]["datarc"]
    assert not any(of_no_fold.get(item.name) for item in dataclasses.fields(FoldInputs))


def test_arguments_come_back_from_their_types() -> None:
    plan = resolve_request(_demo("emotion_mean", upstream_layer_selection=0, upstream_feature_normalize=True, seed=5))
    args = namespace(plan.training)
    assert set(vars(args)) == set(ARGUMENTS)
    assert (args.upstream_layer_selection, args.upstream_feature_normalize, args.seed) == (0, True, 5)
    assert args.override is None, "it is applied: a checkpoint must not carry it on"
    assert training_of(args, plan.training.settings) == plan.training


def test_folds_are_named_once() -> None:
    assert resolve_request(_demo("emotion_mean")).folds is None
    assert resolve_request(_demo("emotion_mean", downstream_variant="fold2")).folds == (2,)
    assert resolve_request(dataclasses.replace(_demo("emotion_mean"), folds=(1, 2))).folds == (1, 2)
    with pytest.raises(ConfigError, match="--fold 1 and -v fold2 name different test folds"):
        resolve_request(dataclasses.replace(_demo("emotion_mean", downstream_variant="fold2"), folds=(1,)))


@pytest.mark.parametrize("item", [item.name for item in dataclasses.fields(FoldInputs) if item.name != "test_fold"])
def test_what_is_given_in_a_fold_is_no_setting(item: str) -> None:
    override = f"config.downstream_expert.datarc.{item}='x'"
    with pytest.raises(ConfigError, match=rf"datarc\.{item} is set by the launcher: use --corpus and --data instead"):
        resolve_request(_demo("emotion_mean", override=override))


def test_a_plan_cannot_be_changed() -> None:
    plan = resolve_request(_demo("emotion_mean"))
    for part in (plan, plan.training, plan.training.upstream, plan.training.settings, plan.corpus, plan.remarks):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, dataclasses.fields(part)[0].name, None)


def test_a_plan_is_read_without_torch() -> None:
    code = "import s3prl_emotion.runs.plan, sys; print({'torch', 's3prl', 'transformers'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
