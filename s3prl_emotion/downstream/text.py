"""The text branch of a head: a transcript to one vector, by a frozen or trained encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_emotion.errors import RunError
from s3prl_emotion.text.encoder import FrozenTexts, TextEncoder
from s3prl_emotion.text.loading import TextSource, open_encoder
from s3prl_emotion.text.settings import ENCODER_SHA256, REVISION, TEXTS_SHA256, TextConfig


class TextBranch(nn.Module):
    """Texts of a batch to ``(batch, output_size)``.

    An encoder that is trained is a part of this module, and of its checkpoints. One that is frozen is not: its vectors
    are computed once for each text, or come from a store, see :meth:`use`.

    Args:
        config: which encoder, trained or not
        opened: the encoder, where it was found already
    """

    def __init__(self, config: TextConfig, opened: TextSource | None = None) -> None:
        super().__init__()
        self.opened = open_encoder(config.encoder, config.max_tokens) if opened is None else opened
        self.output_size = self.opened.width
        self.encoder = TextEncoder(self.opened) if config.trainable else None
        self._frozen = FrozenTexts(self.opened)
        self._tokens: dict[str, list[int]] = {}

    def use(self, frozen: FrozenTexts) -> None:
        """Take vectors from a store."""
        self._frozen = frozen

    def forward(self, texts: Sequence[str], device: torch.device) -> Tensor:
        """What is said in each utterance to ``(batch, output_size)``."""
        if self.encoder is None:
            return self._frozen(texts, device)
        for text in texts:
            if text not in self._tokens:
                self._tokens[text] = self.opened.tokens(text)[0]
        vectors: Tensor = self.encoder([self._tokens[text] for text in texts])
        return vectors

    def sealed(self, texts_sha256: str) -> dict[str, Any]:
        """What a checkpoint holds of encoder and texts."""
        source = self.opened.source
        return {ENCODER_SHA256: source.sha256, REVISION: source.revision, TEXTS_SHA256: texts_sha256}

    def check_seal(self, state: Mapping[str, Any], texts_sha256: str, where: str) -> None:
        """Refuse to go on with another encoder, or with other texts, than those of a checkpoint.

        Raises:
            RunError: naming which
        """
        if state.get(ENCODER_SHA256) != self.opened.source.sha256:
            raise RunError(
                f"{where}: the text encoder at {self.opened.source.place} is not the one of the training (SHA-256 "
                f"{state.get(ENCODER_SHA256)}): it was edited, or files were added. Restore it, or say where it is: "
                "-o config.downstream_expert.modelrc.text.encoder=PATH"
            )
        if state.get(TEXTS_SHA256) != texts_sha256:
            raise RunError(
                f"{where}: the texts of the manifest are not those of the training: it was edited, or comes from "
                "another run. Restore it"
            )
