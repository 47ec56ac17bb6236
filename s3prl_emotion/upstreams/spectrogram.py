"""transformers encoders whose input is a mel spectrogram: Whisper's encoder and wav2vec2-BERT."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from s3prl_emotion.errors import UpstreamError
from s3prl_emotion.upstreams.transformers import SAMPLE_RATE, TransformersEncoder, layers_of

_HOP = 160  # samples per mel frame
_WINDOW = 400  # samples of one mel frame


class WhisperUpstream(nn.Module):
    """Whisper's encoder, which sees windows of 30 s: one frame in 320 samples.

    An utterance is padded to whole windows, as the model was trained, and its states are cut to
    ``round(samples / 320)`` frames. A longer one is run in consecutive windows that do not see each other.

    Args:
        encoder: what was loaded

    Raises:
        UpstreamError: if feature extractor and model do not fit
    """

    def __init__(self, encoder: TransformersEncoder) -> None:
        super().__init__()
        self.model = encoder.model
        self.extractor = encoder.extractor
        self.window_frames = int(encoder.config.max_source_positions)
        self.stride = 2 * int(self.extractor.hop_length)  # the second convolution has stride 2
        given = (self.extractor.feature_size, self.extractor.nb_max_frames)
        wanted = (encoder.config.num_mel_bins, 2 * self.window_frames)
        if given != wanted:
            raise UpstreamError(
                f"the feature extractor gives {given[0]} mel channels and {given[1]} frames, Whisper's config.json "
                f"asks for {wanted[0]} and {wanted[1]}: take the preprocessor_config.json of this model"
            )

    def get_downsample_rates(self, key: str | None = None) -> int:
        """Samples per frame."""
        return self.stride

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """Waveforms at 16 kHz, each ``(samples,)``, to hidden states ``(batch, frames, features)``, L + 1 of them."""
        size = self.window_frames * self.stride
        frames = [max(1, round(len(wav) / self.stride)) for wav in wavs]
        windows = [
            wav[start : start + size]
            for wav, count in zip(wavs, frames, strict=True)
            for start in range(0, count * self.stride, size)
        ]
        counts = [-(-count // self.window_frames) for count in frames]
        given = self.extractor([_samples(window) for window in windows], sampling_rate=SAMPLE_RATE, return_tensors="pt")
        mel = given["input_features"].to(wavs[0].device, torch.float32)  # (windows, channels, mel frames)
        layers = self.model(mel, output_hidden_states=True).hidden_states
        states = tuple(
            pad_sequence(
                [part.flatten(0, 1)[:count] for part, count in zip(layer.split(counts), frames, strict=True)],
                batch_first=True,
            )
            for layer in layers
        )
        return {"hidden_states": states, "last_hidden_state": states[-1]}


class Wav2Vec2BertUpstream(nn.Module):
    """wav2vec2-BERT: two frames of 80 mel channels, 10 ms each, make one input: one frame in 320 samples.

    Args:
        encoder: what was loaded
    """

    def __init__(self, encoder: TransformersEncoder) -> None:
        super().__init__()
        self.model = encoder.model
        self.extractor = encoder.extractor
        self.stride = _HOP * int(self.extractor.stride)
        width = self.extractor.num_mel_bins * self.extractor.stride
        if width != encoder.config.feature_projection_input_dim:
            raise UpstreamError(
                f"the feature extractor gives {width} values per frame, config.json asks for "
                f"{encoder.config.feature_projection_input_dim}: take the preprocessor_config.json of this model"
            )

    def get_downsample_rates(self, key: str | None = None) -> int:
        """Samples per frame."""
        return self.stride

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """Waveforms at 16 kHz, each ``(samples,)``, to hidden states ``(batch, frames, features)``, L + 1 of them.

        Shorter ones than one frame (560 samples with a stride of 2) are padded with zeros to that.
        """
        least = _WINDOW + _HOP * (self.extractor.stride - 1)
        wavs = [pad(wav, (0, max(0, least - len(wav)))) for wav in wavs]
        given = self.extractor(
            [_samples(wav) for wav in wavs], sampling_rate=SAMPLE_RATE, padding=True, return_tensors="pt"
        )
        mask = given["attention_mask"].to(wavs[0].device)
        longest = int(mask.sum(dim=1).max())
        features = given["input_features"].to(wavs[0].device, torch.float32)[:, :longest]
        states = layers_of(self.model, features, attention_mask=mask[:, :longest])
        return {"hidden_states": states, "last_hidden_state": states[-1]}


def _samples(wav: Tensor) -> np.ndarray:
    return wav.detach().float().cpu().numpy()
