"""Features whose time mean is zero, of which mean pooling sees nothing."""

from __future__ import annotations

import logging

import torch

from s3prl_emotion.features.ragged import RaggedBatch

logger = logging.getLogger(__name__)

ZERO_MEAN = 1e-3
"""Time means below this, in standard deviations, count as zero."""


@torch.no_grad()
def warn_of_zero_means(packed: RaggedBatch) -> None:
    """Say so when mean pooling is fed features whose time mean is zero: its accuracy is then chance."""
    if max(packed.lengths) == 1:  # stored time means: their scale is that of rounding, if they are zero
        largest = float(packed.flat.abs().max())
        is_zero = largest < ZERO_MEAN
    else:
        largest = max(float(item.mean(dim=0).abs().max()) for item in packed)
        is_zero = largest < ZERO_MEAN * float(packed.flat.std())
    if is_zero:
        logger.warning(
            "this upstream normalises each utterance to zero mean over time, so mean pooling sees nothing: "
            "expect accuracy at chance. Use another pooling (emotion_mean_std, emotion_corr, emotion_attn_corr) "
            "or an upstream without that normalisation (fbank_no_cmvn)"
        )
