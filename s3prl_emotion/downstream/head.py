"""The head: projector, pooling, text fusion and classifier."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from s3prl_emotion.downstream.config import ModelConfig
from s3prl_emotion.features.ragged import RaggedBatch, pad
from s3prl_emotion.pooling import Pooling, poolings
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


GROUPS = 4
GROUP_SIZE = 8
"""A batch is pooled in up to 4 groups, of at least 8 utterances of similar length."""


class Trunk(nn.Module):
    """Projector -> dropout -> pooling.

    Args:
        input_size: width of the upstream's features
        config: widths and pooling
    """

    def __init__(self, input_size: int, config: ModelConfig) -> None:
        super().__init__()
        width = config.projector_dim or input_size
        self.projector = nn.Linear(input_size, width) if config.projector_dim else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        options = dict(config.pooling)
        self.pooling: Pooling = poolings.build(options.pop("name"), options, where="pooling", input_size=width)

    def pooled(self, features: RaggedBatch) -> Tensor:
        """Features of a batch, each ``(frames_i, input_size)``, to vectors ``(batch, pooling.output_size)``.

        Frames are projected without padding, then pooled in groups of similar length, so that little padding is pooled.
        Poolings do not mix utterances, so no result changes; those that see padding (``variant: released``) get the
        whole batch, padded first as S3PRL does, so that padding holds the projector's bias. Poolings that normalise
        over a batch get it whole in training.
        """
        if not self.pooling.masks_padding:
            x, lengths = pad(features)
            whole: Tensor = self.pooling(self.dropout(self.projector(x)), lengths)
            return whole
        frames = self.dropout(self.projector(features.flat)).split(features.lengths)
        order = sorted(range(len(frames)), key=lambda index: features.lengths[index])
        size = max(GROUP_SIZE, -(-len(order) // GROUPS))
        if self.training and self.pooling.mixes_batch:
            size = len(order)
        groups = [order[start : start + size] for start in range(0, len(order), size)]
        pooled = [self.pooling(*pad([frames[index] for index in group])) for group in groups]
        places = torch.tensor(sorted(range(len(order)), key=order.__getitem__), device=pooled[0].device)
        return torch.cat(pooled).index_select(0, places)

    @torch.no_grad()
    def frame_weights(self, features: RaggedBatch) -> Tensor:
        """The weight of every frame in the pooled vector, ``(batch, frames)``, rows summing to 1, zero on padding."""
        x, lengths = pad(features)
        return self.pooling.frame_weights(self.dropout(self.projector(x)), lengths)


class Head(Trunk):
    """Projector -> dropout -> pooling -> linear classifier.

    Args:
        input_size: width of the upstream's features
        classes: number of emotions
        config: widths and pooling
        text_size: width of the text vector beside the pooled one; 0 where there is none
    """

    def __init__(self, input_size: int, classes: int, config: ModelConfig, text_size: int = 0) -> None:
        super().__init__(input_size, config)
        self.fusion = None if config.text is None else Fusion(config.text, self.pooling.output_size, text_size)
        self.classifier = nn.Linear((self.fusion or self.pooling).output_size, classes)

    @property
    def hears(self) -> bool:
        """Whether speech enters."""
        return self.fusion is None or self.fusion.has_speech

    def forward(self, features: RaggedBatch, text: Tensor | None = None) -> Tensor:
        """Features of a batch, each ``(frames_i, input_size)``, to logits ``(batch, classes)``.

        ``text`` is what is said in each, ``(batch, text_size)``, of heads that read it.
        """
        return self.answer(self.pooled(features) if self.hears else None, text)

    def answer(self, vectors: Tensor | None, text: Tensor | None = None) -> Tensor:
        """Pooled vectors, of heads that hear, and what is said, of heads that read, to logits ``(batch, classes)``."""
        if self.fusion is not None:
            if text is None:
                raise ValueError("this head reads texts, and was given none")
            vectors = self.fusion(vectors, text)
        logits: Tensor = self.classifier(vectors)
        return logits


def sees_only_means(config: ModelConfig) -> bool:
    """Whether the head is a function of the features' time mean alone.

    Weighted sum, linear projection and time mean commute: ``mean_t P(sum_l w_l h_lt) = P(sum_l w_l mean_t h_lt)``.
    So for mean pooling, without dropout in between, one mean vector for each layer is all that training needs.
    """
    return config.pooling == {"name": "mean"} and config.dropout == 0.0
