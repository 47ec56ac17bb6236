"""The figures of a model card, of records made by hand."""

from __future__ import annotations

import dataclasses
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from reporting.runs import make_run

from s3prl_emotion.config import from_mapping
from s3prl_emotion.downstream.config import ModelConfig
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.inference.export_files import (
    FORMAT,
    VERSION,
    CorpusFacts,
    ExportConfig,
    ExportedUpstream,
    Features,
    model_card,
)
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


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](https://h/x.png)",
    "```\n<b>out</b>",
    "` <i>code</i> `",
    "a\n---\nlicense: mit",
    "a\n# Heading\n- item",
    "\\[a](javascript:1)",
    "<javascript:alert(1)>",
    "a|b",
    "&#106;avascript:",
    "\x1b[31m\u202e",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_names_of_others_are_shown_as_they_are(tmp_path: Path, text: str) -> None:
    """In a card nothing of a label, corpus or upstream begins a tag, a link, a block or another key."""
    record = make_run(tmp_path, entangled=True)
    plain = _config(record)
    assert plain.results is not None
    results = dataclasses.replace(
        plain.results,
        upstream=text,
        downstream=text,
        corpus=text,
        protocol=dataclasses.replace(plain.results.protocol, name=text, selection=text, dev=text),
    )
    card = model_card(
        dataclasses.replace(
            plain,
            upstream=dataclasses.replace(plain.upstream, name=text, checkpoint=text, checkpoint_sha256=text),
            downstream=text,
            labels=(text, *plain.labels[1:]),
            corpus=CorpusFacts(text, text, text),
            preparation=text,
            results=results,
            versions={text: text},
        )
    )
    page = ModelCard(card)
    assert page.data.license == "other"
    reader = pytest.importorskip("markdown_it")
    tokens = reader.MarkdownIt("commonmark", {"html": True}).enable("table").parse(page.text)
    inner = [child for token in tokens for child in (token, *(token.children or ()))]
    assert [token.content for token in inner if token.type in ("html_block", "html_inline")] == []
    links = {str(token.attrs.get("href") or token.attrs.get("src")) for token in inner if token.attrs}
    assert {link for link in links - {"None"} if "s3prl" not in link} == set()
    assert sum(token.type == "heading_open" for token in tokens) == 5
    assert not any(unicodedata.category(letter) in ("Cc", "Cf") and letter != "\n" for letter in card)
