"""The stage ``pretrain`` on made-up hidden states: what it learns, and that a resumed run is the uninterrupted one."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from s3prl_emotion.downstream.pretrained import read_about, read_weights
from s3prl_emotion.errors import RunError
from s3prl_emotion.pooling import poolings
from s3prl_emotion.pretraining.contrastive import training
from s3prl_emotion.pretraining.contrastive.clusters import Clustered
from s3prl_emotion.pretraining.contrastive.settings import ContrastiveSettings
from s3prl_emotion.pretraining.contrastive.training import ContrastiveTask
from s3prl_emotion.pretraining.loop import Loop
from s3prl_emotion.pretraining.trainer_state import HISTORY, make_accelerator
from tests.pretraining.contrastive import toys

ROOT = Path(__file__).parents[3]


def run(folder: Path, settings: ContrastiveSettings, given: list[Clustered] | None = None, **states: Any) -> Any:
    given = toys.rows() if given is None else given
    made: Any = states.get("states") or toys.states(given)
    return training.pretrain(given, made, settings, 5, folder, make_accelerator("no", "cpu"), "test")


def shuffled(given: list[Clustered]) -> list[Clustered]:
    """Clusters of the same sizes that mean nothing."""
    order = np.random.default_rng(0).permutation(len(given))
    found = []
    for row, place in zip(given, order.tolist(), strict=True):
        found.append(dataclasses.replace(row, cluster=given[place].cluster))
    return found


LONG = {"training": {"steps": 60, "eval_every": 20, "save_every": 60, "log_every": 60}}


OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("triplet", "supcon")]


@pytest.mark.parametrize("loss", ["infonce", *OTHERS])
def test_it_learns_what_can_be_learned(tmp_path: Path, loss: str) -> None:
    """Of speakers that were held out; and the layer that tells clusters is found."""
    given = toys.rows()
    found = run(tmp_path / "true", toys.settings(loss={"objective": {"name": loss}}, **LONG), given)
    least = np.log(2) if loss == "supcon" else 0.0  # an anchor's two positives share its numerator
    assert found["dev"]["loss"] - least < 0.5 * (found["dev_untrained"]["loss"] - least), found
    weights = read_weights(tmp_path / "true" / training.HEAD)["layer_weights"].softmax(dim=0)
    assert weights.argmax() == 1, weights


def test_it_does_not_learn_what_means_nothing(tmp_path: Path) -> None:
    """Random clusters of the same states: held-out speakers' pairs stay where chance has them."""
    given = toys.rows()
    chance = run(tmp_path, toys.settings(**LONG), shuffled(given), states=toys.states(given))
    true = run(tmp_path / "true", toys.settings(**LONG), given)
    assert chance["dev"]["loss"] > 0.9 * np.log(4), "one positive against three negatives"
    assert true["dev"]["loss"] < 0.5 * chance["dev"]["loss"]


@pytest.mark.parametrize("name", poolings.names())
def test_gradients_reach_all_that_is_kept(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every registered pooling, and the speaker task beside."""
    seen: dict[str, Tensor] = {}
    original = Loop._step

    def step(self: Loop[Any], *rest: Any) -> None:
        before = {key: value.clone() for key, value in self.model.named_parameters()}
        original(self, *rest)
        seen.update({key: (value - before[key]).abs().max() for key, value in self.model.named_parameters()})

    monkeypatch.setattr(Loop, "_step", step)
    config = {"model": {"pooling": {"name": name}}, "loss": {"speaker_weight": 1.0}, "training": {"steps": 3}}
    run(tmp_path, toys.settings(**config))
    assert seen["featurizer.weights"] > 0
    assert seen["trunk.projector.weight"] > 0
    assert seen["speaker_task.classifier.weight"] > 0
    for key, value in seen.items():
        if key.startswith("trunk.pooling") and not key.endswith("queries.bias"):
            assert value > 0, key


def _speaker(found: dict[str, Any], folder: Path) -> float:
    lines = [json.loads(line) for line in (folder / HISTORY).read_text().splitlines()]
    return float(np.mean([line["speaker_accuracy"] for line in lines if line["split"] == "train"][-10:]))


def test_the_speaker_task_and_its_reverse(tmp_path: Path) -> None:
    """λ > 0 learns who speaks; reversed, the vectors tell less of it. Both are in the history."""
    given = toys.rows(speakers=4)
    accuracies = {}
    for reverse in (False, True):
        loss = {"speaker_weight": 1.0, "reverse": reverse}
        longer = {**LONG["training"], "log_every": 1, "dev": {"of": "utterances"}}
        place = tmp_path / str(reverse)
        found = run(place, toys.settings(loss=loss, training=longer), given)
        assert {"loss", "total", "speaker_loss", "speaker_accuracy", "alignment", "uniformity"} <= set(found["dev"])
        accuracies[reverse] = _speaker(found, place)
    assert accuracies[False] > 0.9
    assert accuracies[True] < accuracies[False] - 0.2


class _Killed(Exception):
    pass


def _interrupted(monkeypatch: pytest.MonkeyPatch, step: int, start: Callable[[], Any]) -> None:
    original = Loop._step

    def stop(self: Loop[Any], now: int, *rest: Any) -> None:
        if now == step:
            raise _Killed
        original(self, now, *rest)

    with monkeypatch.context() as patched, pytest.raises(_Killed):
        patched.setattr(Loop, "_step", stop)
        start()


@pytest.mark.parametrize("step", [2, 7, 11])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Bit by bit, with dropout on; global random state does not matter."""
    pooling = {"name": "attentive_correlation", "heads": 2}
    settings = toys.settings(model={"pooling": pooling, "dropout": 0.2}, loss={"speaker_weight": 1.0})
    whole = run(tmp_path / "whole", settings)
    _interrupted(monkeypatch, step, lambda: run(tmp_path / "parts", settings))
    torch.manual_seed(99)
    np.random.seed(99)
    assert run(tmp_path / "parts", settings) == whole
    for name in (f"{training.HEAD}/head.safetensors", f"{training.HEAD}/head.json", HISTORY):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_step_of_two_batches_is_their_sum(tmp_path: Path) -> None:
    """Losses are divided by what all parts of a step count, so several processes are as one."""
    settings = toys.settings(batches={"per_step": 2}, training={"steps": 3}, loss={"speaker_weight": 0.5})
    losses: list[tuple[float, ...]] = []
    original = ContrastiveTask.measure

    def measure(self: ContrastiveTask, part: Any, *rest: Any) -> Any:
        found = original(self, part, *rest)
        if self.model.training:
            losses.append((*(float(item.detach()) for item in found.losses), *self.weights(part)))
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ContrastiveTask, "measure", measure)
        run(tmp_path, settings)
    first = json.loads((tmp_path / HISTORY).read_text().splitlines()[0])
    (one, speaker, count, known), (two, other, more, others) = losses[:2]
    assert first["loss"] == pytest.approx((one + two) / (count + more), rel=1e-5)
    total = first["loss"] + (speaker + other) / (known + others)
    assert first["total"] == pytest.approx(total, rel=1e-5)


