"""Base class of objectives."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from s3prl_emotion.errors import ConfigError, message_of


class Objective(nn.Module):
    """Base of all objectives: ``forward(logits (batch, classes), labels) -> scalar loss``.

    An objective promises that

    - ``labels`` may be class indices ``(batch,)``; dev and test are always scored by these;
    - where it says ``soft = True``, ``labels`` may also be rates ``(batch, classes)`` that sum to 1, which are the
      annotators' votes of ``labels: soft``, and one-hot rates give what their indices give;
    - the loss is a finite scalar of the logits' dtype and device for finite logits, the mean over the batch, and no
      utterance's share depends on another;
    - its gradient with respect to the logits is finite, and a small step against it lowers the loss;
    - nothing is kept from one batch for the next, and no random number is drawn.

    Keyword arguments of the constructor are its options in YAML; all have a default. A wrong value is a ``ValueError``.
    """

    soft: ClassVar[bool] = False
    """Whether ``forward`` takes rates besides class indices."""


def check_objective(objective: nn.Module, classes: int, soft: bool, where: str) -> None:
    """Try an objective on three utterances, before anything is trained with it.

    Args:
        objective: as its options make it
        classes: of the corpus
        soft: whether it will be given rates
        where: what names it, for messages

    Raises:
        ConfigError: if it fails, or gives anything but one finite number
    """
    parameters = next(iter((*objective.parameters(), *objective.buffers())), torch.zeros(()))
    logits = torch.zeros(3, classes, device=parameters.device)
    indices = torch.arange(3, device=logits.device) % classes
    tried = {f"class indices {tuple(indices.shape)}": indices}
    if soft:
        tried[f"rates {tuple(logits.shape)}"] = torch.full_like(logits, 1 / classes)
    for told, labels in tried.items():
        on = f"{where}: on logits {tuple(logits.shape)} and {told}, as a corpus of {classes} classes gives them"
        try:
            with torch.no_grad():
                loss = objective(logits, labels)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(f"{on}, it fails: {message_of(error)}") from error
        if not isinstance(loss, Tensor) or loss.shape != () or not bool(torch.isfinite(loss)):
            found = f"{loss.dtype} of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            found = str(loss.item()) if isinstance(loss, Tensor) and loss.shape == () else found
            raise ConfigError(f"{on}, it gives {found}, expected one finite number")
