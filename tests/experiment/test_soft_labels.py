"""Annotators' votes as training targets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from s3prl_emotion.downstream.objectives import objectives
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.experiment import Request
from s3prl_emotion.experiment.preparation import prepare
from s3prl_emotion.experiment.run import run
from s3prl_emotion.experiment.splits import SplitCache
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.s3prl_runner.cache import CacheOptions


@pytest.fixture
def train(demo_root, tmp_path, cache_root):
    """Train one fold on the demo corpus with given votes; returns the weights of the head."""
    manifest, folds = prepare("demo", demo_root, {}, "superb", RunFolder(tmp_path / "prepared"))
    count = 0

    def start(votes, labels="soft"):
        nonlocal count
        count += 1
        items = [dataclasses.replace(item, soft=votes(item)) for item in manifest.utterances]
        steps = "config.runner.total_steps=3,,config.runner.eval_step=3,,config.optimizer.lr=1e-2"
        request = Request(
            s3prl={
                "upstream": "fbank",
                "downstream": "emotion_mean_std",
                "device": "cpu",
                "override": f"{steps},,config.downstream_expert.datarc.labels={labels}",
            },
            corpus="demo",
            folds=(1,),
            root=tmp_path / str(count),
            cache_options=CacheOptions(Path(cache_root)),
        )
        folder, results = run(request, SplitCache({"superb": (manifest.with_utterances(items), folds)}))
        content = torch.load(folder / "fold1" / "dev-best.ckpt", weights_only=True)
        return content["Downstream"]["head.classifier.weight"], results, manifest

    return start


def test_certain_votes_are_hard_labels_and_others_are_not(train):
    hard, *_ = train(lambda item: None, "hard")
    certain, results, manifest = train(lambda item: {item.label: 1.0})
    assert torch.equal(hard, certain)
    assert "trained on annotators' votes" in results.deviations
    first, second = manifest.labels[:2]
    torn, *_ = train(lambda item: {first: 0.5, second: 0.5})
    assert not torch.allclose(hard, torn)


def test_utterances_without_votes_keep_their_label(train):
    partly, *_ = train(lambda item: {item.label: 1.0} if item.speaker.endswith("F") else None)
    hard, *_ = train(lambda item: None, "hard")
    assert torch.equal(hard, partly)


def test_no_votes_at_all_is_an_error(train):
    with pytest.raises(ConfigError, match="labels is soft, but no training utterance of demo has annotators' votes"):
        train(lambda item: None)
    with pytest.raises(ConfigError, match="unknown labels 'sofd'"):
        train(lambda item: None, "sofd")


@pytest.mark.parametrize(("name", "options", "smoothing"), [("cross_entropy", {}, 0.0), ("label_smoothing", {}, 0.25)])
def test_objectives_with_votes_by_hand(name, options, smoothing):
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.0]], dtype=torch.float64)
    votes = torch.tensor([[0.6, 0.4, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    target = votes * (1 - smoothing) + smoothing / 3
    expected = -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()
    assert objectives.build(name, options, where="test")(logits, votes).item() == pytest.approx(expected.item())
