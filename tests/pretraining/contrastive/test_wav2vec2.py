"""The paper's other form: a whole wav2vec 2.0 is fine-tuned (``-f``) below a head that was pretrained on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from s3prl_emotion import load
from s3prl_emotion.downstream.pretrained import LAYERS, read_about, read_weights
from s3prl_emotion.errors import RunError
from s3prl_emotion.experiment import Request
from s3prl_emotion.experiment.checkpoint import evaluate_checkpoint
from s3prl_emotion.experiment.run import run
from s3prl_emotion.pretraining.contrastive import clustering, embed, export, training
from s3prl_emotion.pretraining.contrastive.plan import ContrastiveRequest, make_plan
from s3prl_emotion.pretraining.contrastive.settings import ContrastiveSettings
from s3prl_emotion.pretraining.settings import read_settings
from s3prl_emotion.s3prl_runner.cache import CacheOptions
from s3prl_emotion.s3prl_runner.checkpoints import load_checkpoint
from tests.conftest import SHORT
from tests.pretraining.contrastive.test_export import SMALL

pytestmark = pytest.mark.slow

POOLING = {"name": "attentive_correlation", "heads": 2, "channel_dropout": 0.25}


def tiny(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8,) * 7,
        feat_extract_norm="layer",
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        layerdrop=0.3,
        mask_time_prob=0.05,
    )
    Wav2Vec2Model(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def test_a_whole_wav2vec2_is_fine_tuned(tmp_path: Path, demo_root: Path, cache_root: Path) -> None:
    """Three layers are weighted; upstream, layer weights and head all learn from where they were; -e and load go on."""
    base = tiny(tmp_path / "tiny_wav2vec2", 0)
    changes = {"model": {"pooling": POOLING}, "embed": {"encoder": {"name": "upstream", "upstream": str(base)}}}
    settings = {**SMALL, "embed": {}}
    wanted = ContrastiveRequest(
        upstream=str(base),
        settings=read_settings(ContrastiveSettings, "contrastive", None, settings, changes),
        speech=(f"demo={demo_root}",),
        folds=(1,),
        folder=tmp_path / "pretraining",
        device="cpu",
        cache_options=CacheOptions(cache_root),
    )
    plan = make_plan(wanted)
    embed.run(plan)
    clustering.run(plan, 1)
    training.train(plan, 1)
    head = export.export(plan, 1)
    assert read_about(head).layers == 3
    override = SHORT.format(steps=4, every=2)
    for key, value in {"projector_dim": 6, "pooling": POOLING}.items():
        override = f"config.downstream_expert.modelrc.{key}={value!r},,{override}"
    s3prl = {
        "upstream": str(base),
        "downstream": "emotion_contrastive",
        "device": "cpu",
        "upstream_trainable": True,
        "override": override,
    }

    def request(place: str, upstream: Path) -> Request:
        given = {**s3prl, "upstream": str(upstream), "expdir": str(tmp_path / place)}
        root = export.root_of(plan)
        return Request(given, "demo", demo_root, folds=(1,), cache_options=CacheOptions(cache_root), pretrained=root)

    folder, results = run(request("run", base))
    assert "upstream fine-tuned (-f)" in results.deviations
    content = load_checkpoint(folder / "fold1" / "states-4.ckpt")
    before = Wav2Vec2Model.from_pretrained(base).state_dict()
    moved = {
        name: float((value - before[name.removeprefix("model.")]).abs().max())
        for name, value in content["Upstream"].items()
        if name.removeprefix("model.") in before
    }
    assert moved["model.encoder.layers.1.attention.q_proj.weight"] > 0
    weights = read_weights(head)
    rate = 4 * 1e-3  # steps times learning rate: further Adam cannot go
    for now, start in (
        (content["Featurizer"]["weights"], weights[LAYERS]),
        (content["Downstream"]["head.projector.weight"], weights["projector.weight"]),
        (content["Downstream"]["head.pooling.attention.weight"], weights["pooling.attention.weight"]),
    ):
        assert 0 < float((now - start).abs().max()) < 2 * rate
    predictions = (folder / "fold1" / "predictions.csv").read_bytes()
    assert evaluate_checkpoint(folder / "fold1", "test", "cpu").read_bytes() == predictions
    assert load(folder, device="cpu").predict(0.1 * torch.randn(16000).numpy())[0].predicted in results.labels
    other = tiny(tmp_path / "other_wav2vec2", 1)
    with pytest.raises(RunError, match=r"is not the upstream that the head in .* was pretrained on"):
        run(request("other", other))
