"""Speech encoders of waveforms in transformers format: HuBERT, wav2vec 2.0, WavLM, data2vec-audio, UniSpeech-SAT."""

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
    Utterances do not depend on their batch mates while the upstream is frozen: models with group normalisation, whose
    features change with padding, are run one utterance at a time.

    Args:
        ckpt: folder with ``config.json``, weights and ``preprocessor_config.json``, or a Hub id
        model_config: not used
        refresh: download a Hub id again

    Raises:
        UpstreamError: if a file is missing, weights do not fit the configuration, or the model has no waveform input
    """
    from s3prl_emotion.upstream_patches._transformers import TransformersUpstream

    folder = Path(ckpt)
    if folder.exists() or len(folder.parts) != 2:  # a Hub id is owner/name
        if not (folder / "config.json").is_file():
            raise UpstreamError(f"-k {ckpt}: expected a folder in transformers format, config.json is missing")
        if not (folder / "preprocessor_config.json").is_file():
            raise UpstreamError(
                f"-k {ckpt}: preprocessor_config.json is missing, which says how waveforms are normalised. Save the "
                "model's feature extractor there: Wav2Vec2FeatureExtractor(do_normalize=...).save_pretrained(folder)"
            )
    return TransformersUpstream(ckpt, refresh)
