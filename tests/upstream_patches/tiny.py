"""Tiny random models of every family, as folders and files that a user could drop in."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    Data2VecAudioConfig,
    Data2VecAudioModel,
    HubertConfig,
    HubertModel,
    SeamlessM4TFeatureExtractor,
    UniSpeechSatConfig,
    UniSpeechSatModel,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    Wav2Vec2Config,
    Wav2Vec2ConformerConfig,
    Wav2Vec2ConformerModel,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)


class Payload:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.makedirs, (self.path, 0o777, True)


SIZE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
CONV: dict[str, Any] = {
    **SIZE,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "layerdrop": 0.5,
    "mask_time_prob": 0.0,
}


def save(model: nn.Module, extractor: Any, folder: Path) -> Path:
    """A folder in transformers format."""
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def _waveform(kind: Any, config: Any, normalize: bool, **changes: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        torch.manual_seed(0)
        return save(kind(config(**{**CONV, **changes})), Wav2Vec2FeatureExtractor(do_normalize=normalize), folder)

    return make


def whisper(folder: Path, window_s: int = 1) -> Path:
    """A Whisper whose window is one second, with a decoder."""
    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_source_positions=50 * window_s,
        vocab_size=50,
        pad_token_id=1,
        bos_token_id=1,
        eos_token_id=1,
        decoder_start_token_id=1,
        encoder_layerdrop=0.5,
    )
    return save(WhisperModel(config), WhisperFeatureExtractor(chunk_length=window_s), folder)


def wav2vec2_bert(folder: Path) -> Path:
    torch.manual_seed(0)
    config = Wav2Vec2BertConfig(**SIZE, feature_projection_input_dim=160, layerdrop=0.5, mask_time_prob=0.0)
    return save(Wav2Vec2BertModel(config), SeamlessM4TFeatureExtractor(), folder)


TRANSFORMERS: Mapping[str, Callable[[Path], Path]] = {
    "hubert-group": _waveform(HubertModel, HubertConfig, False, feat_extract_norm="group"),
    "hubert-layer": _waveform(HubertModel, HubertConfig, True, feat_extract_norm="layer", do_stable_layer_norm=True),
    "wav2vec2": _waveform(Wav2Vec2Model, Wav2Vec2Config, True, feat_extract_norm="layer", do_stable_layer_norm=True),
    "wav2vec2-group": _waveform(Wav2Vec2Model, Wav2Vec2Config, True, feat_extract_norm="group"),
    "wavlm": _waveform(WavLMModel, WavLMConfig, True, feat_extract_norm="layer", do_stable_layer_norm=True),
    "data2vec-audio": _waveform(Data2VecAudioModel, Data2VecAudioConfig, True),
    "unispeech-sat": _waveform(UniSpeechSatModel, UniSpeechSatConfig, True, feat_extract_norm="layer"),
    "wav2vec2-conformer": _waveform(Wav2Vec2ConformerModel, Wav2Vec2ConformerConfig, True, feat_extract_norm="layer"),
    "whisper": whisper,
    "wav2vec2-bert": wav2vec2_bert,
}
"""Folders in transformers format by family."""

TORCHAUDIO: dict[str, Any] = {
    "extractor_conv_layer_config": [(8, 10, 5), *[(8, 3, 2)] * 4, *[(8, 2, 2)] * 2],
    "extractor_conv_bias": False,
    "encoder_embed_dim": 16,
    "encoder_projection_dropout": 0.1,
    "encoder_pos_conv_kernel": 16,
    "encoder_pos_conv_groups": 2,
    "encoder_num_layers": 2,
    "encoder_num_heads": 2,
    "encoder_attention_dropout": 0.1,
    "encoder_ff_interm_features": 32,
    "encoder_ff_interm_dropout": 0.1,
    "encoder_dropout": 0.1,
    "encoder_layer_drop": 0.5,
}
SETTINGS = "normalize_waveform: {normalize}\nencoder_num_heads: 2\nencoder_layer_norm_first: {first}\n"


def torchaudio_file(path: Path, mode: str, aux: int | None = None) -> Path:
    """A state dict of ``torchaudio.models.wav2vec2_model`` with its settings beside it."""
    from torchaudio.models import wav2vec2_model

    torch.manual_seed(0)
    first = mode == "layer_norm"
    model = wav2vec2_model(**TORCHAUDIO, extractor_mode=mode, encoder_layer_norm_first=first, aux_num_out=aux)
    torch.save(model.state_dict(), path)
    text = SETTINGS.format(normalize=str(first).lower(), first=str(first).lower())
    path.with_name(path.name + ".yaml").write_text(text, encoding="utf-8")
    return path


def converted_hubert(path: Path, mode: str = "layer_norm") -> Path:
    """What S3PRL's conversion of a fairseq HuBERT would leave, at a tiny size."""
    from s3prl.upstream.hubert.hubert_model import HubertConfig as Config
    from s3prl.upstream.hubert.hubert_model import HubertModel as Model
    from s3prl.upstream.hubert.hubert_model import HubertPretrainingConfig
    from s3prl.upstream.utils import merge_with_parent

    torch.manual_seed(0)
    task = {"normalize": True, "label_rate": 50.0, "sample_rate": 16000, "labels": ["km"]}
    config = _fairseq(mode) | {"final_dim": 8, "label_rate": 50}
    symbols = [["0", "1", "2"]]
    model = Model(merge_with_parent(Config, config), merge_with_parent(HubertPretrainingConfig, task), symbols)
    content = {"task_cfg": task, "model_cfg": config, "model_weight": model.state_dict()}
    torch.save({**content, "dictionaries_symbols": symbols}, path)
    return path


