"""``--demo``: a synthetic corpus and a tiny HuBERT made on the fly, so that the whole chain runs in minutes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora.demo import make_demo_corpus
from s3prl_emotion.pretraining.flea.plan import FleaRequest
from s3prl_emotion.pretraining.hubert import new_folder

_TRAINING = {
    "steps": 30,
    "optimiser": {"lr": 2e-3, "warmup_steps": 5},
    "batch": {"seconds": 30.0, "part_seconds": 15.0, "min_s": 0.5, "max_s": 4.0},
    "projection": 16,
    "eval_every": 15,
    "save_every": 10,
    "log_every": 5,
}
_FINE_TUNING = {
    "runner": {"total_steps": 16, "eval_step": 8, "save_step": 8, "log_step": 8},
    "optimizer": {"lr": 2e-3},
    "downstream_expert": {"datarc": {"train_batch_size": 16}},
}
SETTINGS: dict[str, Any] = {
    "tapt": {"layer": 1, "clusters": 20, "training": _TRAINING},
    "finetune": {"config": _FINE_TUNING},
    "cluster": {"layer": 2, "clusters": 10, "kmeans": {"n_init": 3, "batch_size": 1000}},
    "cpt": {"training": _TRAINING},
    "evaluate": {"config": _FINE_TUNING},
}
"""What ``--demo`` changes."""
FOLDS = (1, 2)
"""The folds that ``--demo`` works on, if none are named."""
UTTERANCES = 3
"""For each speaker and emotion: 120 in all."""
NAME = "tiny-hubert"


def complete(wanted: FleaRequest) -> FleaRequest:
    """Make what was not given: the base and the corpus, below the root or in the run's folder."""
    place = wanted.folder or wanted.root / "demo"
    changes: dict[str, Any] = {"folds": wanted.folds or FOLDS}
    if not wanted.upstream:
        changes["upstream"] = str(make_base(place / NAME))
    if wanted.corpus == "demo" and wanted.data is None:
        changes["data"] = make_demo_corpus(place / "corpus", UTTERANCES)
    return dataclasses.replace(wanted, **changes)


def make_base(folder: Path) -> Path:
    """A HuBERT of 2 layers of 32 with random weights; one that is there is kept."""
    import torch
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    if (folder / "config.json").is_file():
        return folder
    config = HubertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = HubertModel(config)
    with new_folder(folder) as temporary:
        model.save_pretrained(temporary)
        Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(temporary)
    return folder
