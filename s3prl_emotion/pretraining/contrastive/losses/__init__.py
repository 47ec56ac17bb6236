"""Contrastive losses of pytorch-metric-learning, given the pairs that are meant, as sums.

One public file per loss; its name in a configuration is the name it registers under.
"""

from __future__ import annotations

from s3prl_emotion.pretraining.contrastive.losses._base import Contrast
from s3prl_emotion.registry import Registry

__all__ = ["Contrast", "contrasts"]

contrasts: Registry[type[Contrast]] = Registry("contrastive loss", "s3prl_emotion.pretraining.contrastive.losses")
