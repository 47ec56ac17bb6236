"""HuBERT pretrained further on emotional speech by our own recipes (FLEA, arXiv 2312.16383)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3prl_emotion.errors import UpstreamError

if TYPE_CHECKING:
    from torch import nn

RECORD = "pretraining.json"


def cpt_hubert(ckpt: str, refresh: bool = False, **kwargs: Any) -> nn.Module:
    """A HuBERT after continued pretraining: stage ``cpt`` of a recipe in ``pretraining/``.

    Args:
        ckpt: the recipe's folder, in transformers format with a ``pretraining.json``, or a Hub id
        refresh: download a Hub id again

    Raises:
        UpstreamError: if the folder is of another stage, or cannot be loaded
    """
    return _of_stage("cpt", ckpt, refresh)


def tapt_hubert(ckpt: str, refresh: bool = False, **kwargs: Any) -> nn.Module:
    """A HuBERT after task-adaptive pretraining: stage ``tapt``; otherwise as :func:`cpt_hubert`."""
    return _of_stage("tapt", ckpt, refresh)


def _of_stage(stage: str, ckpt: str, refresh: bool) -> nn.Module:
    from s3prl_emotion.upstreams.hub import is_hub_id, snapshot
    from s3prl_emotion.upstreams.per_fold import of_fold

    from .hf_auto import hf_auto_custom

    folder = snapshot(ckpt, refresh) if is_hub_id(ckpt) else Path(ckpt)
    other = f"-u hf_auto_custom -k {ckpt} loads other HuBERTs"
    if not (folder / RECORD).is_file():
        raise UpstreamError(f"{ckpt}: {RECORD} is missing, which our pretraining writes; {other}")
    of_fold(str(folder), None)  # a folder with one model per fold is none itself
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        recipe, found = record["recipe"], record["stage"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UpstreamError(
            f"{folder / RECORD}: expected the keys recipe and stage ({type(error).__name__}: {error}); {other}"
        ) from error
    if found != stage:
        hint = f"use -u {found}_hubert" if found in ("cpt", "tapt") else other
        raise UpstreamError(f"{ckpt}: stage {found!r} of recipe {recipe!r}, expected {stage!r}; {hint}")
    return hf_auto_custom(str(folder))
