"""State of a training: checkpoints, log and processes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from s3prl_emotion.errors import RunError
from s3prl_emotion.features.extraction import human
from s3prl_emotion.files import UNREADABLE, alike, replacing, write_atomically
from s3prl_emotion.interruption import asked, receive


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values to a new file, then put it in the place of ``path``.

    Raises:
        RunError: if the disk is full or cannot be written; the old file is then untouched
    """
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save(alike(content), file)
    except (OSError, RuntimeError) as error:
        free = shutil.disk_usage(path.parent).free
        kept = "the one before is whole" if path.is_file() else "there is none before it"
        raise RunError(
            f"{path}: the checkpoint cannot be written ({str(error).splitlines()[0]}; "
            f"{human(free)} free there); {kept}. Make room, then repeat the command: it goes on from there"
        ) from error


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU, without executing anything that it holds.

    Raises:
        RunError: if it cannot be read
    """
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except UNREADABLE as error:
        raise RunError(
            f"{path}: not a readable checkpoint ({type(error).__name__}: {str(error).split('. ')[0]}). Remove it to "
            "train that stage again"
        ) from error


logger = logging.getLogger(__name__)

HISTORY = "history.jsonl"


class ProgressBar:
    """Steps, audio seconds per second and the time left; in a log file a line now and then."""

    def __init__(self, name: str, done: int, steps: int, is_main: bool) -> None:
        terminal = sys.stderr.isatty()
        interval = 0.5 if terminal else 30.0
        self._bar = tqdm(
            total=steps, initial=done, desc=name, unit="step", mininterval=interval, leave=terminal, disable=not is_main
        )
        self._start = time.monotonic()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.close()

    def show(self, step: int, heard_s: float, loss: float) -> None:
        """Draw it at a step."""
        speed = heard_s / max(time.monotonic() - self._start, 1e-9)
        self._bar.set_postfix({"audio": f"{speed:.0f} s/s", "loss": f"{loss:.3f}"}, refresh=False)
        self._bar.update(step - self._bar.n)


class TrainingLog:
    """``history.jsonl`` and TensorBoard's events; what was written after the checkpoint is taken back."""

    def __init__(self, folder: Path, step: int, is_main: bool) -> None:
        self.path = folder / HISTORY
        self._writer: Any = None
        self._is_main = is_main
        if not is_main:
            return
        from tensorboardX import SummaryWriter

        kept = []
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError, KeyError):  # torn by a kill
                    if json.loads(line)["step"] <= step:
                        kept.append(line + "\n")
        write_atomically(self.path, "".join(kept))
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._writer is not None:
            try:
                self._writer.close()
            except OSError as error:
                logger.warning("%s: TensorBoard's events are incomplete: %s", self.path.parent, error)

    def write(self, step: int, split: str, figures: Mapping[str, float]) -> None:
        """Add the figures of a step.

        Raises:
            RunError: if the disk is full or cannot be written
        """
        if not self._is_main:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "split": split, **figures}) + "\n")
            for key, value in figures.items():
                self._writer.add_scalar(f"{split}/{key}", value, global_step=step)
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot be written ({error}). Make room, then repeat the command: it goes on from the "
                "last checkpoint"
            ) from error


_TIMEOUT = timedelta(hours=12)  # other processes wait while one clusters


def make_accelerator(precision: str, device: str | None) -> Any:
    """accelerate's ``Accelerator``: one process, or those that ``accelerate launch`` or ``torchrun`` started.

    Args:
        precision: ``no``, ``bf16`` or ``fp16``; a CPU computes in float32
        device: ``cpu``, or None for the GPU where there is one
    """
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    on_cpu = device == "cpu" or not torch.cuda.is_available()
    if device is not None and device.startswith("cuda:"):
        torch.cuda.set_device(device)
    return Accelerator(
        mixed_precision="no" if on_cpu else precision,
        cpu=on_cpu,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_TIMEOUT)],
    )


def processes() -> int:
    """How many processes were started together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def summed(accelerator: Any, values: Tensor) -> Tensor:
    """The sum over processes."""
    return values if accelerator.num_processes == 1 else accelerator.reduce(values, reduction="sum")


def any_asked(accelerator: Any) -> bool:
    """Whether a signal asks any of the processes to end: all of them end after the same step."""
    if accelerator.num_processes == 1:
        return asked() is not None
    number = float(summed(accelerator, torch.tensor(float(asked() or 0), device=accelerator.device)))
    if number and asked() is None:
        receive(signal.SIGTERM)  # from another process: this one ends too
    return number > 0


def sum_gradients(accelerator: Any, parameters: Sequence[nn.Parameter]) -> None:
    """Sum gradients over processes; a parameter that a dropped layer left without one counts as zero."""
    if accelerator.num_processes == 1:
        return
    flat = torch.cat([(torch.zeros_like(item) if item.grad is None else item.grad).flatten() for item in parameters])
    flat = accelerator.reduce(flat, reduction="sum")
    start = 0
    for item in parameters:
        item.grad = flat[start : start + item.numel()].view_as(item).clone()
        start += item.numel()


@dataclass
class TrainerState:
    """What a checkpoint holds beside weights and optimiser."""

    step: int = 0  # steps done
    best_step: int = -1
    best_loss: float = math.inf
    best: dict[str, float] = field(default_factory=dict)  # dev figures of the best step


def save_state(
    path: Path, progress: TrainerState, model: nn.Module, optimiser: torch.optim.Optimizer, scaler: Any
) -> None:
    """Write a checkpoint, see :func:`~s3prl_emotion.pretraining.trainer_state.save`."""
    content = {
        "progress": dataclasses.asdict(progress),
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "scaler": None if scaler is None else scaler.state_dict(),
    }
    save(path, content)


def restore_state(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, scaler: Any) -> TrainerState:
    """Put back what :func:`save_state` wrote; where there is nothing, a training begins.

    Raises:
        RunError: if it cannot be read, or is of another training
    """
    if not path.is_file():
        return TrainerState()
    content = load(path)
    try:
        model.load_state_dict(content["model"])
        optimiser.load_state_dict(content["optimiser"])
        if scaler is not None and content["scaler"] is not None:
            scaler.load_state_dict(content["scaler"])
        return TrainerState(**content["progress"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(
            f"{path}: does not fit this training ({str(error).splitlines()[0]}). Remove {path.parent}"
        ) from error
