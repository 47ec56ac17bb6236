"""Checkpoints of runs that are malformed, or want to execute code, through every command that reads one."""

# ruff: noqa: E501  (one row, one line)

from __future__ import annotations

import argparse
import collections
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from faults.campaign import Fault, Touch, hold, payload, table
from s3prl_emotion.config import read_yaml
from s3prl_emotion.s3prl_runner.registration import downstream_configs

pytestmark = pytest.mark.slow

Content = dict[str, Any]
CODE = payload("MeanPooling")
COMMANDS: dict[str, tuple[str, ...]] = {
    "evaluate": ("run", "-m", "evaluate", "-e", "{here}/run/fold1/dev-best.ckpt", "--device", "cpu"),
    "inference": ("run", "-m", "inference", "-e", "{here}/run/fold1/dev-best.ckpt", "-t", "{audio}", "--device", "cpu"),
    "resume": ("run", "-e", "{here}/run/fold1/states-4.ckpt", "-o", "config.runner.total_steps=6", "--device", "cpu"),
    "predict": ("predict", "--run", "{here}/run/fold1/dev-best.ckpt", "{audio}", "--device", "cpu"),
    "export": ("export", "{here}/run/fold1/dev-best.ckpt", "--out", "{here}/export"),
}


def checkpoint(name: str, change: Callable[[Content], object], *says: str, by: str = "evaluate") -> Fault:
    """A checkpoint of a good run with a change, written back as it was."""

    def make(here: Path) -> None:
        for path in (here / "run" / "fold1").glob("*.ckpt"):
            content = torch.load(path, weights_only=True)
            changed = change(content)
            torch.save(content if changed is None else changed, path)

    return Fault(f"{by}: {name}", COMMANDS[by], (".ckpt", *says), make)


def led(name: str, entry: str, place: str, *says: str, by: str) -> Fault:
    """A checkpoint of a good run that names one of S3PRL's entries, and a file with code in it."""

    def make(here: Path) -> None:
        torch.save({"Settings": Touch()}, here / "evil.ckpt")
        for path in (here / "run" / "fold1").glob("*.ckpt"):
            content = torch.load(path, weights_only=True)
            content["Args"].upstream, content["Args"].upstream_ckpt = entry, place.format(here=here)
            torch.save(content, path)

    return Fault(f"{by}: {name}", COMMANDS[by], says, make)


def raw(name: str, content: bytes, *says: str, by: str = "evaluate") -> Fault:
    """A file that is none of torch's."""

    def make(here: Path) -> None:
        for path in (here / "run" / "fold1").glob("*.ckpt"):
            path.write_bytes(content)

    return Fault(f"{by}: {name}", COMMANDS[by], says, make)


def setting(path: str, value: object) -> Callable[[Content], None]:
    """Put a value into ``Config`` (a dotted path), an argument (``args.<name>``), or beside them (``.<key>``)."""

    def change(content: Content) -> None:
        root, _, rest = path.partition(".")
        if root == "args":
            setattr(content["Args"], rest, value)
            return
        *parents, last = rest.split(".") if not root else path.split(".")
        place = content if not root else content["Config"]
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = value

    return change


def stock(**modelrc: object) -> Callable[[Content], None]:
    """The checkpoint as one of S3PRL's own expert, with these settings of its model."""

    def change(content: Content) -> None:
        content["Args"].downstream = "emotion"
        content["Config"] = read_yaml(downstream_configs()["emotion"])
        content["Config"]["downstream_expert"]["modelrc"].update(modelrc)

    return change


def _kind(dtype: torch.dtype) -> Callable[[Content], None]:
    """The first weights of the head as numbers of another kind."""

    def change(content: Content) -> None:
        name = next(name for name in content["Downstream"] if name.endswith("weight"))
        content["Downstream"][name] = (content["Downstream"][name] * 10).to(dtype)

    return change


def _itself(content: Content) -> None:
    content["Config"]["runner"]["itself"] = content["Config"]


def _deep(content: Content) -> None:
    place = content["Config"]["runner"]
    for _ in range(200):
        place["a"] = {}
        place = place["a"]


def _touch(content: Content) -> None:
    content["Config"]["touch"] = Touch()


