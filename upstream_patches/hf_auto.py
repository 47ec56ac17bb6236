"""Speech encoders in transformers format: HuBERT, wav2vec 2.0, WavLM, data2vec-audio, UniSpeech-SAT, Whisper, ..."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3prl_emotion.errors import UpstreamError

if TYPE_CHECKING:
    from torch import nn


def hf_auto_custom(ckpt: str, model_config: str | None = None, refresh: bool = False, **kwargs: Any) -> nn.Module:
    """A checkpoint folder (or Hub id) through transformers' ``AutoModel``.

    The output holds ``hidden_states``, the input of the first transformer block and then the output of each block, and
    ``last_hidden_state``. Layer-drop is off, so that fine-tuning has every layer at every step; weights are float32.
    Utterances do not depend on their batch mates while the upstream is frozen: models whose features change with
    padding are run one utterance at a time.

    Args:
        ckpt: folder with ``config.json``, weights and ``preprocessor_config.json``, or a Hub id; with ``model_config``
            a file of weights (safetensors or a state dict)
        model_config: folder or Hub id that gives ``config.json`` and ``preprocessor_config.json`` for ``ckpt``
        refresh: download a Hub id again

    Raises:
        UpstreamError: if a file is missing, weights do not fit the configuration, or the model is no speech encoder
    """
    from s3prl_emotion.upstreams.hub import is_hub_id, snapshot
    from s3prl_emotion.upstreams.transformers import load_encoder

    source = ckpt if model_config is None else model_config
    folder = snapshot(source, refresh) if is_hub_id(source) else Path(source)
    if folder.is_file():
        raise UpstreamError(
            f"{ckpt}: a file without its configuration: give the folder with config.json and preprocessor_config.json "
            "too, as -g FOLDER, or -u FOLDER -k FILE"
        )
    if not folder.is_dir():
        raise UpstreamError(f"{folder}: no such folder; expected one in transformers format, or a Hub id")
    if model_config is not None and not Path(ckpt).is_file():
        raise UpstreamError(f"{ckpt}: no such file; with the configuration of {source} it must hold the weights")
    encoder = load_encoder(folder, None if model_config is None else Path(ckpt))
    if encoder.config.model_type == "whisper":
        from s3prl_emotion.upstreams.spectrogram import WhisperUpstream

        return WhisperUpstream(encoder)
    if encoder.config.model_type == "wav2vec2-bert":
        from s3prl_emotion.upstreams.spectrogram import Wav2Vec2BertUpstream

        return Wav2Vec2BertUpstream(encoder)
    from s3prl_emotion.upstreams.waveform import WaveformUpstream

    return WaveformUpstream(encoder)
