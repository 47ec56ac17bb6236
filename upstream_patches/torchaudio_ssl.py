"""torchaudio's wav2vec 2.0 and HuBERT models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3prl_emotion.errors import UpstreamError

if TYPE_CHECKING:
    from torch import nn


def torchaudio_custom(ckpt: str, model_config: str | None = None, refresh: bool = False, **kwargs: Any) -> nn.Module:
    """A state dict of torchaudio's ``Wav2Vec2Model``, or of ``HuBERTPretrainModel``.

    Width, layers, convolutions and their normalisation are read from tensor shapes. What shapes do not tell comes from
    a settings file: ``normalize_waveform`` always, and ``encoder_num_heads``, ``encoder_layer_norm_first`` and
    ``extractor_strides`` where the model has not the size of a published one.

    Args:
        ckpt: a file in safetensors format or written by ``torch.save``
        model_config: the settings, YAML or JSON; None looks for ``<ckpt>.yaml``

    Raises:
        UpstreamError: naming what is missing or does not fit
    """
    from s3prl_emotion.upstreams.files import settings_file
    from s3prl_emotion.upstreams.torchaudio import TorchaudioUpstream

    for path in (ckpt, model_config):
        if path is not None and not Path(path).is_file():
            raise UpstreamError(f"{path}: no such file")
    return TorchaudioUpstream(Path(ckpt), settings_file(Path(ckpt)) if model_config is None else Path(model_config))