def _other_head(content: Content) -> None:
    content["Downstream"] = {
        key: value[..., :1] if isinstance(value, torch.Tensor) and value.ndim == 2 else value
        for key, value in content["Downstream"].items()
    }


def _optimizer(key: str, value: object) -> Callable[[Content], None]:
    return lambda content: content["Optimizer"]["param_groups"][0].update({key: value})


def _moments(content: Content) -> None:
    for state in content["Optimizer"]["state"].values():
        state["exp_avg"] = torch.zeros(2, 3, 5)


def _scheduled(**more: object) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        content["Config"]["scheduler"] = {"name": "linear_schedule_with_warmup", "num_warmup_steps": 1}
        content["Scheduler"] = {"base_lrs": [1e-4], "last_epoch": 4, "lr_lambdas": [None], **more}

    return change


WITH_CODE = f"linear_schedule_with_warmup if {CODE} else get_linear_schedule_with_warmup"
ROWS = [
    *(
        led(f"{entry} of {place}", entry, place, f"-u {entry} with -k", "it is not read", by=command)
        for command in COMMANDS
        for entry in ("mockingjay_url", "distiller_local", "hubert_custom")
        for place in ("file://{here}/evil.ckpt", "{here}/evil.ckpt", "HTTP://127.0.0.1:1/evil.ckpt")
    ),
    # --- code, through every command ----------------------------------------------------------------------------------
    *(
        checkpoint(name, change, *says, by=command)
        for command in COMMANDS
        for name, change, says in (
            ("code as scheduler", setting("scheduler", {"name": WITH_CODE, "num_warmup_steps": 1}), ("unknown scheduler",)),
            ("code as S3PRL's model", stock(select=CODE), ("unknown select",)),
            ("code as S3PRL's pooling", stock(UtteranceLevel={"pooling": CODE}), ("unknown pooling",)),
            ("code as S3PRL's pre_net", stock(UtteranceLevel={"pre_net": {"select": CODE}}), ("unknown select",)),
            ("code as optimizer", setting("optimizer.name", CODE), ("unknown optimizer",)),
            ("code as downstream", setting("args.downstream", f"emotion.expert') or {CODE} or ('"), ("is not an emotion downstream",)),
            ("code in the pickle", _touch, ("refused", "Nothing was executed")),
        )
    ),
    checkpoint("another downstream of S3PRL's", setting("args.downstream", "asr"), "downstream 'asr' is not an emotion"),
    checkpoint("a downstream by path", setting("args.downstream", "..upstream.hubert"), "is not an emotion downstream"),
    checkpoint("a module as upstream", setting("args.upstream", "torch"), "is no upstream"),
    checkpoint("an attribute as upstream", setting("args.upstream", "__builtins__"), "is no upstream"),
    checkpoint("a function of the hub as upstream", setting("args.upstream", "options"), "is no upstream"),
    checkpoint("code as split", setting("runner.train_dataloader", CODE), "train_dataloader"),
    checkpoint("code as evaluated split", setting("runner.eval_dataloaders", ["dev", CODE]), "eval_dataloaders"),
    checkpoint("code as post_net", stock(UtteranceLevel={"post_net": {"select": CODE}}), "unknown select"),
    checkpoint("a lookup as activation", stock(UtteranceLevel={"activation": "Module"}), "unknown activation"),
    checkpoint("code as pooling", setting("downstream_expert.modelrc.pooling", {"name": CODE}), "unknown pooling"),
    checkpoint("code as objective", setting("downstream_expert.modelrc.objective", {"name": CODE}), "unknown objective"),
    checkpoint("code as torch_optim_name", setting("optimizer.torch_optim_name", CODE), "unknown torch_optim_name"),
    checkpoint("code as mode", setting("args.mode", CODE), "argument mode"),
    checkpoint("an upload", setting("args.push_to_hf_hub", True), "is not supported"),
    checkpoint("a download", setting("args.hub", "huggingface"), "is not supported"),
    # --- arguments ----------------------------------------------------------------------------------------------------
    checkpoint("no arguments", setting(".Args", {"downstream": "emotion"}), "Args: expected Namespace"),
    checkpoint("arguments of nothing", setting(".Args", argparse.Namespace()), "argument downstream: expected str"),
    checkpoint("a seed of text", setting("args.seed", "1337"), "argument seed: expected int"),
    checkpoint("a seed too large", setting("args.seed", 2**32), "at most 4294967295"),
    checkpoint("a layer of text", setting("args.upstream_layer_selection", "1"), "argument upstream_layer_selection"),
    checkpoint("a selection of a list", setting("args.upstream_feature_selection", ["a"]), "upstream_feature_selection"),
    checkpoint("trainable as a text", setting("args.upstream_trainable", "no"), "argument upstream_trainable"),
    checkpoint("fine-tuned without an upstream", setting("args.upstream_trainable", True), "Upstream is missing"),
    checkpoint("an upstream of a list", setting("args.upstream", ["fbank"]), "argument upstream: expected str"),
    checkpoint("no upstream", setting("args.upstream", None), "argument upstream: expected str"),
    checkpoint("NUL in a path", setting("args.upstream_ckpt", "a\0b"), "argument upstream_ckpt"),
    checkpoint("a path of a number", setting("args.upstream_ckpt", 3), "argument upstream_ckpt: expected str or nothing"),
    checkpoint("a fold that is none", setting("args.downstream_variant", "fold0"), "test_fold must look like"),
    checkpoint("many processes", setting("args.local_rank", 1), "argument local_rank"),
    # --- configuration ------------------------------------------------------------------------------------------------
    checkpoint("no configuration", setting(".Config", [1]), "Config: expected dict"),
    checkpoint("an empty configuration", setting(".Config", {}), "missing key 'runner'"),
    checkpoint("a configuration that holds itself", _itself, "nested more than 32 deep"),
    checkpoint("a deep configuration", _deep, "nested more than 32 deep"),
    checkpoint("a tensor as setting", setting("runner.total_steps", torch.ones(1)), "runner.total_steps", "Tensor"),
    checkpoint("a number as key", lambda content: content["Config"].update({1: 2}), "expected texts as keys"),
    checkpoint("a set as setting", setting("runner.eval_dataloaders", collections.Counter(a=1)), "eval_dataloaders"),
    checkpoint("null for the expert", setting("downstream_expert", None), "downstream_expert: expected a mapping"),
    checkpoint("an unknown key", setting("runner.steps", 3), "unknown key 'steps'"),
    checkpoint("a billion heads", setting("downstream_expert.modelrc.pooling", {"name": "attentive_correlation", "heads": 10**9}), "numbers, expected at most"),
    checkpoint("stored states of another type", setting("downstream_expert.datarc.cached", "int8"), "cached must be float16"),
    checkpoint("an optimiser that cannot work", setting("optimizer.torch_optim_name", "LBFGS"), "LBFGS cannot work"),
    # --- parameters ---------------------------------------------------------------------------------------------------
    checkpoint("no head", lambda content: content.pop("Downstream") and None, "Downstream missing"),
    checkpoint("a head of a list", setting(".Downstream", [1]), "Downstream: expected dict"),
    checkpoint("a head of nothing", setting(".Downstream", {}), "best_score: expected one number"),
    checkpoint("a text as parameter", setting(".Downstream.head.classifier", "a"), "Downstream.head"),
    checkpoint("a parameter that is nan", lambda content: content["Downstream"].update({"head.classifier.bias": torch.full((4,), float("nan"))}), "not all finite"),
    checkpoint("weights of layers that are inf", lambda content: content["Featurizer"].update(weights=torch.full((1,), float("inf"))), "not all finite"),
    checkpoint("a sparse parameter", lambda content: content["Downstream"].update({"head.classifier.bias": torch.ones(4).to_sparse()}), "ordinary tensor"),
    checkpoint("a parameter without values", lambda content: content["Downstream"].update({"head.classifier.bias": torch.ones(4, device="meta")}), "ordinary tensor"),
    checkpoint("a head of another shape", _other_head, "its Downstream does not fit"),
    checkpoint("a head with another layer", lambda content: content["Downstream"].update({"head.extra": torch.ones(1)}), "its Downstream does not fit"),
    checkpoint("a step of text", setting(".Step", "4"), "Step: expected int"),
    checkpoint("a step below 0", setting(".Step", -1), "Step: expected 0 or more"),
    checkpoint("a truth as step", setting(".Step", True), "Step: expected int"),
    checkpoint("an epoch of text", setting(".Epoch", "a"), "Epoch: expected int", by="resume"),
    checkpoint("a score of two", lambda content: content["Downstream"].update(best_score=torch.ones(2)), "best_score"),
    # --- what a training goes on from ---------------------------------------------------------------------------------
    checkpoint("an optimiser of a list", setting(".Optimizer", [1]), "Optimizer: expected dict", by="resume"),
    checkpoint("an optimiser without groups", setting(".Optimizer", {"state": {}}), "its Optimizer does not fit", by="resume"),
    checkpoint("other settings of the optimiser", _optimizer("betas", (0.1, 0.2)), "its betas is (0.1, 0.2)", by="resume"),
    checkpoint("a rate of text", _optimizer("lr", "a"), "its learning rate is 'a'", by="resume"),
    checkpoint("a rate of 1e38", _optimizer("lr", 1e38), "its learning rate is 1e+38", by="resume"),
    checkpoint("moments of another shape", _moments, "exp_avg has shape (2, 3, 5)", by="resume"),
    checkpoint("a scheduler with code", _scheduled(step=CODE), "it has 'step'", by="resume"),
    checkpoint("a scheduler with another optimiser", _scheduled(optimizer={}), "it has 'optimizer'", by="resume"),
    checkpoint("a scheduler of other rates", _scheduled(base_lrs=[5.0]), "are not the configuration's", by="resume"),
    checkpoint("a scheduler of text", _scheduled(last_epoch="a"), "its last_epoch is 'a'", by="resume"),
    checkpoint("no random state", setting(".Downstream._extra_state", {"epoch": 0}), "_extra_state", by="resume"),
    checkpoint("a random state of text", setting(".Downstream._extra_state", {"epoch": 0, "used_batches": 1, "random_state": "a"}), "_extra_state", by="resume"),
    checkpoint("a random state that is cut", lambda content: content["Downstream"]["_extra_state"]["random_state"].update(torch=torch.zeros(3, dtype=torch.uint8)), "_extra_state", by="resume"),
    # --- weights of another kind --------------------------------------------------------------------------------------
    *(
        checkpoint(f"weights as {dtype}", _kind(dtype), "weight", str(dtype), "expected", by=command)
        for command, dtype in (("evaluate", torch.int8), ("resume", torch.uint8), ("predict", torch.int8), ("export", torch.complex64), ("inference", torch.bool), ("export", torch.int16))
    ),
    checkpoint("weights as whole numbers of 64 bits", _kind(torch.int64), "weight holds torch.int64, expected torch.float32"),
    # --- no checkpoint ------------------------------------------------------------------------------------------------
    *(raw("an empty file", b"", "not a readable checkpoint", by=command) for command in ("evaluate", "predict", "export")),
    raw("an empty file", b"", "not a readable checkpoint", by="resume"),
    raw("text", b"hello\n", "not a readable checkpoint"),
    raw("a cut archive", b"PK\x03\x04" + bytes(100), "not a readable checkpoint"),
    raw("YAML", b"runner: {}\n", "not a readable checkpoint", by="predict"),
    checkpoint("a tensor", lambda _: torch.zeros(1), "not a checkpoint of S3PRL's Runner"),
    checkpoint("weights alone", lambda content: {"weights": torch.zeros(1)}, "not a checkpoint of S3PRL's Runner", by="predict"),
    checkpoint("a list", lambda content: [content], "not a checkpoint of S3PRL's Runner", by="export"),
]  # fmt: skip


@table(*ROWS)
def test_run_checkpoint(
    fault: Fault, tmp_path: Path, capsys: pytest.CaptureFixture[str], finished_run: Path, demo_root: Path
) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    audio = next(demo_root.rglob("*.wav"))
    results = (tmp_path / "run" / "results.json").read_text()
    hold(fault, tmp_path, capsys, audio=audio)
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == json.loads(results)
