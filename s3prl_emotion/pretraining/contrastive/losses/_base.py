"""Base class of contrastive losses."""

from __future__ import annotations

import abc
import math
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_emotion.errors import RunError
from s3prl_emotion.pretraining.contrastive.sampler import Pairs


def library(part: str) -> Any:
    """A module of pytorch-metric-learning.

    Raises:
        RunError: if it is not installed
    """
    import importlib

    try:
        return importlib.import_module(f"pytorch_metric_learning.{part}")
    except ImportError as error:
        raise RunError(
            f"contrastive pretraining needs a package that is not installed ({error}): "
            "pip install pytorch-metric-learning"
        ) from error


class Contrast(nn.Module, abc.ABC):
    """A loss of pytorch-metric-learning on the cosine of embeddings, summed over what it counts.

    The sum is divided by :meth:`count`, which pairs alone decide, so that parts of a step and processes add up. Keyword
    arguments of the constructor are options in YAML; a wrong value is a ``ValueError``.
    """

    loss: Any
    """The library's, with its reducer that sums."""

    @abc.abstractmethod
    def count(self, pairs: Pairs) -> int:
        """How many terms the sum has."""

    def forward(self, embeddings: Tensor, pairs: Pairs) -> Tensor:
        """Embeddings ``(batch, width)``, of any length, to the sum of the loss over its terms, in float32 at least."""
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
            if not self.count(pairs):
                return embeddings.sum() * 0.0
            found: Tensor = self.loss(embeddings, indices_tuple=tuple(pairs))
            return found


def check_above_zero(name: str, value: Any) -> float:
    """Return ``value`` if it is a finite number above zero.

    Raises:
        ValueError: if it is not
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}")
    return float(value)
