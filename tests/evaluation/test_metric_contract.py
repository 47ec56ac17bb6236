"""What every registered metric keeps to. A new one is found here by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reporting.runs import make_run
from sklearn import metrics as sk

from s3prl_emotion.cli import main
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.evaluation import metrics
from s3prl_emotion.evaluation.metrics import Measure, Rate, Rates
from s3prl_emotion.evaluation.runs import recompute
from s3prl_emotion.published import superb_rows
from s3prl_emotion.reporting import results_table
from s3prl_emotion.runs.prediction import Prediction
from s3prl_emotion.runs.results import RATES, FoldResult, Results, read_results

LABELS = ["neutral", "happy", "angry", "sad"]
NAMES = metrics.metrics.names()
every_metric = pytest.mark.parametrize("metric", map(metrics.metrics.get, NAMES), ids=NAMES)
every_rate = pytest.mark.parametrize("rate", metrics.rates().values(), ids=metrics.rates())
every_measure = pytest.mark.parametrize("measure", metrics.measures().values(), ids=metrics.measures())


def _recalls_where_known(truth: list[str], predicted: list[str]) -> float:
    known = [label for label in LABELS if label in truth]
    return float(sk.recall_score(truth, predicted, labels=known, average="macro", zero_division=0))


def _f1(truth: list[str], predicted: list[str]) -> float:
    known = [label for label in LABELS if label in {*truth, *predicted}]
    return float(sk.f1_score(truth, predicted, labels=known, average="macro", zero_division=0))


# What scikit-learn computes; a metric that it has belongs in here.
SCIKIT: dict[str, Callable[[list[str], list[str]], float]] = {
    "ua": _recalls_where_known,
    "wa": sk.accuracy_score,
    "macro_f1": _f1,
    "ua_plus_wa": lambda truth, predicted: _recalls_where_known(truth, predicted) + sk.accuracy_score(truth, predicted),
}


def _draw(seed: int, classes: int = 4) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    return tuple(rng.choice(LABELS[:classes], 30).tolist() for _ in range(2))  # type: ignore[return-value]


def _predictions(seed: int, certain: bool = False) -> list[Prediction]:
    """Some predictions with probabilities and annotators' rates; of those that are certain all are right."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(40):
        truth = int(rng.integers(4))
        shares = np.eye(4)[truth] if certain else rng.dirichlet(np.ones(4))
        soft = tuple(np.eye(4)[truth].tolist()) if certain else tuple(rng.dirichlet(np.ones(4)).tolist())
        guess = LABELS[int(shares.argmax())]
        found.append(Prediction(1, f"u{number}", "s", LABELS[truth], guess, tuple(shares.tolist()), soft))
    return found


@every_metric
def test_it_says_what_it_is(metric: metrics.Metric) -> None:
    assert metrics.metrics.get(metric.name) is metric
    assert metric.title.strip() == metric.title != ""
    assert isinstance(metric, (Rate, Measure))
    reserved = {field.name for record in (Results, FoldResult) for field in dataclasses.fields(record)}
    assert metric.name not in reserved, "results.json has another key of that name"
    assert any(digit.isdigit() for digit in metric.shown(0.5))


def test_titles_and_names_are_told_apart() -> None:
    found = [*metrics.rates().values(), *metrics.measures().values()]
    assert len(found) == len(metrics.metrics.names())
    assert len({metric.title for metric in found}) == len(found)
    assert [metric.place for metric in found] == sorted(metric.place for metric in found)
    assert set(RATES) <= set(metrics.columns()), "what schema 1 asks for is computed"
    with pytest.raises(ConfigError, match="unknown metric 'uar'"):
        metrics.metrics.get("uar")


@every_rate
@pytest.mark.parametrize("seed", range(5))
def test_a_rate_is_in_its_range_and_perfect_predictions_give_the_largest(rate: Rate, seed: int) -> None:
    truth, predicted = _draw(seed)
    assert 0 <= rate(truth, predicted, LABELS) < rate.upper
    assert rate(truth, truth, LABELS) == pytest.approx(rate.upper)
    wrong = [LABELS[(LABELS.index(label) + 1) % 4] for label in truth]
    assert 0 <= rate(truth, wrong, LABELS) < rate.upper / 2


@every_rate
@pytest.mark.parametrize("seed", range(5))
def test_a_rate_does_not_depend_on_the_order_of_classes(rate: Rate, seed: int) -> None:
    truth, predicted = _draw(seed)
    assert rate(truth, predicted, LABELS[::-1]) == pytest.approx(rate(truth, predicted, LABELS))


