"""Speech and text in one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s3prl_emotion.text.settings import TextConfig


class Fusion(nn.Module):
    r"""Pooled speech and text, each after dropout, side by side: :math:`[d(s); d(t)]`. Nothing here is learned.

    Source: arXiv 2312.11503 (dropout 0.1 each, concatenation).

    Args:
        config: the dropouts, and whether there is speech at all
        speech_size: width of the pooled speech
        text_size: width of the text vector
    """

    def __init__(self, config: TextConfig, speech_size: int, text_size: int) -> None:
        super().__init__()
        self.has_speech = config.speech
        self.output_size = text_size + (speech_size if config.speech else 0)
        self.speech_dropout = nn.Dropout(config.speech_dropout)
        self.text_dropout = nn.Dropout(config.dropout)

    def forward(self, speech: Tensor | None, text: Tensor) -> Tensor:
        """``(batch, speech_size)``, None where there is no speech, and ``(batch, text_size)`` to ``(batch, size)``."""
        said: Tensor = self.text_dropout(text)
        return said if speech is None else torch.cat([self.speech_dropout(speech), said.to(speech.dtype)], dim=-1)
