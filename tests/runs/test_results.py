"""``results.json`` and back: typed on the way, the same bytes at the end, whichever version wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from reporting.runs import make_run

from s3prl_emotion.errors import RunError
from s3prl_emotion.mapping import to_mapping
from s3prl_emotion.runs.results import (
    FoldResult,
    Results,
    RunSettings,
    Summary,
    read_results,
    results_of,
    write_results,
)

SECOND = ("pooled", "headline", "corpus_name")  # keys that came after those of the first version, latest first
FIRST = ("ua_plus_wa", "recalls", "ece", "brier", "kl_to_annotators", "ci95_folds_method")


def _text(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _older(results: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in results.items() if key not in SECOND}


def _first(results: dict[str, Any]) -> dict[str, Any]:
    older = {key: value for key, value in _older(results).items() if key not in FIRST}
    for rate in ("ua", "wa", "macro_f1"):
        older[rate] = {key: older[rate][key] for key in ("mean", "std", "ci95")}
    return older


def _later(results: dict[str, Any]) -> dict[str, Any]:
    """Keys of versions to come, at every level, and other places of those that are known."""
    turned = dict(reversed(list(results.items())))
    turned = {"remark": {"kept": [1, None]}, **turned, "ear": 0.25, "place": None}
    for name in ("protocol", "ua", "pooled", "headline", "settings"):
        turned[name] = {"note": ["x"], **turned[name], "also": {}}
    turned["folds"] = [{"early": True, **fold, "uar": 0.5, "words": "x"} for fold in turned["folds"]]
    turned["pooled"] = {name: {**rate, "n": 3} for name, rate in results["pooled"].items()}
    turned["protocol"]["lacking"] = [{"fold": 1, "part": "dev", "classes": ["sad"], "count": 4}]
    return turned


def _nulls(results: dict[str, Any]) -> dict[str, Any]:
    """Null where a value may be unknown."""
    turned = {**results, "settings": None, "corpus_name": None, "checkpoint_sha256": None}
    turned["protocol"] = {**turned["protocol"], "order": None, "sha256": None}
    turned["folds"] = [{**fold, "step": None} for fold in turned["folds"]]
    return turned


@pytest.mark.parametrize("change", [dict, _older, _first, _later, _nulls])
@pytest.mark.parametrize("folds", [(1, 2, 3, 4, 5), (2,)])
def test_written_as_it_was_read(tmp_path: Path, change: Any, folds: tuple[int, ...]) -> None:
    settings = {"demo": True, "total_steps": 3, "file": {"total_steps": 30}, "deviations": ["3 steps"]}
    content = change(make_run(tmp_path / "run", folds=folds, settings=settings))
    path = tmp_path / "results.json"
    path.write_text(_text(content), encoding="utf-8")
    write_results(tmp_path / "again.json", read_results(path))
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_what_summarise_gives_is_what_is_read(tmp_path: Path) -> None:
    made = make_run(tmp_path)
    path = tmp_path / "results.json"
    assert path.read_text(encoding="utf-8") == _text(made)
    results = read_results(path)
    assert to_mapping(results) == made
    assert isinstance(results, Results)
    assert isinstance(results.folds[0], FoldResult)
    assert isinstance(results.rates["ua_plus_wa"], Summary)
    assert isinstance(results.settings, RunSettings)
    assert results.numbers == (1, 2, 3, 4, 5)
    assert results.labels == ("neutral", "happy", "angry", "sad")
    assert list(results.measures) == ["ece", "brier", "kl_to_annotators"]
    assert results.further == {}


def test_what_an_old_record_lacks_is_none(tmp_path: Path) -> None:
    results = results_of(_first(make_run(tmp_path)), "old")
    assert (results.pooled, results.headline, results.corpus_name, results.recalls) == (None,) * 4
    assert results.ci95_folds_method is None
    assert results.rates["ua"].ci95_folds is None
    assert (results.measures, results.is_pooled) == ({}, False)
    assert sorted(results.rates) == ["macro_f1", "ua", "wa"]


def test_keys_of_later_versions_are_kept_where_they_were(tmp_path: Path) -> None:
    results = results_of(_later(make_run(tmp_path)), "later")
    assert results.further == {"remark": {"kept": [1, None]}}
    assert results.measures["ear"] == 0.25
    assert results.folds[0].rates["uar"] == 0.5
    assert results.folds[0].further == {"early": True, "words": "x"}
    assert results.protocol.further == {"note": ["x"], "also": {}}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("ua_plus_wa.mean", "much", r"x\.json: ua_plus_wa\.mean: expected a number, found 'much'"),
        ("folds.0.wa", 1.5, r"x\.json: folds\[0\]\.wa: expected a fraction in \[0, 1\], found 1\.5"),
        ("pooled.wa.ci95", [0.1], r"x\.json: pooled\.wa\.ci95: expected two numbers or null, found list \[0\.1\]"),
        ("protocol.lacking", [{"fold": 1}], r"protocol\.lacking\[0\]: missing part, classes of schema 1"),
        ("headline.of", "pooled ", r"headline\.of: expected mean or pooled, found 'pooled '"),
        ("recalls.sad", 2, r"recalls\.sad: expected a fraction in \[0, 1\] or null, found 2"),
        ("settings.file", 3, r"settings\.file: expected a mapping or null, found 3"),
        ("complete", 1, r"complete: expected true or false, found 1"),
        ("schema", 1.5, r"x\.json: has schema 1\.5, this version reads and writes schema 1"),
    ],
)
def test_errors_name_file_and_key(tmp_path: Path, path: str, value: Any, message: str) -> None:
    content = place = make_run(tmp_path)
    *outer, last = path.split(".")
    for part in outer:
        place = place[int(part) if part.isdigit() else part]
    place[last] = value
    with pytest.raises(RunError, match=message):
        results_of(content, "x.json")


def test_a_pooled_headline_needs_pooled_rates(tmp_path: Path) -> None:
    content = make_run(tmp_path, entangled=True)
    assert results_of(content, "x.json").is_pooled
    del content["pooled"]
    with pytest.raises(RunError, match=r"x\.json: headline\.of: expected mean, since pooled rates are missing"):
        results_of(content, "x.json")