def train_here(folder: str) -> None:
    """One process of several: see below."""
    run(Path(folder), toys.settings(batches={"per_step": 4}, loss={"speaker_weight": 1.0}))


@pytest.mark.slow
def test_two_processes_give_the_loss_curve_of_one(tmp_path: Path) -> None:
    train_here(str(tmp_path / "one"))
    code = f"from tests.pretraining.contrastive.test_training import train_here; train_here({str(tmp_path / 'two')!r})"
    (tmp_path / "job.py").write_text(code)
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(tmp_path / "job.py"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, *launch], check=True, env=environment, timeout=500)
    one, two = (
        [json.loads(line) for line in (tmp_path / name / HISTORY).read_text().splitlines()] for name in ("one", "two")
    )
    for mine, theirs in zip(one, two, strict=True):
        assert (mine["step"], mine["split"]) == (theirs["step"], theirs["split"])
        for key in ("loss", "total", "speaker_accuracy", "alignment", "uniformity"):
            if key in mine:
                assert mine[key] == pytest.approx(theirs[key], rel=1e-3, abs=1e-5), (mine["step"], key)


def test_identical_audio_is_no_failure(tmp_path: Path) -> None:
    """Every utterance the same: the losses stay where they are, and everything is finite."""
    given = toys.rows()
    same = toys.States([torch.ones(toys.LAYERS, 4, toys.WIDTH, dtype=torch.float16)] * len(given))
    found = run(tmp_path, toys.settings(), given, states=same)
    assert found["dev"]["loss"] == pytest.approx(np.log(4), rel=1e-3)
    assert found["dev"]["alignment"] == pytest.approx(0.0, abs=1e-9)
    assert found["dev"]["uniformity"] == pytest.approx(0.0, abs=1e-6)


def test_degenerate_speakers_are_left_out(tmp_path: Path) -> None:
    """One utterance, one cluster, no cluster: counted, and not trained on."""
    extra = [
        Clustered("toy/x", "toy", "toy:7", "/x.wav", 0, duration_s=1.0),
        *(Clustered(f"toy/y{n}", "toy", "toy:8", "/y.wav", 0, duration_s=1.0) for n in range(5)),
        *(Clustered(f"toy/z{n}", "toy", "toy:9", "/z.wav", None, duration_s=1.0) for n in range(3)),
    ]
    given = [*toys.rows(), *extra]
    found = run(tmp_path, toys.settings(), given)
    assert found["without_pairs"] == 9
    assert found["train_speakers"] + found["dev_speakers"] == 6
    with pytest.raises(RunError, match="no speaker gives pairs"):
        run(tmp_path / "none", toys.settings(), extra)


def test_not_a_number_is_one_clear_error(tmp_path: Path) -> None:
    given = toys.rows()
    made = toys.states(given)
    made.blocks[3][:] = float("nan")
    with pytest.raises(RunError, match=r"test: the (dev )?loss is nan at step \d+"):
        run(tmp_path, toys.settings(), given, states=made)


def test_what_is_kept(tmp_path: Path) -> None:
    """Layer weights, projection and pooling; no head, no speakers."""
    pooling = {"name": "attentive_correlation", "heads": 2}
    run(tmp_path, toys.settings(model={"pooling": pooling}, loss={"speaker_weight": 1.0}))
    weights = read_weights(tmp_path / training.HEAD)
    assert {name.partition(".")[0] for name in weights} == {"layer_weights", "projector", "pooling"}
    assert weights["layer_weights"].shape == (toys.LAYERS,)
    about = read_about(tmp_path / training.HEAD)
    assert (about.layers, about.width, about.projector_dim, about.pooling) == (toys.LAYERS, toys.WIDTH, 8, pooling)
    assert (about.upstream.name, about.upstream.weights) == ("toy", "0" * 32)
