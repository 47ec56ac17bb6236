"""The figures of a model card, of records made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from reporting.runs import make_run

from s3prl_emotion.config import from_mapping
from s3prl_emotion.deployment.card import model_card
from s3prl_emotion.deployment.format import FORMAT, VERSION, CorpusFacts, ExportConfig, ExportedUpstream, Features
from s3prl_emotion.downstream.config import ModelConfig
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.mapping import to_mapping
from s3prl_emotion.runs.results import results_of


def _config(record: dict[str, Any]) -> ExportConfig:
    return ExportConfig(
        format=FORMAT,
        version=VERSION,
        upstream=ExportedUpstream("hubert"),
        features=Features(16000, 320, 768, 13),
        downstream="emotion_mean",
        modelrc=ModelConfig(pooling={"name": "mean"}, projector_dim=256),
        labels=tuple(record["protocol"]["labels"]),
        folds=(1, 2, 3, 4, 5),
        corpus=CorpusFacts("iemocap"),
        results=results_of(record, "results"),
    )


def _card(record: dict[str, Any]) -> ModelCard:
    return ModelCard(model_card(_config(record)))


@pytest.mark.parametrize("entangled", [False, True])
def test_the_card_quotes_what_the_headline_says(tmp_path: Path, entangled: bool) -> None:
    record = make_run(tmp_path, entangled=entangled)
    assert record["headline"]["of"] == ("pooled" if entangled else "mean")
    card = _card(record)
    listed = {item.metric_type: item for item in card.data.eval_results}
    for kind, name in (("recall", "ua"), ("accuracy", "wa"), ("f1", "macro_f1")):
        pooled, mean = record["pooled"][name]["value"], record[name]["mean"]
        assert listed[kind].metric_value == round(pooled if entangled else mean, 4)
        said = "over the predictions of all folds together" if entangled else "mean over folds"
        assert listed[kind].metric_name.endswith(f", {said}")
    assert listed["recall"].metric_name.startswith("UA (mean of per-class recalls), ")
    flat = " ".join(card.text.split())
    why = "The figures to quote are those over the predictions of all folds together (pooled), not the means over folds"
    assert (f"{why}: {record['headline']['reason']}." in flat) is entangled
    assert ("test folds lack classes" in flat) is entangled


def test_a_record_of_before_there_were_pooled_rates_is_quoted_by_its_means(tmp_path: Path) -> None:
    record = make_run(tmp_path, entangled=True)
    for key in ("pooled", "headline"):
        del record[key]
    listed = {item.metric_type: item.metric_value for item in _card(record).data.eval_results}
    assert listed["recall"] == round(record["ua"]["mean"], 4)


def test_an_export_holds_the_record_as_the_run_does(tmp_path: Path) -> None:
    record = make_run(tmp_path, settings={"demo": False, "lr": 0.1, "deviations": ["3 steps"]})
    config = _config({**record, "remark": "kept"})
    content = json.loads(json.dumps(to_mapping(config)))
    assert json.dumps(content["results"]) == json.dumps({**record, "remark": "kept"})
    assert from_mapping(ExportConfig, content, "config.json") == config
    content["results"]["folds"][0]["wa"] = 70
    with pytest.raises(
        ConfigError, match=r"config\.json\.results: folds\[0\]\.wa: expected a fraction in \[0, 1\], found 70"
    ):
        from_mapping(ExportConfig, content, "config.json")
