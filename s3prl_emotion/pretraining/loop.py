"""The training loop: steps of accumulated parts over any number of processes, resumable as the same run.

Every process computes its share of a step's parts; gradients, and the number of masked frames that they are divided by,
are summed over processes. Nothing depends on what was drawn before, so a checkpoint holds weights,
optimiser and step alone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from s3prl_emotion.errors import RunError
from s3prl_emotion.files import write_atomically
from s3prl_emotion.pretraining.batches import DEV_STEP, Batches, Part, generator
from s3prl_emotion.pretraining.checkpoints import load, save
from s3prl_emotion.pretraining.objective import MaskedPrediction
from s3prl_emotion.pretraining.settings import Training

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
HISTORY = "history.jsonl"
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


@dataclass
class Sums:
    """Figures summed over parts and processes."""

    cross_entropy: float = 0.0
    penalty: float = 0.0  # times masked frames
    masked: float = 0.0
    correct: float = 0.0
    unmasked: float = 0.0
    unmasked_correct: float = 0.0
    frames: float = 0.0

    def rates(self, penalty_weight: float) -> dict[str, float]:
        """Loss, its cross-entropy, and accuracies where they were counted."""
        masked = max(self.masked, 1.0)
        found = {
            "loss": (self.cross_entropy + penalty_weight * self.penalty) / masked,
            "cross_entropy": self.cross_entropy / masked,
            "masked_accuracy": self.correct / masked,
        }
        if self.unmasked:
            found["unmasked_accuracy"] = self.unmasked_correct / self.unmasked
        return found


@dataclass
class Progress:
    """Where a training is; what a checkpoint holds beside weights and optimiser."""

    step: int = 0  # steps done
    best_step: int = -1
    best_loss: float = math.inf
    best: dict[str, float] = field(default_factory=dict)  # dev figures of the best step


class Loop:
    """Train a model by masked prediction.

    Args:
        model: on the CPU
        train: parts of every step
        dev: parts whose mean loss chooses the checkpoint
        settings: of the training
        folder: for checkpoints, ``history.jsonl`` and TensorBoard's events
        seed: of the run
        accelerator: from :func:`make_accelerator`
        name: for messages
    """

    def __init__(
        self,
        model: MaskedPrediction,
        train: Batches,
        dev: Batches,
        settings: Training,
        folder: Path,
        seed: int,
        accelerator: Any,
        name: str,
    ) -> None:
        self.settings, self.folder, self.seed, self.name = settings, folder, seed, name
        self.train_batches, self.dev_batches = train, dev
        self.accelerator = accelerator
        if accelerator.num_processes > train.batch.parts:
            raise RunError(
                f"{name}: {accelerator.num_processes} processes for steps of {train.batch.parts} parts: raise "
                "batch.seconds, or lower batch.part_seconds, until there is a part for each"
            )
        self.model = model.to(accelerator.device)
        self.parameters = [item for item in self.model.parameters() if item.requires_grad]
        given = settings.optimiser
        self.optimiser = torch.optim.AdamW(
            self.parameters,
            lr=given.lr,
            betas=(given.beta1, given.beta2),
            eps=given.eps,
            weight_decay=given.weight_decay,
        )
        self.scaler = accelerator.scaler
        self.progress = Progress()
        self._heard_s = 0.0
        self._shown = False

    # --- the whole training ---------------------------------------------------------------------------------------

    def run(self) -> Progress:
        """Train to the last step, from the checkpoint where there is one.

        Returns:
            the last step, and the best one on dev, whose weights are in ``best.pt``

        Raises:
            RunError: if the loss is not finite, or a checkpoint cannot be read or written
        """
        self._restore()
        history = _History(self.folder, self.progress.step, self.accelerator.is_main_process)
        self.model.train()
        with self._bar() as bar, history, ThreadPoolExecutor(max_workers=1) as reader:
            waiting: Future[list[Part]] | None = None
            while self.progress.step < self.settings.steps:
                step = self.progress.step
                parts = self._read(step) if waiting is None else waiting.result()
                more = step + 1 < self.settings.steps
                waiting = reader.submit(self._read, step + 1) if more else None
                self._step(step, parts, history, bar)
                self.progress.step = step + 1
                self._evaluate_and_save(history)
        return self.progress

    def _evaluate_and_save(self, history: _History) -> None:
        done, last = self.progress.step, self.progress.step == self.settings.steps
        if done % self.settings.eval_every == 0 or last:
            figures = self.evaluate()
            history.write(done, "dev", figures)
            if figures["loss"] < self.progress.best_loss:
                self.progress.best_step, self.progress.best_loss, self.progress.best = done, figures["loss"], figures
                if self.accelerator.is_main_process:
                    save(self.folder / BEST, {"step": done, "model": self.model.state_dict()})
        if (done % self.settings.save_every == 0 or last) and self.accelerator.is_main_process:
            self._save()
        self.accelerator.wait_for_everyone()

    # --- one step -------------------------------------------------------------------------------------------------

    def _mine(self, parts: Sequence[Any]) -> range:
        """The parts of a step that this process computes."""
        return range(self.accelerator.process_index, len(parts), self.accelerator.num_processes)

    def _read(self, step: int) -> list[Part]:
        members = self.train_batches.members(step)
        return [self.train_batches.part(step, members[place]) for place in self._mine(members)]

    def _step(self, step: int, parts: Sequence[Part], history: _History, bar: Any) -> None:
        """Forward, backward and update."""
        settings = self.settings
        device = self.accelerator.device
        logs = (step + 1) % settings.log_every == 0 or step == 0
        counted = float(sum(int(part.mask.sum()) for part in parts))
        masked = self._sum(torch.tensor([counted], device=device))[0].clamp(min=1.0)
        totals = torch.zeros(7, dtype=torch.float64, device=device)
        mine = list(self._mine(range(self.train_batches.batch.parts)))
        for place, part in zip(mine, parts, strict=True):
            with self._seeded(step, place), self.accelerator.autocast():
                found = self.model(*self._on_device(part), unmasked=logs)
                count = int(part.mask.sum())
                loss = found.cross_entropy + settings.penalty * found.penalty * count
            scaled = loss / masked
            (scaled if self.scaler is None else self.scaler.scale(scaled)).backward()
            totals += self._figures(found, part)
        totals = self._sum(totals.float() if device.type == "mps" else totals)
        self._sum_gradients()
        sums = Sums(*totals.tolist())
        figures = sums.rates(settings.penalty)
        if not math.isfinite(figures["loss"]):
            raise self._not_finite(step, f"the loss is {figures['loss']}")
        rate = settings.rate(step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if self.scaler is not None:
            self.scaler.unscale_(self.optimiser)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, settings.optimiser.clip)
        if self.scaler is not None:
            self.scaler.step(self.optimiser)
            self.scaler.update()
        else:
            if not bool(torch.isfinite(norm)):
                raise self._not_finite(step, f"the gradient norm is {float(norm)}")
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self._heard_s += sums.frames * self.train_batches.framing.hop / 16000
        if logs:
            history.write(step + 1, "train", {**figures, "lr": rate, "gradient_norm": float(norm)})
        bar.show(step + 1, self._heard_s, figures)

    def _figures(self, found: Any, part: Part) -> Tensor:
        frames, count = int(part.lengths.sum()), int(part.mask.sum())
        others = found.unmasked_correct
        values = [found.cross_entropy.detach(), found.penalty.detach() * count, count, found.correct]
        values += [frames - count, others, frames] if others is not None else [0, 0, frames]
        return torch.stack(
            [torch.as_tensor(value, dtype=torch.float64, device=self.accelerator.device) for value in values]
        )

    def _not_finite(self, step: int, what: str) -> RunError:
        kept = self.folder / CHECKPOINT
        state = f"{kept} holds an earlier step" if kept.is_file() else "no checkpoint was written yet"
        return RunError(
            f"{self.name}: {what} at step {step + 1}, learning rate {self.settings.rate(step):g}: the training "
            f"diverges. Nothing was updated with it; {state}. Lower the rate (-o "
            f"...training.optimiser.lr={self.settings.optimiser.lr / 10:g}) and remove {self.folder}, so that the "
            "stage begins anew"
        )

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Loss and accuracies over all dev clips, with crops and masks that are the same at every call."""
        self.model.eval()
        parts = list(self.dev_batches.dev_parts())
        totals = torch.zeros(7, dtype=torch.float64, device=self.accelerator.device)
        for place in self._mine(parts):
            part = self.dev_batches.part(DEV_STEP, parts[place])
            with self.accelerator.autocast():
                found = self.model(*self._on_device(part), unmasked=True)
            totals += self._figures(found, part)
        figures = Sums(*self._sum(totals).tolist()).rates(self.settings.penalty)
        self.model.train()
        if not math.isfinite(figures["loss"]):
            raise self._not_finite(self.progress.step - 1, f"the dev loss is {figures['loss']}")
        return figures

    def _on_device(self, part: Part) -> tuple[Tensor, ...]:
        device = self.accelerator.device
        moved = (part.waveforms, part.lengths, part.labels, part.mask)
        return tuple(item.to(device, non_blocking=True) for item in moved)

    # --- processes ------------------------------------------------------------------------------------------------

    def _sum(self, values: Tensor) -> Tensor:
        return values if self.accelerator.num_processes == 1 else self.accelerator.reduce(values, reduction="sum")

    def _sum_gradients(self) -> None:
        """Sum gradients over processes; a parameter that a dropped layer left without one counts as zero."""
        if self.accelerator.num_processes == 1:
            return
        flat = torch.cat(
            [(torch.zeros_like(item) if item.grad is None else item.grad).flatten() for item in self.parameters]
        )
        flat = self.accelerator.reduce(flat, reduction="sum")
        start = 0
        for item in self.parameters:
            item.grad = flat[start : start + item.numel()].view_as(item).clone()
            start += item.numel()

    @contextlib.contextmanager
    def _seeded(self, step: int, place: int) -> Iterator[None]:
        """Dropout and layer-drop of a part follow from seed, step and part alone."""
        device = self.accelerator.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(generator(self.seed, "dropout", step, place).integers(2**62)))
            yield

    # --- checkpoints ----------------------------------------------------------------------------------------------

    def _save(self) -> None:
        content = {
            "progress": {
                "step": self.progress.step,
                "best_step": self.progress.best_step,
                "best_loss": self.progress.best_loss,
                "best": dict(self.progress.best),
            },
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
        }
        save(self.folder / CHECKPOINT, content)

    def _restore(self) -> None:
        path = self.folder / CHECKPOINT
        if not path.is_file():
            return
        content = load(path)
        try:
            self.model.load_state_dict(content["model"])
            self.optimiser.load_state_dict(content["optimiser"])
            self.progress = Progress(**content["progress"])
            if self.scaler is not None and content["scaler"] is not None:
                self.scaler.load_state_dict(content["scaler"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RunError(
                f"{path}: does not fit this training ({str(error).splitlines()[0]}). Remove {self.folder}"
            ) from error
        logger.info("%s: going on after step %d of %d", self.name, self.progress.step, self.settings.steps)

    def _bar(self) -> _Bar:
        return _Bar(self.name, self.progress.step, self.settings.steps, self.accelerator.is_main_process)


class _Bar:
    """Steps, audio seconds per second and the time left; in a log file a line now and then."""

    def __init__(self, name: str, done: int, steps: int, is_main: bool) -> None:
        terminal = sys.stderr.isatty()
        interval = 0.5 if terminal else 30.0
        self._bar = tqdm(
            total=steps, initial=done, desc=name, unit="step", mininterval=interval, leave=terminal, disable=not is_main
        )
        self._start = time.monotonic()

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.close()

    def show(self, step: int, heard_s: float, figures: Mapping[str, float]) -> None:
        speed = heard_s / max(time.monotonic() - self._start, 1e-9)
        told = {"audio": f"{speed:.0f} s/s", "loss": f"{figures['cross_entropy']:.3f}"}
        self._bar.set_postfix(told, refresh=False)
        self._bar.update(step - self._bar.n)


class _History:
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

    def __enter__(self) -> _History:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._writer is not None:
            try:
                self._writer.close()
            except OSError as error:
                logger.warning("%s: TensorBoard's events are incomplete: %s", self.path.parent, error)

    def write(self, step: int, split: str, figures: Mapping[str, float]) -> None:
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
