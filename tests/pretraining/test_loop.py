"""The loop: a resumed run is the uninterrupted one, two processes are one, divergence and full disks are errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from s3prl_emotion.errors import RunError
from s3prl_emotion.interruption import Interruption, handled
from s3prl_emotion.pretraining import trainer_state
from s3prl_emotion.pretraining.batches import Batches, Clip, ClipCrop
from s3prl_emotion.pretraining.frames import Framing
from s3prl_emotion.pretraining.loop import BEST, CHECKPOINT, Loop
from s3prl_emotion.pretraining.masked import MaskedTask
from s3prl_emotion.pretraining.objective import MaskedPrediction
from s3prl_emotion.pretraining.settings import BatchSettings, MaskedPredictionConfig, OptimiserSettings
from s3prl_emotion.pretraining.trainer_state import HISTORY, TrainerState, make_accelerator
from tests.pretraining.models import noise_clips, small_hubert

ROOT = Path(__file__).parents[2]


def training(**changes: object) -> MaskedPredictionConfig:
    given: dict[str, object] = {
        "steps": 8,
        "optimiser": OptimiserSettings(lr=2e-3, warmup_steps=2),
        "batch": BatchSettings(seconds=8.0, part_seconds=2.0, min_s=0.5, max_s=1.0, crop="none"),
        "projection": 8,
        "layerdrop": 0.3,
        "eval_every": 4,
        "save_every": 2,
        "log_every": 1,
    }
    return MaskedPredictionConfig(**{**given, **changes})  # type: ignore[arg-type]


def loop(
    folder: Path, settings: MaskedPredictionConfig, clips: list[Clip] | None = None, classes: int = 5
) -> Loop[ClipCrop]:
    clips = clips or noise_clips(np.random.default_rng(1).integers(9000, 18000, size=14).tolist())
    model = MaskedPrediction(
        small_hubert(layerdrop=settings.layerdrop, hidden_dropout=0.1),
        classes,
        settings.projection,
        settings.temperature,
        settings.freeze_convolutions,
        torch.Generator().manual_seed(0),
    )
    train, dev = (Batches(part, settings.batch, settings.mask, Framing(), 7) for part in (clips[:11], clips[11:]))
    return Loop(
        MaskedTask(model, settings.penalty), train, dev, settings, folder, 7, make_accelerator("no", "cpu"), "test"
    )


def history(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / HISTORY).read_text().splitlines()]


class _Killed(Exception):
    pass


def _interrupted(one: Loop[ClipCrop], step: int) -> None:
    """Run until a step begins, as if the process were killed there."""
    original = one._step

    def stop(now: int, *rest: object) -> None:
        if now == step:
            raise _Killed
        original(now, *rest)  # type: ignore[arg-type]

    one._step = stop  # type: ignore[method-assign]
    with pytest.raises(_Killed):
        one.run()


@pytest.mark.parametrize("step", [1, 3, 6])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path, step: int) -> None:
    """Bit by bit: weights, best dev loss, and every line of the history; global random state does not matter."""
    whole = loop(tmp_path / "whole", training())
    ended = whole.run()
    _interrupted(loop(tmp_path / "parts", training()), step)
    torch.manual_seed(99)
    np.random.seed(99)
    again = loop(tmp_path / "parts", training())
    progress = again.run()
    assert progress == ended
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    assert history(tmp_path / "parts") == history(tmp_path / "whole")
    first, second = (trainer_state.load(tmp_path / name / BEST) for name in ("whole", "parts"))
    assert all(torch.equal(first["model"][key], second["model"][key]) for key in first["model"])


@pytest.mark.parametrize("step", [2, 5, 7])
def test_a_signal_leaves_a_checkpoint_of_its_step(tmp_path: Path, step: int) -> None:
    ended = loop(tmp_path / "whole", training()).run()
    one = loop(tmp_path / "parts", training())
    original = one._step

    def signalled(now: int, *rest: object) -> None:
        if now == step:
            os.kill(os.getpid(), signal.SIGTERM)
        original(now, *rest)  # type: ignore[arg-type]

    one._step = signalled  # type: ignore[method-assign]
    with handled(), pytest.raises(Interruption, match=f"has a checkpoint of step {step + 1} of 8"):
        one.run()
    assert trainer_state.load(tmp_path / "parts" / CHECKPOINT)["progress"]["step"] == step + 1
    again = loop(tmp_path / "parts", training())
    assert again.run() == ended
    assert history(tmp_path / "parts") == history(tmp_path / "whole")
    for name in (CHECKPOINT, BEST):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_dropout_and_layer_drop_are_on(tmp_path: Path) -> None:
    """Otherwise the test above could not fail on them."""
    one = loop(tmp_path, training())
    part = one._read(0)[0]
    one.model.train()
    losses = set()
    for place in range(4):
        with one._seeded(0, place):
            losses.add(one.model(*one._on_device(part)).cross_entropy.item())
    assert len(losses) == 4


def test_it_learns_what_can_be_learned(tmp_path: Path) -> None:
    """Each clip repeats one pattern, its label: what is under the mask follows from what is beside it."""
    clips = []
    for number in range(16):
        waveform = np.resize(np.random.default_rng(number % 4).standard_normal(320), 16080).astype(np.float32)
        labels = np.full(Framing().frames(16080), number % 4, dtype=np.int32)
        clips.append(Clip(str(number), len(waveform), labels, lambda waveform=waveform: waveform))  # type: ignore[misc]
    settings = training(
        steps=60,
        optimiser=OptimiserSettings(lr=5e-3, warmup_steps=10),
        layerdrop=0.0,
        freeze_convolutions=False,
        penalty=0.0,
        eval_every=60,
        save_every=60,
        log_every=60,
    )
    progress = loop(tmp_path, settings, clips, classes=4).run()
    assert progress.best["masked_accuracy"] > 0.9, progress.best


def test_the_rate_rises_and_falls() -> None:
    settings = training(steps=10, optimiser=OptimiserSettings(lr=1.0, warmup_steps=4))
    rates = [settings.rate(step) for step in range(10)]
    np.testing.assert_allclose(rates, [0.25, 0.5, 0.75, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])


def test_a_diverging_training_is_one_clear_error(tmp_path: Path) -> None:
    clips = noise_clips([16000] * 14)
    clips[3] = Clip("nan", 16000, clips[3].labels, lambda: np.full(16000, np.nan, np.float32))
    with pytest.raises(RunError, match=r"test: the loss is nan at step \d+, learning rate .*: the training diverges"):
        loop(tmp_path, training(), clips).run()
    wild = training(optimiser=OptimiserSettings(lr=1e30, warmup_steps=0, clip=1e30), steps=30)
    with pytest.raises(
        RunError, match=r"at step \d+, learning rate 9.*e\+29: the training diverges.*optimiser.lr=1e\+29"
    ):
        loop(tmp_path / "wild", wild).run()


def test_a_disk_that_fills_up_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = loop(tmp_path, training())
    _interrupted(one, 5)
    before = (tmp_path / CHECKPOINT).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(trainer_state.torch, "save", full)
        with pytest.raises(RunError, match=r"cannot be written \(.*No space left.*the one before is whole. Make room"):
            loop(tmp_path, training()).run()
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert not list(tmp_path.glob(".*.tmp"))
    assert loop(tmp_path, training()).run().step == 8


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(RunError, match=r"checkpoint.pt: not a readable checkpoint"):
        loop(tmp_path, training()).run()
    torch.save({"model": {}, "optimiser": {}, "progress": {}}, tmp_path / CHECKPOINT)
    with pytest.raises(RunError, match=r"checkpoint.pt: does not fit this training"):
        loop(tmp_path, training()).run()


def test_more_processes_than_parts(tmp_path: Path) -> None:
    class Many:
        num_processes, device = 5, torch.device("cpu")

    one = loop(tmp_path, training())
    with pytest.raises(RunError, match="5 processes for steps of 4 parts"):
        Loop(one.task, one.train_batches, one.dev_batches, training(), tmp_path, 7, Many(), "test")


def train_here(folder: str) -> None:
    """One process of several: see below."""
    loop(Path(folder), training(log_every=1)).run()


@pytest.mark.slow
def test_two_processes_give_the_loss_curve_of_one(tmp_path: Path) -> None:
    loop(tmp_path / "one", training()).run()
    code = f"from tests.pretraining.test_loop import train_here; train_here({str(tmp_path / 'two')!r})"
    (tmp_path / "job.py").write_text(code)
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(tmp_path / "job.py"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, *launch], check=True, env=environment, timeout=500)
    one, two = history(tmp_path / "one"), history(tmp_path / "two")
    assert [(item["step"], item["split"]) for item in one] == [(item["step"], item["split"]) for item in two]
    for mine, theirs in zip(one, two, strict=True):
        for key in ("loss", "cross_entropy", "masked_accuracy", "unmasked_accuracy"):
            assert mine[key] == pytest.approx(theirs[key], rel=2e-4), (mine["step"], key)
    best = [trainer_state.load(tmp_path / name / BEST)["model"] for name in ("one", "two")]
    for name, value in best[0].items():
        torch.testing.assert_close(best[1][name], value, rtol=2e-3, atol=2e-5)


def test_progress_is_plain(tmp_path: Path) -> None:
    one = loop(tmp_path, training(steps=3, save_every=3))
    assert isinstance(one.run(), TrainerState)
    assert not list(tmp_path.glob(".*"))
    assert any(path.name.startswith("events.out.tfevents") for path in tmp_path.iterdir())