@every_rate
def test_a_class_that_is_nowhere_changes_nothing(rate: Rate) -> None:
    truth, predicted = _draw(3, classes=3)
    assert rate(truth, predicted, LABELS) == pytest.approx(rate(truth, predicted, LABELS[:3]))
    assert rate(truth, truth, LABELS) == pytest.approx(rate.upper)


@every_rate
def test_a_rate_is_of_many_matrices_at_once_and_unknown_of_an_empty_one(rate: Rate) -> None:
    full = np.random.default_rng(0).integers(0, 9, (2, 3, 4, 4))
    full[1, 2] = 0
    values = rate.of_confusion(full)
    assert values.shape == (2, 3)
    assert np.isnan(values[1, 2])
    assert float(values[0, 1]) == pytest.approx(float(rate.of_confusion(full[0, 1])))
    assert float(rate.of_confusion(full[0, 0] * 2.5)) == pytest.approx(float(values[0, 0])), "weighted counts"


@pytest.mark.parametrize("name", SCIKIT)
@pytest.mark.parametrize("seed", range(5))
def test_a_rate_is_that_of_scikit_learn(name: str, seed: int) -> None:
    truth, predicted = _draw(seed, classes=3 + seed % 2)
    assert metrics.rates()[name](truth, predicted, LABELS) == pytest.approx(SCIKIT[name](truth, predicted))


@every_measure
@pytest.mark.parametrize("seed", range(5))
def test_a_measure_is_in_its_range_and_certainty_that_is_right_gives_0(measure: Measure, seed: int) -> None:
    value = measure.of_predictions(_predictions(seed), LABELS)
    assert value is not None
    assert 0 < value <= measure.upper
    assert measure.of_predictions(_predictions(seed, certain=True), LABELS) == pytest.approx(0, abs=1e-9)


@every_measure
def test_a_measure_depends_neither_on_the_order_of_classes_nor_of_rows(measure: Measure) -> None:
    items = _predictions(1)
    turned = [
        dataclasses.replace(item, probabilities=(item.probabilities or ())[::-1], soft=(item.soft or ())[::-1])
        for item in reversed(items)
    ]
    expected = measure.of_predictions(items, LABELS)
    assert measure.of_predictions(turned, LABELS[::-1]) == pytest.approx(expected)


@every_measure
def test_a_measure_without_probabilities_is_unknown(measure: Measure) -> None:
    assert measure.of_predictions([Prediction(1, "u", "s", "sad", "sad")], LABELS) is None


@pytest.fixture
def worst_recall(monkeypatch: pytest.MonkeyPatch) -> Rate:
    """A metric from outside."""

    def worst(matrices: Any) -> Rates:
        found = metrics.recalls_of_confusion(matrices)
        return np.where(np.isnan(found).all(axis=-1), np.nan, 2 * np.fmin.reduce(found, axis=-1))

    metrics.metrics.names()
    monkeypatch.setattr(metrics.metrics, "_entries", dict(metrics.metrics._entries))
    return metrics.register(Rate("worst_recall", "worst recall", upper=2.0, of_confusion=worst))


def test_a_new_metric_is_one_entry(
    worst_recall: Rate, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "a", 0.9)
    make_run(tmp_path / "b", 0.8, downstream="emotion_corr", rng=4)
    results = recompute(tmp_path / "a")
    assert max(fold.rates["worst_recall"] for fold in results.folds) > 1
    expected = np.mean([fold.rates["worst_recall"] for fold in results.folds])
    assert results.rates["worst_recall"].mean == pytest.approx(expected)
    table = results_table(results, superb_rows("hubert"))
    assert "worst recall %" in table
    assert f"{100 * expected:.2f}" in table
    for form in ("table", "csv", "json", "markdown"):
        assert main(["compare", str(tmp_path), "--metric", "worst_recall", "--format", form]) == 0
        out = " ".join(capsys.readouterr().out.split())
        assert ("worst_recall" if form in ("csv", "json") else "worst recall") in out
    monkeypatch.undo()
    without = read_results(tmp_path / "a" / "results.json")  # where nobody knows the metric any more
    assert without == results
    assert "worst" not in results_table(without)


def test_a_name_is_taken_once(worst_recall: Rate) -> None:
    with pytest.raises(ValueError, match="metric 'worst_recall' is registered twice"):
        metrics.register(dataclasses.replace(worst_recall, title="another"))
    with pytest.raises(ValueError, match="upper must be above 0, found -1"):
        dataclasses.replace(worst_recall, upper=-1)
