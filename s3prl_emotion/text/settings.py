"""``modelrc.text``: a text encoder beside the speech, or in its place."""

from __future__ import annotations

from dataclasses import dataclass

ENCODER_SHA256, REVISION, TEXTS_SHA256 = "text_encoder_sha256", "text_encoder_revision", "texts_sha256"
"""What a checkpoint holds of its text encoder's files, and of what was said."""


@dataclass(frozen=True)
class TextConfig:
    """Text encoder -> masked mean over tokens -> dropout; beside the pooled speech, which has a dropout of its own.

    Source: encoder and both dropouts arXiv 2312.11503; that it is frozen unless asked for is S3PRL's way.
    """

    encoder: str = "google-bert/bert-base-uncased"  # a folder in transformers format, or a Hub id
    trainable: bool = False  # train it with the head; its weights are then part of every checkpoint
    dropout: float = 0.1  # on the text vector
    speech_dropout: float = 0.1  # on the pooled speech vector
    speech: bool = True  # false: text alone, nothing of the upstream enters
    max_tokens: int | None = None  # special tokens included; null: as many as the encoder takes

    def __post_init__(self) -> None:
        if not self.encoder.strip():
            raise ValueError("encoder is empty, expected a folder or a Hub id (owner/name)")
        for name in ("dropout", "speech_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if self.max_tokens is not None and self.max_tokens < 3:
            raise ValueError(f"max_tokens must be at least 3, one beside two special tokens, got {self.max_tokens}")
