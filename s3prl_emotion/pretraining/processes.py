"""One process, or several that train together: who they are, and sums over all of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_emotion.interruption import asked, receive

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
