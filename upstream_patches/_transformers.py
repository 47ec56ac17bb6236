"""The module behind the transformers adapters."""

from __future__ import annotations

import math
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

from s3prl_emotion.errors import UpstreamError

SAMPLE_RATE = 16000


class TransformersUpstream(nn.Module):
    """A transformers speech encoder with S3PRL's upstream interface.

    Args:
        ckpt: folder or Hub id
        refresh: download again

    Raises:
        UpstreamError: if it cannot be loaded, or is no encoder of waveforms
    """

    def __init__(self, ckpt: str, refresh: bool = False) -> None:
        super().__init__()
        try:
            extractor = AutoFeatureExtractor.from_pretrained(ckpt, force_download=refresh)
            config = AutoConfig.from_pretrained(ckpt, force_download=refresh)
        except (OSError, ValueError) as error:
            raise UpstreamError(f"-k {ckpt}: {error}") from error
        strides = getattr(config, "conv_stride", None)
        if strides is None or not hasattr(config, "num_hidden_layers"):
            raise UpstreamError(f"-k {ckpt}: {config.model_type!r} is no encoder of raw waveforms with hidden states")
        if extractor.sampling_rate != SAMPLE_RATE:
            raise UpstreamError(
                f"-k {ckpt}: its feature extractor asks for {extractor.sampling_rate} Hz, expected {SAMPLE_RATE}"
            )
        config.layerdrop = 0.0
        try:
            model, report = AutoModel.from_pretrained(
                ckpt, config=config, output_loading_info=True, force_download=refresh, trust_remote_code=False
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise UpstreamError(f"-k {ckpt}: the weights cannot be loaded: {error}") from error
        # Models without a masking embedding in their checkpoint are usual; it is used by spec-augment only.
        missing = sorted(key for key in report["missing_keys"] if "masked_spec_embed" not in key)
        if missing:
            raise UpstreamError(f"-k {ckpt}: {len(missing)} weights are missing, such as {', '.join(missing[:3])}")
        self.model: nn.Module = model.float()
        self.normalize = bool(extractor.do_normalize)
        self.downsample_rate = math.prod(strides)
        self.padding_changes_features = getattr(config, "feat_extract_norm", "layer") == "group"

    def get_downsample_rates(self, key: str | None = None) -> int:
        """Samples per frame."""
        return self.downsample_rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """Waveforms at 16 kHz, each ``(samples,)``, to hidden states ``(batch, frames, features)``, L + 1 of them."""
        if self.normalize:
            wavs = [(wav - wav.mean()) / torch.sqrt(wav.var(correction=0) + 1e-7) for wav in wavs]
        if self.padding_changes_features and not self.training and len({len(wav) for wav in wavs}) > 1:
            layers = zip(*(self._encode([wav]) for wav in wavs), strict=True)
            states = tuple(pad_sequence([item[0] for item in layer], batch_first=True) for layer in layers)
        else:
            states = self._encode(wavs)
        return {"hidden_states": states, "last_hidden_state": states[-1]}

    def _encode(self, wavs: list[Tensor]) -> tuple[Tensor, ...]:
        lengths = torch.tensor([len(wav) for wav in wavs], device=wavs[0].device)
        padded = pad_sequence(wavs, batch_first=True)
        mask = torch.arange(padded.shape[1], device=padded.device) < lengths[:, None]
        # Group-norm models were pretrained on zero-padded batches without a mask; alone, a mask changes nothing.
        given = {} if self.padding_changes_features or bool(mask.all()) else {"attention_mask": mask.long()}
        output = self.model(padded, output_hidden_states=True, **given)
        return tuple(output.hidden_states)
