"""What a training tells: ``history.jsonl``, TensorBoard's events, and a progress bar."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from s3prl_emotion.errors import RunError
from s3prl_emotion.files import write_atomically

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
