"""Tiny models of text and of speech to text with random weights, as folders that a user could have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

LETTERS = "abcdefghijklmnopqrstuvwxyzäöüß"
SIZE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def tiny_bert(folder: Path, seed: int = 0, positions: int = 64) -> Path:
    """A BERT of two layers of width 16 whose tokens are letters, saved with a head for masked language modelling."""
    from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS), ".", "'"]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=len(tokens), max_position_embeddings=positions, **SIZE)
    BertForMaskedLM(config).save_pretrained(folder)
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=positions).save_pretrained(folder)
    (folder / "vocab.txt").unlink(missing_ok=True)
    return folder


def tiny_roberta(folder: Path, positions: int = 66) -> Path:
    """A RoBERTa of the same size: its positions begin after its padding token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaModel

    words = {token: number for number, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>"}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, sep_token="</s>", mask_token="<mask>", **special
    ).save_pretrained(folder)
    torch.manual_seed(0)
    RobertaModel(RobertaConfig(vocab_size=len(words), max_position_embeddings=positions, **SIZE)).save_pretrained(
        folder
    )
    return folder


def tiny_ctc(folder: Path) -> Path:
    """A wav2vec 2.0 with a CTC head over letters, and its processor."""
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    folder.mkdir(parents=True, exist_ok=True)
    letters = {token: number for number, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS])}
    (folder / "vocab.json").write_text(json.dumps(letters), encoding="utf-8")
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), pad_token="<pad>", word_delimiter_token="|")
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        **SIZE,
        vocab_size=len(letters),
        conv_dim=(8,) * 7,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        pad_token_id=0,
        mask_time_prob=0.0,
    )
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(do_normalize=True), tokenizer).save_pretrained(folder)
    return folder


def tiny_whisper(folder: Path, window_s: int = 2) -> Path:
    """A Whisper whose window is two seconds, which knows English and German and writes a few random letters."""
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizer,
    )

    letters = [*LETTERS[:26], "Ġ"]
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>"]
    special += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    words = {token: number for number, token in enumerate([*letters, *special])}
    tokenizer = WhisperTokenizer(vocab={name: words[name] for name in [*letters, special[0]]}, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:]})
    tokenizer.save_pretrained(folder)
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
        max_target_positions=32,
        vocab_size=len(tokenizer),
        pad_token_id=words["<|endoftext|>"],
        bos_token_id=words["<|endoftext|>"],
        eos_token_id=words["<|endoftext|>"],
        decoder_start_token_id=words["<|startoftranscript|>"],
    )
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    GenerationConfig(
        max_length=16,
        decoder_start_token_id=words["<|startoftranscript|>"],
        eos_token_id=words["<|endoftext|>"],
        pad_token_id=words["<|endoftext|>"],
        bos_token_id=words["<|endoftext|>"],
        is_multilingual=True,
        lang_to_id={token: words[token] for token in ("<|en|>", "<|de|>")},
        task_to_id={"translate": words["<|translate|>"], "transcribe": words["<|transcribe|>"]},
        no_timestamps_token_id=words["<|notimestamps|>"],
        suppress_tokens=list(range(words["<|startoftranscript|>"], len(words))),
        begin_suppress_tokens=[],
    ).save_pretrained(folder)
    WhisperFeatureExtractor(chunk_length=window_s).save_pretrained(folder)
    return folder
