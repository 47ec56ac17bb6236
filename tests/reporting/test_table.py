"""The printed table: its key lines, its warnings, and when it calls numbers comparable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from s3prl_emotion.evaluation import PublishedResult, paper_rows, summarise, superb_rows
from s3prl_emotion.mapping import to_mapping
from s3prl_emotion.reporting import confusion_table, results_table
from s3prl_emotion.runs.prediction import Prediction
from s3prl_emotion.runs.results import results_of

LABELS = ["neutral", "happy", "angry", "sad"]
PROTOCOL = {
    "name": "superb",
    "split_sha256": "ab" * 32,
    "dev": "random 20 % of the training utterances",
    "selection": "dev WA",
    "transductive": False,
}


def _results(
    hits: tuple[int, ...] = (6, 7, 8, 7, 7), labels: list[str] = LABELS, protocol: str = "superb", **changes: Any
) -> dict[str, Any]:
    """A run in which each class of fold i has ``hits[i]`` of 10 right, the rest predicted as the next class."""
    predictions = [
        Prediction(
            fold,
            f"{label}{i}",
            f"s{fold}",
            label,
            label if i < right else labels[(labels.index(label) + 1) % len(labels)],
        )
        for fold, right in enumerate(hits, start=1)
        for label in labels
        for i in range(10)
    ]
    arguments: dict[str, Any] = {
        "upstream": "hubert",
        "checkpoint_sha256": None,
        "downstream": "emotion_mean",
        "corpus": "iemocap",
        "protocol": {**PROTOCOL, "name": protocol},
        "steps": {fold: 1000 * fold for fold in range(1, len(hits) + 1)},
        "folds_expected": range(1, 6),
        "seed": 1337,
        "versions": {},
    }
    return to_mapping(summarise(predictions, labels, **{**arguments, **changes}))


def _table(results: dict[str, Any], published: Sequence[PublishedResult] = ()) -> str:
    return results_table(results_of(results, "results"), published)


def _confusion(results: dict[str, Any]) -> str:
    return confusion_table(results_of(results, "results"))


def _rows(table: str) -> dict[str, list[str]]:
    """First word of each line to its cells, split at two or more blanks."""
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.splitlines()]
    return {row[0]: row[1:] for row in cells if row}


def test_rows_of_the_run() -> None:
    rows = _rows(_table(_results(), superb_rows("hubert")))
    assert rows["fold"] == ["n", "UA %", "WA %", "macro-F1 %", "step"]
    assert rows["1"] == ["40", "60.00", "60.00", "60.00", "1000"]
    assert rows["5"] == ["40", "70.00", "70.00", "70.00", "5000"]
    assert rows["mean"] == ["70.00"] * 3
    assert rows["std"] == ["7.07"] * 3  # 0.1 * sqrt(2 / 4)
    # t(0.975, 4) = 2.776445; 70 ± 2.776445 * 7.071068 / sqrt(5)
    assert rows["95 % folds"] == ["61.22 to 78.78"] * 3
    # five folds of one speaker each: the same but for the error of 2000 draws
    assert len(set(rows["95 % speakers"])) == 1
    bounds = [float(bound) for bound in rows["95 % speakers"][0].split(" to ")]
    assert bounds == pytest.approx([61.22, 78.78], abs=0.3)
    assert rows["chance"] == ["25.00", "-", "-"]


def test_title_names_everything() -> None:
    title = _table(_results(), []).split("\n\n")[0].replace("\n ", "")
    assert title == (
        "upstream hubert | downstream emotion_mean | corpus iemocap | protocol superb | selection dev WA | "
        "dev random 20 % of the training utterances | labels neutral, happy, angry, sad | seed 1337"
    )


def test_leaderboard_row_stands_under_the_same_folds() -> None:
    table = _table(_results(), superb_rows("hubert"))
    rows = _rows(table)
    assert rows["SUPERB, WA %"] == ["fold 1", "fold 2", "fold 3", "fold 4", "fold 5", "mean"]
    assert rows["this run"] == ["60.00", "70.00", "80.00", "70.00", "70.00", "70.00"]
    assert rows["hubert_base [1]"] == ["62.40", "66.57", "65.25", "65.18", "65.19", "64.92"]
    assert "[1] superbbenchmark public.json 2022-04" in table
    assert "comparable (WA): same corpus, labels and protocol" in table
    assert "not comparable" not in table
    assert "warning" not in table
    assert "Student t over folds" in table
    assert "its 5 speakers are drawn with replacement 2000 times" in table.replace("\n ", "")
    assert "UA + WA 140.00" in table
    assert "ECE" not in table  # the run has no probabilities


def test_iemocap_of_s3prls_own_metadata_is_comparable() -> None:
    table = _table(_results(corpus="superb_metadata", labels=["neu", "hap", "ang", "sad"]), superb_rows("hubert"))
    assert "comparable (WA): same corpus" in table
    assert "not comparable" not in table


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"corpus": "crema_d"}, "this run's corpus is crema_d, the published one iemocap"),
        ({"protocol": "strict"}, "this run's protocol is strict, the published one superb"),
        ({"labels": ["neutral", "happy", "angry", "fearful"]}, "labels are neutral, happy, angry, fearful"),
        ({"labels": ["neutral", "happy", "sad"]}, "labels are neutral, happy, sad"),
        ({"labels": ["neutral", "neu", "angry", "sad"]}, "labels are neutral, neu, angry, sad"),
        ({"hits": (6, 7, 8)}, "folds 4, 5 missing"),
        ({"hits": (6,), "folds_expected": [1]}, "folds 2, 3, 4, 5 missing"),
        ({"settings": {"demo": True}}, "demo settings"),
    ],
)
def test_not_comparable(changes: dict[str, Any], reason: str) -> None:
    table = _table(_results(**changes), superb_rows("hubert"))
    joined = table.replace("\n  ", " ")
    assert "not comparable: " in joined
    assert reason in joined[joined.index("not comparable: ") :]
    assert "comparable (WA)" not in joined
    assert "this run  " not in joined
    assert _rows(table)["hubert_base [1]"][-1] == "64.92"


def test_transductive_run_is_marked() -> None:
    results = _results()
    results["protocol"]["transductive"] = True
    table = _table(results, superb_rows("hubert"))
    assert "not comparable: this run is marked: transductive" in table
    assert "transductive: audio of the test folds was used" in table


@pytest.mark.parametrize(
    ("key", "value", "mark"),
    [
        ("selection_on_test", True, "oracle: epoch chosen on test"),
        ("speaker_disjoint_test", False, "speakers shared between train and test"),
    ],
)
def test_what_a_protocol_allows_is_marked(key: str, value: bool, mark: str) -> None:
    results = _results()
    assert mark not in _table(results, superb_rows("hubert"))
    results["protocol"][key] = value
    table = _table(results, superb_rows("hubert"))
    assert f"\n{mark}\n" in table
    assert f"not comparable: this run is marked: {mark}" in table


def test_calibration_is_printed() -> None:
    table = _table({**_results(), "ece": 0.1234, "brier": 0.5, "kl_to_annotators": 0.25})
    assert (
        "calibration error (ECE) 12.34 %, Brier score 0.5000 of 2, KL to the annotators 0.2500 nats"
        in table.replace("\n ", "")
    )


def test_a_record_of_the_first_version_is_laid_out() -> None:
    results = _results()
    results["ci95_method"] = "Student t over folds"
    added = ("ua_plus_wa", "recalls", "ece", "brier", "kl_to_annotators", "ci95_folds_method")
    for key in (*added, "pooled", "headline", "corpus_name"):
        del results[key]
    for rate in ("ua", "wa", "macro_f1"):
        results[rate]["ci95"] = results[rate].pop("ci95_folds")
    rows = _rows(_table(results))
    assert rows["95 % folds"] == ["61.22 to 78.78"] * 3
    assert "95 % speakers" not in rows


def test_conflicting_sources_are_both_shown() -> None:
    rows = _rows(_table(_results(upstream="fbank"), superb_rows("fbank")))
    assert rows["fbank [1]"] == ["-"] * 5 + ["35.39"]
    assert rows["fbank [2]"] == ["-"] * 5 + ["48.24"]


def test_no_leaderboard_row() -> None:
    table = _table(_results(upstream="mine"), superb_rows("mine"))
    assert "SUPERB leaderboard: no row is known for upstream mine" in table


def test_other_recipes_and_papers_are_listed_apart() -> None:
    published = [*superb_rows("data2vec"), *paper_rows("attentive_correlation", "wavlm_large")]
    table = _table(_results(upstream="data2vec"), published).replace("\n  ", " ")
    assert "no row is known for upstream data2vec" in table
    assert "data2vec_base: WA 67.38 %, emotion2vec paper Table 2" in table
    assert "wavlm_large + attentive_correlation: UA 75.60 (2.33) %, arXiv 2211.01756 Table 1" in table
    assert table.count("not comparable: this run's protocol is superb") == 2


@pytest.mark.parametrize(("right", "warned"), [(20, True), (25, True), (28, True), (29, False)])
def test_chance_warning(right: int, warned: bool) -> None:
    results = _results()
    results["ua"]["mean"] = right / 100
    assert ("above chance (25.00): little or nothing was learned" in _table(results, [])) is warned


def test_missing_folds_are_named() -> None:
    table = _table(_results((6, 7, 8)), [])
    assert "warning: incomplete: folds 4, 5 missing, 3 of 5 folds scored" in table
    assert "incomplete" not in _table(_results(), [])


def test_one_fold() -> None:
    table = _table(_results((6,)), [])
    assert _rows(table)["std"] == ["-"] * 3
    assert _rows(table)["95 % speakers"] == _rows(table)["95 % folds"] == ["-"] * 3
    assert "no interval over speakers: there is one speaker only" in table
    assert "One fold: neither a standard deviation nor an interval" in table


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {
                "demo": True,
                "total_steps": 300,
                "lr": 1e-3,
                "batch": 4,
                "file": {"total_steps": 30000, "lr": 1e-4, "batch": 4},
            },
            "demo settings: total_steps 300 (file: 30000), lr 0.001 (file: 0.0001); not the configuration file's",
        ),
        ({"demo": True, "total_steps": 300}, "demo settings: total_steps 300; not the configuration file's"),
        ({"lr": 1e-3, "file": {"lr": 1e-4}}, "settings: lr 0.001 (file: 0.0001); not the configuration file's"),
        ({"lr": 1e-4, "file": {"lr": 1e-4}}, None),
        (None, None),
    ],
)
def test_settings_line(settings: dict[str, Any] | None, line: str | None) -> None:
    lines = _table(_results(settings=settings), []).splitlines()
    if line is None:
        assert not any("not the configuration file's" in text for text in lines)
    else:
        assert line in lines


def test_confusion_matrix() -> None:
    table = _confusion(_results())
    rows = _rows(table)
    assert table.splitlines()[0] == "Confusion matrix, 200 utterances of 5 folds"
    assert rows["truth \\ predicted"] == ["neutral", "happy", "angry", "sad", "recall"]
    assert rows["neutral"] == ["35", "15", "0", "0", "70.00"]
    assert rows["sad"] == ["15", "0", "0", "35", "70.00"]


def test_confusion_matrix_without_a_class() -> None:
    results = _results()
    results["confusion"][3] = [0, 0, 0, 0]
    assert _rows(_confusion(results))["sad"] == ["0", "0", "0", "0", "-"]


def test_width() -> None:
    long_labels = [f"rather_long_emotion_{i}" for i in range(12)]
    results = _results(labels=long_labels, settings={"demo": True, **{f"setting_{i}": i for i in range(20)}})
    results["upstream"] = "a_very_long_upstream_name_" * 6
    published = superb_rows("fbank") + superb_rows("data2vec") + paper_rows("correlation", "wav2vec2")
    for text in (_table(results, published), _confusion(results)):
        assert max(map(len, text.splitlines())) <= 100
    assert _rows(_confusion(results))["12 rather_long_emotion_11"][-1] == "70.00"
