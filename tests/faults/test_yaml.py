"""Configurations that cannot be meant so, and those that want to execute code: in a file, by ``-o``, in a sweep."""

# ruff: noqa: E501  (one row, one line)

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from faults.campaign import Fault, hold, payload, table
from s3prl_emotion.s3prl_runner.registration import downstream_configs

pytestmark = pytest.mark.slow

CODE = payload("MeanPooling")
HEAD = "config.downstream_expert.modelrc."
DATA = "config.downstream_expert.datarc."
CONVOLUTIONS = "'model_type': 'FCN', 'hidden_dim': 80, 'kernel_size': 5, 'padding': 2, 'pooling': 5, 'dropout': 0.4"
WARMUP = "{'name': 'linear_schedule_with_warmup', 'num_warmup_steps': 10}"


def override(name: str, text: str, *says: str, head: str = "emotion_mean_std", command: str = "run") -> Fault:
    """One ``-o``."""
    text = text.replace("{", "{{").replace("}", "}}")
    return Fault(f"-o: {name}", (command, "-u", "fbank", "-d", head, "--device", "cpu", "-o", text), ("-o", *says))


def file(name: str, content: str | bytes | Callable[[dict[str, Any]], Any], *says: str, head: str = "emotion") -> Fault:
    """One ``-c``: a text, or a change of what ships."""

    def make(here: Path) -> None:
        if callable(content):
            config = yaml.safe_load(downstream_configs()[head].read_text(encoding="utf-8"))
            content(config)
            written: str | bytes = yaml.safe_dump(config)
        else:
            written = content
        (here / "mine.yaml").write_bytes(written.encode() if isinstance(written, str) else written)

    argv = ("run", "-u", "fbank", "-d", head, "--device", "cpu", "-c", "{here}/mine.yaml")
    return Fault(f"-c: {name}", argv, ("mine.yaml", *says), make)


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        place = config
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = value

    return change


BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{key}: &{key} [{','.join(['*' + before] * 10)}]\n" for before, key in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {x1: 1, x2: 2}\n" + "".join(
    f"{key}: &{key} {{k{key}: 1, <<: [{', '.join(['*' + before] * 30)}]}}\n"
    for before, key in zip("abcdef", "bcdefg", strict=True)
)


