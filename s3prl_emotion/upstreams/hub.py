"""Fetching a transformers model from the Hugging Face Hub as a folder."""

from __future__ import annotations

import re
from pathlib import Path

from s3prl_emotion.errors import UpstreamError

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SETTINGS = ["config.json", "preprocessor_config.json", "processor_config.json", "pretraining*.json*"]
_BESIDE = ["adapter_config.json", "modules.json"]  # say that the model is more than its weights
_SAFETENSORS = ["model.safetensors", "model-*.safetensors", "model.safetensors.index.json"]
TOKENIZER_FILES = (
    *(
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.*",
        "merges.txt",
    ),
    *("*.model", "bpe.codes", "generation_config.json", "normalizer.json"),
)
"""What models of text, and of speech to text, have besides."""
_TORCH = ["pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json"]


def is_hub_id(text: str) -> bool:
    """Whether this is written like ``owner/name`` and is nothing on this disk."""
    return _ID.fullmatch(text) is not None and not Path(text).exists()


def snapshot(hub_id: str, refresh: bool = False, revision: str | None = None, further: tuple[str, ...] = ()) -> Path:
    """The local folder of a model on the Hub; downloaded on first use, safetensors where there are some.

    Args:
        hub_id: ``owner/name``
        refresh: download again
        revision: a commit; None takes the newest, or without a network the one that is here
        further: patterns of files to fetch besides settings and weights

    Raises:
        UpstreamError: if it is neither here nor to be had
    """
    from huggingface_hub import snapshot_download

    def fetch(patterns: list[str]) -> Path:
        return Path(snapshot_download(hub_id, revision=revision, force_download=refresh, allow_patterns=patterns))

    try:
        settings = [*_SETTINGS, *_BESIDE, *further]
        folder = fetch(settings + _SAFETENSORS)
        if not any((folder / name).is_file() for name in ("model.safetensors", "model.safetensors.index.json")):
            folder = fetch(settings + _TORCH)
    except (OSError, ValueError) as error:
        raise UpstreamError(
            f"{hub_id}: neither here nor to be had from the Hugging Face Hub: "
            f"{str(error).splitlines()[0].rstrip('.')}. Without a network, copy its folder here and name that"
        ) from error
    return folder


def one_file(hub_id: str, name: str) -> Path:
    """One file of a model on the Hub; downloaded on first use.

    Raises:
        UpstreamError: if it is neither here nor to be had
    """
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(hub_id, name))
    except (OSError, ValueError) as error:
        raise UpstreamError(
            f"{hub_id}: {name} is neither here nor to be had from the Hugging Face Hub: "
            f"{str(error).splitlines()[0].rstrip('.')}. Without a network, copy its folder here and name that"
        ) from error


def snapshot_source(path: str) -> tuple[str, str] | None:
    """Hub id and commit that a folder made by :func:`snapshot` stands for; None for other paths."""
    parts = Path(path).parts
    if len(parts) < 3 or parts[-2] != "snapshots" or not parts[-3].startswith("models--"):
        return None
    return parts[-3].removeprefix("models--").replace("--", "/", 1), parts[-1]
