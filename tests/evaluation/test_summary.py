"""The record of a run, against numbers computed by hand."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation.summary import summarise, versions
from s3prl_emotion.mapping import to_mapping
from s3prl_emotion.runs.prediction import Prediction
from s3prl_emotion.runs.results import read_results, results_of, write_results

PROTOCOL = {
    "name": "strict",
    "split_sha256": "ab" * 32,
    "dev": "held-out speakers",
    "selection": "dev UA",
    "transductive": False,
}


def _fold(fold: int, pairs: str) -> list[Prediction]:
    """Predictions from pairs of truth and prediction: ``"aa ab"``; one speaker per fold."""
    return [Prediction(fold, f"u{i}", f"s{fold}", pair[0], pair[1]) for i, pair in enumerate(pairs.split())]


def _summary(predictions: list[Prediction], **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "upstream": "hubert",
        "checkpoint_sha256": None,
        "downstream": "emotion_mean",
        "corpus": "iemocap",
        "protocol": PROTOCOL,
        "steps": {1: 100, 2: 200, 3: 300},
        "seed": 7,
        "versions": {"python": "3"},
        "settings": None,
    }
    return to_mapping(summarise(predictions, ["a", "b"], **{**arguments, **changes}))


# fold 1: UA (1/2 + 1)/2 = 0.75, WA 2/3; fold 2: UA (2/3 + 0)/2 = 1/3, WA 1/2; fold 3: 1 and 1
THREE = _fold(1, "aa ab bb") + _fold(2, "aa aa ab ba") + _fold(3, "aa bb")


def test_numbers_by_hand() -> None:
    results = _summary(THREE)
    assert [fold["ua"] for fold in results["folds"]] == pytest.approx([0.75, 1 / 3, 1])
    assert [fold["wa"] for fold in results["folds"]] == pytest.approx([2 / 3, 1 / 2, 1])
    # fold 1: a 2/3, b 2/3; fold 2: a 4/6, b 0; fold 3: 1, 1
    assert [fold["macro_f1"] for fold in results["folds"]] == pytest.approx([2 / 3, 1 / 3, 1])
    assert [(fold["fold"], fold["n"], fold["step"]) for fold in results["folds"]] == [
        (1, 3, 100),
        (2, 4, 200),
        (3, 2, 300),
    ]
    assert results["confusion"] == [[4, 2], [1, 2]]
    assert results["chance"] == 0.5


def test_mean_std_and_interval_by_hand() -> None:
    # Accuracies 0.6, 0.7, 0.8: mean 0.7, sample std 0.1; t(0.975, 2) = 4.302653 from printed tables.
    tenths = [
        item
        for fold, hits in ((1, 6), (2, 7), (3, 8))
        for item in _fold(fold, " ".join(["aa"] * hits + ["ab"] * (10 - hits)))
    ]
    wa = _summary(tenths)["wa"]
    assert wa["mean"] == pytest.approx(0.7)
    assert wa["std"] == pytest.approx(0.1)
    half = 4.302653 * 0.1 / 3**0.5
    assert wa["ci95_folds"] == pytest.approx([0.7 - half, 0.7 + half], abs=1e-6)
    # one speaker per fold: the same, but for the error of 2000 draws
    assert wa["ci95"] == pytest.approx(wa["ci95_folds"], abs=0.01)
    assert wa["ci95"] != wa["ci95_folds"]


def test_interval_is_clipped_and_labelled() -> None:
    results = _summary(THREE)
    assert results["ua"]["ci95_folds"] == [0.0, 1.0]
    assert results["ua_plus_wa"]["ci95_folds"] == pytest.approx([0.0, 2.0])
    assert results["ci95_folds_method"].startswith("Student t over folds")
    assert "its 3 speakers are drawn with replacement 2000 times" in results["ci95_method"]


def test_one_fold_has_no_spread() -> None:
    results = _summary(_fold(2, "aa ab bb"))
    assert results["ua"] == {"mean": 0.75, "std": None, "ci95": None, "ci95_folds": None}
    assert results["ci95_method"] == "no interval over speakers: there is one speaker only"


def test_further_numbers_by_hand() -> None:
    results = _summary(THREE)
    # UA + WA: 0.75 + 2/3, 1/3 + 1/2, 2
    assert results["ua_plus_wa"]["mean"] == pytest.approx((0.75 + 2 / 3 + 1 / 3 + 1 / 2 + 2) / 3)
    assert results["recalls"] == pytest.approx({"a": 4 / 6, "b": 2 / 3})
    assert (results["ece"], results["brier"], results["kl_to_annotators"]) == (None, None, None)
    items = [
        Prediction(1, "u", "s", "a", "a", (0.8, 0.2), (0.5, 0.5)),
        Prediction(1, "v", "s", "a", "b", (0.4, 0.6)),
    ]
    results = _summary(items)
    assert results["recalls"] == {"a": 0.5, "b": None}
    assert results["ece"] == pytest.approx((0.2 + 0.6) / 2)
    assert results["brier"] == pytest.approx((2 * 0.2**2 + 2 * 0.6**2) / 2)
    assert results["kl_to_annotators"] == pytest.approx(0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2))
    assert _summary([*items, Prediction(2, "w", "s", "a", "a")])["ece"] is None


def test_a_record_of_the_first_version_is_readable(tmp_path: Path) -> None:
    results = _summary(THREE)
    added = ("ua_plus_wa", "recalls", "ece", "brier", "kl_to_annotators", "ci95_folds_method")
    for key in (*added, "pooled", "headline", "corpus_name"):
        del results[key]
    for rate in ("ua", "wa", "macro_f1"):
        del results[rate]["ci95_folds"]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))
    assert to_mapping(read_results(path)) == results


def test_schema_is_exactly_the_documented_one() -> None:
    results = _summary(THREE)
    assert list(results) == [
        *(
            "schema",
            "upstream",
            "checkpoint_sha256",
            "downstream",
            "corpus",
            "corpus_name",
            "protocol",
            "folds",
            "ua",
            "wa",
            "macro_f1",
        ),
        *(
            "ua_plus_wa",
            "pooled",
            "headline",
            "recalls",
            "ece",
            "brier",
            "kl_to_annotators",
            "confusion",
            "seed",
            "versions",
            "ci95_method",
        ),
        *("ci95_folds_method", "complete", "folds_expected", "chance", "settings"),
    ]
    assert results["schema"] == 1
    assert set(results["protocol"]) == {"name", "split_sha256", "dev", "selection", "labels", "transductive"}
    assert results["protocol"]["labels"] == ["a", "b"]
    assert set(results["folds"][0]) == {"fold", "n", "ua", "wa", "macro_f1", "step"}


def _entangled(folds: int = 5) -> list[Prediction]:
    """Two classes; the speakers of two folds have only one of them, which is easy there."""
    rng = np.random.default_rng(4)
    items = []
    for fold in range(1, folds + 1):
        for speaker in range(6):
            for i in range(12):
                truth = "a" if fold > folds - 2 or (speaker + i) % 3 else "b"
                guess = truth if rng.random() < (0.9 if fold > folds - 2 else 0.4) else "ab"[truth == "a"]
                items.append(Prediction(fold, f"{speaker}-{i}", f"{fold}-{speaker}", truth, guess))
    return items


def test_pooled_rates_are_those_of_scikit_learn_and_the_headline_where_folds_lack_classes() -> None:
    items = _entangled()
    results = _summary(items, steps=dict.fromkeys(range(1, 6), 1))
    truth, guess = [item.truth for item in items], [item.predicted for item in items]
    pooled = results["pooled"]
    assert pooled["ua"]["value"] == pytest.approx(balanced_accuracy_score(truth, guess), abs=1e-12)
    assert pooled["wa"]["value"] == pytest.approx(accuracy_score(truth, guess), abs=1e-12)
    assert pooled["macro_f1"]["value"] == pytest.approx(f1_score(truth, guess, average="macro"), abs=1e-12)
    assert results["ua"]["mean"] > pooled["ua"]["value"] + 0.05  # the flattering figure
    assert results["headline"]["of"] == "pooled"
    assert "2 of 5 test folds lack classes (fold 4 has no b; fold 5 has no b)" in results["headline"]["reason"]
    complete = _summary(items[: 3 * 72], steps=dict.fromkeys(range(1, 4), 1))
    assert complete["headline"] == {"of": "mean", "reason": None}


def test_the_pooled_interval_is_that_of_drawn_speakers() -> None:
    """Against a plain bootstrap of whole speakers, whose utterances scikit-learn scores."""
    items = _entangled()
    found = _summary(items, steps=dict.fromkeys(range(1, 6), 1))["pooled"]["ua"]
    by_speaker: dict[str, list[Prediction]] = {}
    for item in items:
        by_speaker.setdefault(item.speaker, []).append(item)
    names, rng, drawn = list(by_speaker), np.random.default_rng(9), []
    for _ in range(400):
        rows = [item for name in rng.choice(names, len(names)) for item in by_speaker[name]]
        drawn.append(balanced_accuracy_score([item.truth for item in rows], [item.predicted for item in rows]))
    half_width = stats.t.ppf(0.975, 29) * np.std(drawn, ddof=1) * math.sqrt(30 / 29)
    assert (found["ci95"][1] - found["ci95"][0]) / 2 == pytest.approx(half_width, rel=0.1)
    assert sum(found["ci95"]) / 2 == pytest.approx(found["value"])


def test_no_number_depends_on_the_order_of_rows() -> None:
    items = [*_entangled(), Prediction(1, "x", "", "a", "a"), Prediction(2, "x", "", "b", "a")]
    shuffled = [items[k] for k in np.random.default_rng(0).permutation(len(items))]
    steps = dict.fromkeys(range(1, 6), 1)
    assert _summary(shuffled, steps=steps) == _summary(items, steps=steps) == _summary(items[::-1], steps=steps)


def test_completeness() -> None:
    assert _summary(THREE)["complete"] is True
    partial = _summary(_fold(1, "aa") + _fold(3, "aa"))
    assert partial["complete"] is False
    assert partial["folds_expected"] == [1, 2, 3]
    assert _summary(THREE, folds_expected=[5, 4, 3, 2, 1])["folds_expected"] == [1, 2, 3, 4, 5]
    assert _summary(THREE, folds_expected=[1, 2, 3, 4])["complete"] is False


def test_disagreements_are_errors() -> None:
    with pytest.raises(RunError, match="no predictions to summarise"):
        _summary([])
    with pytest.raises(RunError, match=r"fold 3, which is not one of the expected folds \[1, 2\]"):
        _summary(THREE, folds_expected=[1, 2])
    with pytest.raises(RunError, match=r"fold 3, but steps names only \[1, 2\]"):
        _summary(THREE, steps={1: 1, 2: 1}, folds_expected=[1, 2, 3])
    with pytest.raises(RunError, match=r"labels \['b', 'a'\] are not those given: \['a', 'b'\]"):
        _summary(THREE, protocol={**PROTOCOL, "labels": ["b", "a"]})
    with pytest.raises(RunError, match="'c' is not one of the labels a, b"):
        _summary(_fold(1, "ac"))
    with pytest.raises(RunError, match="protocol: missing dev of schema 1"):
        _summary(THREE, protocol={key: value for key, value in PROTOCOL.items() if key != "dev"})


def test_round_trip(tmp_path: Path) -> None:
    results = _summary(THREE, settings={"demo": True, "lr": 1e-3})
    path = tmp_path / "run" / "results.json"
    write_results(path, results_of(results, "results"))
    assert to_mapping(read_results(path)) == results
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "has schema 2, this version reads and writes schema 1"),
        ({"schema": None}, "has schema None"),
        ({"ua": {"mean": 0.5, "std": None}}, "ua: missing ci95 of schema 1"),
        ({"ua": {"mean": 63.2, "std": None, "ci95": None}}, r"ua.mean: expected a fraction in \[0, 1\], found 63.2"),
        ({"folds": []}, "folds: expected a list with at least one fold"),
        ({"folds": [{"fold": 1}]}, r"folds\[0\]: missing n, ua, wa, macro_f1, step"),
        ({"confusion": [[1, 2]]}, r"confusion: expected 2 rows of 2 for 2 labels, found rows of \[2\]"),
        ({"confusion": 3}, "confusion: expected a list of lists, found 3"),
        ({"protocol": "strict"}, "protocol: expected a mapping"),
    ],
)
def test_schema_mismatch_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "results.json"
    broken = {**_summary(THREE), **change}
    path.write_text(json.dumps(broken))
    with pytest.raises(RunError, match=message):
        read_results(path)


def test_unreadable_files(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with pytest.raises(RunError, match="no such file"):
        read_results(path)
    path.write_text("{")
    with pytest.raises(RunError, match="not JSON"):
        read_results(path)
    path.write_text("[]")
    with pytest.raises(RunError, match="expected a mapping of keys to values, found list"):
        read_results(path)
    del_key = {key: value for key, value in _summary(THREE).items() if key != "seed"}
    path.write_text(json.dumps(del_key))
    with pytest.raises(RunError, match="missing seed of schema 1"):
        read_results(path)


def test_what_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    results = results_of(_summary(THREE, settings={"lr": float("nan")}), "results")
    with pytest.raises(RunError, match="refusing to write"):
        write_results(tmp_path / "results.json", results)
    wrong = dataclasses.replace(results, chance="a quarter")  # type: ignore[arg-type]
    with pytest.raises(RunError, match=r"refusing to write: chance: expected a fraction in \[0, 1\]"):
        write_results(tmp_path / "results.json", wrong)
    assert not list(tmp_path.iterdir())


def test_versions_name_every_package(monkeypatch: pytest.MonkeyPatch) -> None:
    found = versions()
    assert list(found) == ["python", "s3prl_emotion", "s3prl", "torch", "torchaudio", "transformers", "numpy"]
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["numpy"] is not None
    monkeypatch.setattr("s3prl_emotion.evaluation.summary.PACKAGES", ("no-such-package-installed",))
    assert versions()["no-such-package-installed"] is None


def test_import_is_light() -> None:
    """Every module of the three rooms."""
    code = (
        "import importlib, pkgutil, sys\n"
        "for room in ('runs', 'evaluation', 'reporting'):\n"
        "    package = importlib.import_module(f's3prl_emotion.{room}')\n"
        "    for module in pkgutil.walk_packages(package.__path__, f'{package.__name__}.'):\n"
        "        importlib.import_module(module.name)\n"
        "print(sorted({'torch', 's3prl', 'scipy', 'sklearn', 'transformers'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
