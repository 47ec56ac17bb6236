"""Drop five kinds of checkpoints into ``./upstreams`` and benchmark each by its name.

The models are tiny and have random weights: the point is that nothing has to be registered. Run it in an empty folder:
``python /path/to/examples/drop_in.py`` (about a minute on a CPU, no network).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from tabulate import tabulate
from torchaudio.models import wav2vec2_model
from transformers import (
    HubertConfig,
    HubertModel,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from s3prl_emotion.cli import main as s3prl_emotion
from s3prl_emotion.corpora.demo import make_demo_corpus

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
CONVOLUTIONS = {"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
NORM = {"feat_extract_norm": "layer"}
STEPS = (
    "config.runner.total_steps={0},,config.runner.eval_step={0},,config.runner.save_step={0},,config.optimizer.lr=1e-3"
)


def drop(folder: Path) -> list[str]:
    """Save one tiny model of each family.

    Args:
        folder: a drop-in folder

    Returns:
        the ``-u`` names
    """
    torch.manual_seed(0)
    hubert, wavlm, whisper, bert = (folder / f"tiny_{name}" for name in ("hubert", "wavlm", "whisper", "w2v_bert"))
    HubertModel(HubertConfig(**SIZE, **CONVOLUTIONS, **NORM)).save_pretrained(hubert)
    WavLMModel(WavLMConfig(**SIZE, **CONVOLUTIONS, **NORM)).save_pretrained(wavlm)
    for path in (hubert, wavlm):
        Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(path)
    sizes = {"encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    ids = {"vocab_size": 8, "pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 1, "decoder_start_token_id": 1}
    decoder = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 64}
    # Windows of 4 s in place of 30 s, which a tiny model on a CPU would spend on padding.
    WhisperModel(WhisperConfig(d_model=32, max_source_positions=200, **sizes, **decoder, **ids)).save_pretrained(
        whisper
    )
    WhisperFeatureExtractor(chunk_length=4).save_pretrained(whisper)
    Wav2Vec2BertModel(Wav2Vec2BertConfig(**SIZE, feature_projection_input_dim=160)).save_pretrained(bert)
    SeamlessM4TFeatureExtractor().save_pretrained(bert)
    kernels, strides = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
    model = wav2vec2_model(
        extractor_mode="layer_norm",
        extractor_conv_layer_config=[(16, kernel, stride) for kernel, stride in zip(kernels, strides, strict=True)],
        extractor_conv_bias=False,
        encoder_embed_dim=32,
        encoder_projection_dropout=0.1,
        encoder_pos_conv_kernel=16,
        encoder_pos_conv_groups=2,
        encoder_num_layers=2,
        encoder_num_heads=2,
        encoder_attention_dropout=0.1,
        encoder_ff_interm_features=64,
        encoder_ff_interm_dropout=0.1,
        encoder_dropout=0.1,
        encoder_layer_norm_first=True,
        encoder_layer_drop=0.0,
        aux_num_out=None,
    )
    path = folder / "tiny_torchaudio.pt"
    torch.save(model.state_dict(), path)
    settings = "normalize_waveform: true\nencoder_num_heads: 2\nencoder_layer_norm_first: true\n"
    path.with_name(path.name + ".yaml").write_text(settings, encoding="utf-8")
    return [hubert.name, wavlm.name, whisper.name, bert.name, path.stem]


def main() -> int:
    parser = argparse.ArgumentParser(description="Benchmark five tiny checkpoints that are dropped into ./upstreams.")
    parser.add_argument("--steps", type=int, default=20, help="training steps of each (default: %(default)s)")
    args = parser.parse_args()
    upstreams, corpus = Path("upstreams"), Path("demo_corpus")
    names = drop(upstreams)
    make_demo_corpus(corpus, utterances_per_speaker_and_emotion=2)
    s3prl_emotion(["ls", "upstreams"])
    rows = []
    for name in names:
        options = ["--corpus", "demo", "--data", str(corpus), "--fold", "1", "--device", "cpu", "-p", f"runs/{name}"]
        status = s3prl_emotion(["run", "-u", name, "-d", "emotion_attn_corr", *options, "-o", STEPS.format(args.steps)])
        if status:
            return status
        results = json.loads(Path("runs", name, "results.json").read_text(encoding="utf-8"))
        rows.append([results["upstream"], results["checkpoint_sha256"][:12], 100 * results["ua"]["mean"]])
    print()
    print(tabulate(rows, ["upstream", "SHA-256", "UA %, fold 1"], floatfmt=".1f"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