def converted_wav2vec2(path: Path) -> Path:
    """The same of a wav2vec 2.0."""
    from s3prl.upstream.utils import merge_with_parent
    from s3prl.upstream.wav2vec2.wav2vec2_model import Wav2Vec2Config as Config
    from s3prl.upstream.wav2vec2.wav2vec2_model import Wav2Vec2Model as Model

    torch.manual_seed(0)
    config = _fairseq("layer_norm") | {"final_dim": 8, "quantize_targets": False}
    model = Model(merge_with_parent(Config, config))
    torch.save({"task_cfg": {"normalize": True}, "model_cfg": config, "model_weight": model.state_dict()}, path)
    return path


def converted_data2vec(path: Path) -> Path:
    """The same of a data2vec; S3PRL takes the teacher, ``_ema``, out of it."""
    from s3prl.upstream.data2vec.data2vec_model import Data2VecAudioConfig as Config
    from s3prl.upstream.data2vec.data2vec_model import Data2VecAudioModel as Model
    from s3prl.upstream.utils import merge_with_parent

    torch.manual_seed(0)
    config = _fairseq("layer_norm") | {"_name": "data2vec_audio", "layer_norm_first": False}
    config |= {"pos_conv_depth": 5, "conv_pos": 95}
    model = Model(merge_with_parent(Config, config))
    model.remove_pretraining_modules()
    weights = {**model.state_dict(), "_ema": {}}
    torch.save({"task_cfg": {"normalize": True}, "model_cfg": config, "model_weight": weights}, path)
    return path


def wavlm_file(path: Path) -> Path:
    """Microsoft's form of a WavLM."""
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    torch.manual_seed(0)
    config = _fairseq("layer_norm") | {"normalize": True, "relative_position_embedding": True, "gru_rel_pos": True}
    torch.save({"cfg": config, "model": WavLM(WavLMConfig(config)).state_dict()}, path)
    return path


def _fairseq(mode: str) -> dict[str, Any]:
    return {
        "extractor_mode": mode if mode == "layer_norm" else "default",
        "encoder_layers": 2,
        "encoder_embed_dim": 16,
        "encoder_ffn_embed_dim": 32,
        "encoder_attention_heads": 2,
        "layer_norm_first": mode == "layer_norm",
        "conv_feature_layers": "[(8,10,5)] + [(8,3,2)] * 4 + [(8,2,2)] * 2",
        "conv_pos": 16,
        "conv_pos_groups": 2,
        "encoder_layerdrop": 0.5,
    }


FILES: Mapping[str, Callable[[Path], Path]] = {
    "torchaudio-group": lambda folder: torchaudio_file(folder / "hubert_like.pt", "group_norm"),
    "torchaudio-layer": lambda folder: torchaudio_file(folder / "wav2vec2_like.pth", "layer_norm", aux=5),
    "s3prl-hubert": lambda folder: converted_hubert(folder / "hubert.ckpt"),
    "s3prl-hubert-group": lambda folder: converted_hubert(folder / "hubert_group.ckpt", "default"),
    "s3prl-wav2vec2": lambda folder: converted_wav2vec2(folder / "wav2vec2.pt"),
    "s3prl-data2vec": lambda folder: converted_data2vec(folder / "data2vec.pt"),
    "wavlm-file": lambda folder: wavlm_file(folder / "wavlm.pt"),
}
"""Single files by family; the functions get the folder to write into."""


def make(family: str, folder: Path) -> Path:
    """The checkpoint of a family, in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    return TRANSFORMERS[family](folder / family) if family in TRANSFORMERS else FILES[family](folder)
