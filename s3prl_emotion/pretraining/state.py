"""Where a training is, and the checkpoint that it goes on from."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from s3prl_emotion.errors import RunError
from s3prl_emotion.pretraining.checkpoints import load, save


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
    """Write a checkpoint, see :func:`~s3prl_emotion.pretraining.checkpoints.save`."""
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
