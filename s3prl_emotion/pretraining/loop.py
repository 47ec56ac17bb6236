"""The training loop of all recipes: steps of accumulated parts over any number of processes, resumable as the same run.

Every process computes its share of a step's parts; gradients, and the weights that losses are divided by, are summed
over processes. Nothing depends on what was drawn before, so a checkpoint holds weights, optimiser and step alone.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import operator
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic

import torch
from torch import Tensor

from s3prl_emotion.errors import RunError
from s3prl_emotion.interruption import check, deferred
from s3prl_emotion.pretraining.batches import DEV_STEP, generator
from s3prl_emotion.pretraining.settings import Schedule
from s3prl_emotion.pretraining.task import BatchSource, LossSums, P, Task
from s3prl_emotion.pretraining.trainer_state import (
    ProgressBar,
    TrainerState,
    TrainingLog,
    any_asked,
    restore_state,
    save,
    save_state,
    sum_gradients,
    summed,
)

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"


class Loop(Generic[P]):
    """Train the model of a task.

    Args:
        task: with its model on the CPU
        train: parts of every step
        dev: parts whose mean loss chooses the checkpoint
        settings: of the training
        folder: for checkpoints, ``history.jsonl`` and TensorBoard's events
        seed: of the run
        accelerator: from :func:`~s3prl_emotion.pretraining.trainer_state.make_accelerator`
        name: for messages
    """

    def __init__(
        self,
        task: Task[P],
        train: BatchSource[P],
        dev: BatchSource[P],
        settings: Schedule,
        folder: Path,
        seed: int,
        accelerator: Any,
        name: str,
    ) -> None:
        self.settings, self.folder, self.seed, self.name = settings, folder, seed, name
        self.task, self.train_batches, self.dev_batches = task, train, dev
        self.accelerator = accelerator
        if accelerator.num_processes > train.parts:
            raise RunError(
                f"{name}: {accelerator.num_processes} processes for steps of {train.parts} parts: {train.more_parts}"
            )
        self.model = task.model.to(accelerator.device)
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
        self.progress = TrainerState()
        self._heard_s = 0.0

    # --- the whole training ---------------------------------------------------------------------------------------

    def run(self) -> TrainerState:
        """Train to the last step, from the checkpoint where there is one.

        Returns:
            the last step, and the best one on dev, whose weights are in ``best.pt``

        Raises:
            RunError: if the loss is not finite, or a checkpoint cannot be read or written
        """
        self._restore()
        history = TrainingLog(self.folder, self.progress.step, self.accelerator.is_main_process)
        self.model.train()
        with deferred("the step"), self._bar() as bar, history, ThreadPoolExecutor(max_workers=1) as reader:
            waiting: Future[list[P]] | None = None
            while self.progress.step < self.settings.steps:
                step = self.progress.step
                parts = self._read(step) if waiting is None else waiting.result()
                more = step + 1 < self.settings.steps
                waiting = reader.submit(self._read, step + 1) if more else None
                self._step(step, parts, history, bar)
                self.progress.step = step + 1
                stops = any_asked(self.accelerator)
                self._evaluate_and_save(history, stops)
                if stops:
                    check(f"{self.name}: {self.folder} has a checkpoint of step {step + 1} of {self.settings.steps}")
        return self.progress

    def _evaluate_and_save(self, history: TrainingLog, stops: bool) -> None:
        done, last = self.progress.step, self.progress.step == self.settings.steps
        if done % self.settings.eval_every == 0 or last:
            figures = self.evaluate()
            history.write(done, "dev", figures)
            if figures["loss"] < self.progress.best_loss:
                self.progress.best_step, self.progress.best_loss, self.progress.best = done, figures["loss"], figures
                if self.accelerator.is_main_process:
                    save(self.folder / BEST, {"step": done, "model": self.model.state_dict()})
        if (done % self.settings.save_every == 0 or last or stops) and self.accelerator.is_main_process:
            self._save()
        self.accelerator.wait_for_everyone()

    # --- one step -------------------------------------------------------------------------------------------------

    def _mine(self, parts: Sequence[Any]) -> range:
        """The parts of a step that this process computes."""
        return range(self.accelerator.process_index, len(parts), self.accelerator.num_processes)

    def _read(self, step: int) -> list[P]:
        members = self.train_batches.members(step)
        return [self.train_batches.part(step, members[place]) for place in self._mine(members)]

    def _step(self, step: int, parts: Sequence[P], history: TrainingLog, bar: ProgressBar) -> None:
        """Forward, backward and update."""
        settings = self.settings
        device = self.accelerator.device
        logs = (step + 1) % settings.log_every == 0 or step == 0
        counted = [float(sum(values)) for values in zip(*map(self.task.weights, parts), strict=True)]
        weights = summed(self.accelerator, torch.tensor(counted, device=device)).clamp(min=1.0)
        totals = torch.zeros(self.task.sums, dtype=torch.float64, device=device)
        mine = list(self._mine(range(self.train_batches.parts)))
        for place, part in zip(mine, parts, strict=True):
            with self._seeded(step, place), self.accelerator.autocast():
                found = self.task.measure(part, self._on_device(part), logs)
            shares = [loss / weight for loss, weight in zip(found.losses, weights, strict=True)]
            scaled = functools.reduce(operator.add, shares)
            (scaled if self.scaler is None else self.scaler.scale(scaled)).backward()
            totals += self._sums(found)
        totals = summed(self.accelerator, totals.float() if device.type == "mps" else totals)
        sum_gradients(self.accelerator, self.parameters)
        figures = self.task.figures(totals.tolist())
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
        self._heard_s += self.task.frames(totals.tolist()) * self.train_batches.seconds_per_frame
        if logs:
            history.write(step + 1, "train", {**figures, "lr": rate, "gradient_norm": float(norm)})
        bar.show(step + 1, self._heard_s, figures[self.task.shown])

    def _sums(self, found: LossSums) -> Tensor:
        device = self.accelerator.device
        return torch.stack([torch.as_tensor(value, dtype=torch.float64, device=device) for value in found.sums])

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
        """Loss and other figures over all dev parts, which are the same at every call."""
        self.model.eval()
        parts = list(self.dev_batches.dev_parts())
        totals = torch.zeros(self.task.sums, dtype=torch.float64, device=self.accelerator.device)
        for place in self._mine(parts):
            part = self.dev_batches.part(DEV_STEP, parts[place])
            with self.accelerator.autocast():
                found = self.task.measure(part, self._on_device(part), True)
            totals += self._sums(found)
        figures = self.task.figures(summed(self.accelerator, totals).tolist())
        self.model.train()
        if not math.isfinite(figures["loss"]):
            raise self._not_finite(self.progress.step - 1, f"the dev loss is {figures['loss']}")
        return figures

    def _on_device(self, part: P) -> tuple[Tensor, ...]:
        return tuple(item.to(self.accelerator.device, non_blocking=True) for item in part.tensors)

    @contextlib.contextmanager
    def _seeded(self, step: int, place: int) -> Iterator[None]:
        """Dropout and layer-drop of a part follow from seed, step and part alone."""
        device = self.accelerator.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(generator(self.seed, "dropout", step, place).integers(2**62)))
            yield

    # --- checkpoints ----------------------------------------------------------------------------------------------

    def _save(self) -> None:
        save_state(self.folder / CHECKPOINT, self.progress, self.model, self.optimiser, self.scaler)

    def _restore(self) -> None:
        self.progress = restore_state(self.folder / CHECKPOINT, self.model, self.optimiser, self.scaler)
        if self.progress.step:
            logger.info("%s: going on after step %d of %d", self.name, self.progress.step, self.settings.steps)

    def _bar(self) -> ProgressBar:
        return ProgressBar(self.name, self.progress.step, self.settings.steps, self.accelerator.is_main_process)


def forget_checkpoints(folder: Path) -> None:
    """Remove what a training goes on from; called when its stage is finished."""
    for name in (CHECKPOINT, BEST):
        (folder / name).unlink(missing_ok=True)