@table(
    # --- code ---------------------------------------------------------------------------------------------------------
    override("code as S3PRL's pooling", f"{HEAD}UtteranceLevel.pooling={CODE}", "unknown pooling", head="emotion"),
    override("code as S3PRL's model", f"{HEAD}select={CODE}", "unknown select", head="emotion"),
    override("code as model_type", f"{HEAD}DeepModel={{{CONVOLUTIONS}, 'input_dim': 1}},,{HEAD}DeepModel.model_type={CODE}", "unknown model_type", head="emotion"),
    override("code as pre_net", f"{HEAD}UtteranceLevel.pre_net.select={CODE}", "unknown select", head="emotion"),
    override("code as post_net", f"{HEAD}UtteranceLevel.post_net.select={CODE}", "unknown select", head="emotion"),
    override("a lookup as activation", f"{HEAD}UtteranceLevel.activation=Module", "unknown activation 'Module'", head="emotion"),
    override("code as scheduler", f"config.scheduler.name=linear_schedule_with_warmup if {CODE} else 0", "unknown scheduler"),
    override("code as scheduler of S3PRL's expert", f"config.scheduler.name={CODE}", "unknown scheduler", head="emotion"),
    override("code as optimizer", f"config.optimizer.name={CODE}", "unknown optimizer"),
    override("code as torch_optim_name", f"config.optimizer.torch_optim_name={CODE}", "unknown torch_optim_name"),
    override("code as learning rate", f"config.optimizer.lr={CODE}", "Adam refuses these settings: lr"),
    override("code as pooling", f"{HEAD}pooling.name={CODE}", "unknown pooling"),
    override("code as objective", f"{HEAD}objective.name={CODE}", "unknown objective"),
    override("code as split", f"config.runner.eval_dataloaders=['dev', \"{CODE}\"]", "eval_dataloaders"),
    override("code as training split", f"config.runner.train_dataloader={CODE}", "train_dataloader"),
    override("code as steps", f"config.runner.total_steps={CODE}", "runner.total_steps: expected int"),
    override("code as feature selection", f"args.upstream_trainable={CODE}", "expected bool"),
    override("code in a sweep", f"{HEAD}UtteranceLevel.pooling={CODE}", "unknown pooling", head="emotion", command="sweep"),
    override("code as scheduler in a sweep", f"config.scheduler.name={CODE}", "unknown scheduler", command="sweep"),
    override("another downstream", "args.downstream=emotion_corr", "give downstream as an option of its own"),
    override("another mode", f"args.mode={CODE}", "give mode as an option of its own"),
    override("an expert of a download", "args.from_hf_hub=True", "unknown argument 'from_hf_hub'"),
    file("code as S3PRL's pooling", _set("downstream_expert.modelrc.UtteranceLevel.pooling", CODE), "unknown pooling"),
    file("code as S3PRL's model", _set("downstream_expert.modelrc.select", CODE), "unknown select"),
    file("code as pre_net", _set("downstream_expert.modelrc.UtteranceLevel.pre_net", {"select": CODE}), "unknown select"),
    file("code as post_net", _set("downstream_expert.modelrc.UtteranceLevel.post_net", {"select": CODE}), "unknown select"),
    file("code as activation of post_net", _set("downstream_expert.modelrc.UtteranceLevel.post_net", {"select": "FrameLevel", "FrameLevel": {"hiddens": [3], "activation": CODE}}), "unknown activation"),
    file("code as scheduler", _set("scheduler.name", CODE), "unknown scheduler"),
    file("code as optimizer", _set("optimizer.name", CODE), "unknown optimizer"),
    file("code as a tag", "runner: !!python/object/apply:os.system ['touch EXECUTED']\n", "not valid YAML"),
    file("code as a module", "runner: !!python/module:os\n", "not valid YAML"),
    file("code as a name", "runner: !!python/name:os.system\n", "not valid YAML"),
    # --- YAML that is no configuration --------------------------------------------------------------------------------
    file("empty", "", "expected a mapping"),
    file("a list", "- 1\n", "expected a mapping"),
    file("a text", "runner\n", "expected a mapping"),
    file("not YAML", "runner: [1\n", "not valid YAML"),
    file("a tab", "runner:\n\ttotal_steps: 1\n", "not valid YAML"),
    file("two documents", "a: 1\n---\nb: 2\n", "not valid YAML"),
    file("not UTF-8", b"runner: \xff\xfe\xfa\n", "not valid YAML"),
    file("NUL", b"runner: a\x00b\n", "not valid YAML"),
    file("a key twice", "runner: {total_steps: 1}\nrunner: {total_steps: 2}\n", "'runner' is given twice"),
    file("an inner key twice", "optimizer:\n  lr: 1\n  lr: 2\n", "'lr' is given twice"),
    file("a quoted key twice", "optimizer: {lr: 1, 'lr': 2}\n", "'lr' is given twice"),
    file("a value that holds itself", "runner: &a {total_steps: *a}\n", "stands for nothing, or for what holds it"),
    file("a list that holds itself", "runner: &a [*a]\n", "stands for nothing, or for what holds it"),
    file("an anchor of nothing", "runner: *nothing\n", "stands for nothing"),
    file("a bomb of anchors", BOMB, "more than 10000 values"),
    file("a bomb of merges", MERGE_BOMB, "more than 10000 values"),
    file("a merge of a number", "runner: {<<: 3}\n", "not valid YAML"),
    file("nested deeply", "runner: " + "[" * 500 + "]" * 500, "nested more than 32 deep"),
    file("nested very deeply", "runner: " + "{a: " * 50000, "nested more than 32 deep"),
    file("nested deeply in blocks", "".join("  " * depth + "a:\n" for depth in range(200)), "nested more than 32 deep"),
    file("large", "a: " + "x" * 2_000_000, "characters, expected at most"),
    file("many values", "a: [" + "1," * 20_000 + "]", "more than 10000 values"),
    file("a date that is none", "runner: 2020-13-45\n", "a value cannot be read"),
    file("a number that is none", "runner: !!int x\n", "a value cannot be read"),
    file("a truth that is none", "runner: !!bool maybe\n", "a value cannot be read"),
    file("a time that is none", "runner: !!timestamp x\n", "a value cannot be read"),
    file("a number of 5000 digits", f"runner: {'9' * 5000}\n", "a value cannot be read"),
    file("a list as key", "? [1]\n: 2\n", "not valid YAML"),
    file("a number as key", "1: 2\n", "expected texts as keys, found 1"),
    file("null as key", "null: 2\n", "expected texts as keys, found None"),
    # --- values that are no settings ----------------------------------------------------------------------------------
    file("a date", _set("runner.total_steps", datetime.date(2020, 1, 1)), "runner.total_steps", "date"),
    file("bytes", _set("optimizer.lr", b"abc"), "optimizer.lr", "bytes"),
    file("a set", _set("runner.eval_dataloaders", {"dev"}), "runner.eval_dataloaders", "set"),
    file("a number of 65 bits", _set("runner.total_steps", 2**64), "runner.total_steps", "63 bits"),
    file("a number of 40 bits", _set("runner.total_steps", 2**40), "runner.total_steps", "at most 2147483647"),
    file("null for the expert", _set("downstream_expert", None), "downstream_expert: expected a mapping"),
    file("null for our expert", _set("downstream_expert", None), "downstream_expert: expected a mapping", head="emotion_mean"),
    file("null for the runner", _set("runner", None), "runner: expected a mapping"),
    file("null for the optimizer", _set("optimizer", None), "optimizer: expected a mapping"),
    file("null for datarc", _set("downstream_expert.datarc", None), "datarc: expected a mapping"),
    file("a list for modelrc", _set("downstream_expert.modelrc", [1]), "modelrc: expected a mapping"),
    file("null for the pooling", _set("downstream_expert.modelrc.pooling", None), "pooling: expected a mapping", head="emotion_mean"),
    file("no head", lambda config: config["downstream_expert"].pop("modelrc"), "missing key 'modelrc'"),
    file("no steps", lambda config: config["runner"].pop("total_steps"), "missing key 'total_steps'"),
    file("no batch size", lambda config: config["downstream_expert"]["datarc"].pop("train_batch_size"), "missing key 'train_batch_size'"),
    file("an unknown key", _set("runner.total_step", 20), "unknown key 'total_step'. Did you mean 'total_steps'"),
    file("an unknown key of S3PRL's head", _set("downstream_expert.modelrc.UtteranceLevel.poling", "MeanPooling"), "unknown key 'poling'"),
    file("a text as truth", _set("downstream_expert.datarc.pre_load", "yes please"), "pre_load: expected bool"),
    file("S3PRL's own root", _set("downstream_expert.datarc.root", "/data"), "use --corpus and --data instead"),
    file("a convolution without settings", _set("downstream_expert.modelrc.select", "DeepModel"), "whose settings are missing"),
    file("frames for an utterance", _set("downstream_expert.modelrc.select", "FrameLevel"), "unknown select 'FrameLevel'"),
    # --- one value ----------------------------------------------------------------------------------------------------
    override("a key that -o gives", "config.runner.total_step=20", "-o on", "unknown key 'total_step'"),
    override("fewer steps than the interval", "config.runner.total_steps=20", "-o on", "-o config.runner.eval_step=4"),
    override("no steps", "config.runner.total_steps=0", "total_steps must be at least 1"),
    override("half a step", "config.runner.total_steps=2.5", "total_steps: expected int"),
    override("steps without end", "config.runner.total_steps=1e400", "total_steps: expected a finite number, found inf"),
    override("a clip of nan", "config.runner.gradient_clipping=nan", "gradient_clipping: expected a finite number"),
    override("a rate of 1e38", "config.optimizer.lr=1e38", "optimizer", "at most 1000"),
    override("a rate of 0", "config.optimizer.lr=0", "optimizer", "lr must be above 0"),
    override("a rate below 0", "config.optimizer.lr=-0.1", "optimizer", "Invalid learning rate: -0.1"),
    override("a rate of nan", "config.optimizer.lr=nan", "lr nan"),
    override("a rate of inf", "config.optimizer.lr=1e999", "optimizer.lr: expected a finite number, found inf"),
    override("a list as rate", "config.optimizer.lr=[1]", "lr [1"),
    override("true as rate", "config.optimizer.lr=True", "lr True"),
    override("one beta", "config.optimizer.betas=[0.9]", "betas [0.9"),
    override("betas of text", "config.optimizer.betas=['a', 'b']", "betas ['a', 'b']"),
    override("a text as amsgrad", "config.optimizer.amsgrad=perhaps", "amsgrad 'perhaps'"),
    override("LBFGS", "config.optimizer={'name': 'TorchOptim', 'torch_optim_name': 'LBFGS', 'lr': 1}", "LBFGS cannot work"),
    override("SparseAdam", "config.optimizer.torch_optim_name=SparseAdam", "SparseAdam cannot work"),
    override("Muon", "config.optimizer.torch_optim_name=Muon", "Muon cannot work"),
    override("capturable", "config.optimizer.capturable=True", "Adam cannot work"),
    override("differentiable", "config.optimizer.differentiable=True", "Adam cannot work"),
    override("a schedule that is code", "config.optimizer={'name': 'BertAdam_with_schedule', 'lr': 1e-3}", "keeps its schedule in checkpoints as code"),
    override("the base class", "config.optimizer.torch_optim_name=Optimizer", "unknown torch_optim_name 'Optimizer'"),
    override("a module", "config.optimizer.torch_optim_name=lr_scheduler", "unknown torch_optim_name 'lr_scheduler'"),
    override("an optimiser of a list", "config.optimizer.name=['Adam']", "unknown optimizer ['Adam']"),
    override("a scheduler that is a text", "config.scheduler=linear", "unknown scheduler None"),
    override("a scheduler of a list", "config.scheduler={'name': ['a']}", "unknown scheduler"),
    override("a scheduler without warm-up", "config.scheduler={'name': 'linear_schedule_with_warmup'}", "missing key 'num_warmup_steps'"),
    override("a scheduler with another setting", f"config.scheduler={WARMUP},,config.scheduler.cycles=2", "unknown key 'cycles'"),
    override("a warm-up of text", "config.scheduler={'name': 'noam_decay_schedule_with_warmup', 'num_warmup_steps': 'a'}", "num_warmup_steps: expected int"),
    override("a warm-up below 0", "config.scheduler={'name': 'linear_schedule_with_warmup', 'num_warmup_steps': -1}", "num_warmup_steps must be at least 0"),
    override("no warm-up where it is divided by", "config.scheduler={'name': 'noam_decay_schedule_with_warmup', 'num_warmup_steps': 0}", "cannot work with these settings"),
    override("a warm-up to the end", "config.scheduler={'name': 'polynomial_decay_schedule_with_warmup', 'num_warmup_steps': 30000}", "cannot work with these settings"),
    override("an end above the rate", "config.scheduler={'name': 'polynomial_decay_schedule_with_warmup', 'num_warmup_steps': 1, 'lr_end': 1}", "cannot work with these settings"),
    override("a last epoch", f"config.scheduler={WARMUP},,config.scheduler.last_epoch=3", "unknown key 'last_epoch'"),
    override("SpecAug of an unknown setting", "config.specaug={'masks': 3}", "specaug: unknown key 'masks'"),
    override("SpecAug of a text", "config.specaug=yes", "specaug: expected a mapping"),
    override("SpecAug of nothing", "config.specaug={'apply_time_warp': False, 'apply_freq_mask': False, 'apply_time_mask': False}", "SpecAug refuses these settings"),
    override("SpecAug below 0", "config.specaug={'num_time_mask': -1}", "SpecAug refuses these settings"),
    override("SpecAug of a billion masks", "config.specaug={'num_time_mask': 1000000000}", "specaug: num_time_mask must be at most"),
    override("half precision on the CPU", "config.runner.fp16=True", "runner.fp16 needs a CUDA device"),
    override("no dev set", "config.runner.eval_dataloaders=['test']", "eval_dataloaders"),
    override("a fraction of dev", "config.runner.evaluate_ratio=0.5", "evaluate_ratio must be 1"),
    override("a billion heads", f"{HEAD}pooling.heads=1e9", "heads must be a whole number", head="emotion_attn_corr"),
    override("a billion heads, whole", f"{HEAD}pooling.heads=1000000000", "numbers, expected at most", head="emotion_attn_corr"),
    override("heads that cannot be counted", f"{HEAD}pooling.heads=9000000000000000000", "pooling", head="emotion_attn_corr"),
    override("a million channels", f"{HEAD}projector_dim=1000000", "numbers, expected at most", head="emotion_corr"),
    override("an unhashable pooling", f"{HEAD}pooling.name=['mean']", "pooling needs a 'name', a text"),
    override("a pooling of a mapping", f"{HEAD}pooling.name={{'a': 1}}", "pooling needs a 'name', a text"),
    override("no pooling", f"{HEAD}pooling=None", "pooling: expected a mapping"),
    override("an unhashable objective", f"{HEAD}objective.name=['a']", "objective needs a 'name', a text"),
    override("a smoothing of text", f"{HEAD}objective={{'name': 'label_smoothing', 'smoothing': 'a'}}", "objective"),
    override("a smoothing of 1", f"{HEAD}objective={{'name': 'label_smoothing', 'smoothing': 1}}", "smoothing must be in [0, 1)"),
    override("a dropout of 1", f"{HEAD}dropout=1", "dropout must be in [0, 1)"),
    override("audio without end", f"{DATA}max_duration_s=1e999", "max_duration_s: expected a finite number"),
    override("audio of nan", f"{DATA}max_duration_s=nan", "max_duration_s: expected a finite number"),
    override("a million workers", f"{DATA}num_workers=1000000", "num_workers must be in 0 to 256"),
    override("no batch", f"{DATA}train_batch_size=0", "train_batch_size must be at least 1"),
    override("another manifest", f"{DATA}manifest='/x/manifest.jsonl'", "datarc.manifest is set by the launcher"),
    override("stored states", f"{DATA}cached='float16'", "datarc.cached is set by the launcher"),
    override("an unhashable sampler", f"{DATA}sampler=['shuffle']", "sampler: expected str"),
    override("another division", f"{DATA}valid_ratio=0.1", "valid_ratio must be 0.2", "the audit", head="emotion"),
    override("a division of text", f"{DATA}valid_ratio=a", "valid_ratio: expected a number", head="emotion"),
    override("a sampler for S3PRL's expert", f"{DATA}sampler=shuffle", "unknown key 'sampler'", head="emotion"),
    override("a wide projector", f"{HEAD}projector_dim=1000000000", "projector_dim must be in 1 to", head="emotion"),
    override("a wide layer", f"{HEAD}UtteranceLevel.pre_net={{'select': 'FrameLevel', 'FrameLevel': {{'hiddens': [1000000000]}}}}", "hiddens must be in 1 to", head="emotion"),
    override("a null projector of S3PRL's", f"{HEAD}projector_dim=None", "projector_dim: expected int", head="emotion"),
    override("the downstream as null", "config.downstream_expert=None", "downstream_expert: expected a mapping"),
    # --- -o itself ----------------------------------------------------------------------------------------------------
    override("no value", "config.runner.total_steps", "expected config.KEY=VALUE"),
    override("no key", "config.=3", "expected config.KEY=VALUE"),
    override("another root", "runner.total_steps=3", "expected config.KEY=VALUE"),
    override("below a number", "config.runner.total_steps.x=3", "it has no keys below"),
    override("a set", "config.runner.eval_dataloaders={'dev'}", "runner.eval_dataloaders", "set"),
    override("bytes", "config.optimizer.lr=b'1'", "optimizer.lr", "bytes"),
    override("a complex number", "config.optimizer.lr=1j", "optimizer.lr", "complex"),
    override("an ellipsis", "config.optimizer.lr=...", "optimizer.lr", "ellipsis"),
    override("a key that is a number", "config.runner={1: 2}", "expected texts as keys"),
    override("nested by brackets", "config.runner=" + "[" * 5000, "runner"),
    override("nested by signs", "config.optimizer.lr=" + "-" * 200_000 + "1", "optimizer.lr"),
    override("nested deeply", "config.runner=" + "[" * 60 + "]" * 60, "nested more than 32 deep"),
    override("a number of 5000 digits", "config.runner.total_steps=" + "9" * 5000, "total_steps"),
    override("NUL", "config.optimizer.name=Ad\0am", "optimizer.name", "NUL"),
    override("a text of a million characters", "config.optimizer.name=" + "a" * 1_000_000, "at most 4096 characters"),
    override("a seed too large", "args.seed=4294967296", "a seed is 0 or more, and at most 4294967295"),
    override("a seed below 0", "args.seed=-1", "a seed is 0 or more"),
    override("a seed of truth", "args.seed=True", "expected int"),
    override("a layer of text", "args.upstream_layer_selection='a'", "expected int or NoneType"),
)  # fmt: skip
def test_configuration(fault: Fault, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = hold(fault, tmp_path, capsys)
    assert len(said) < 3000
