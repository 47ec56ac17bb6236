"""Comparing runs: what is one system, what is one block, and what the differences are."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reporting.runs import make_run
from scipy import stats

from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation.comparability import not_comparable_runs
from s3prl_emotion.evaluation.comparison import compare
from s3prl_emotion.evaluation.paired_tests import corrected_t, mcnemar
from s3prl_emotion.reporting.comparison import comparison_csv, comparison_json, comparison_text
from s3prl_emotion.runs.prediction import read_predictions, write_predictions
from s3prl_emotion.runs.results import Results, results_of

ORACLE = {"name": "oracle", "selection_on_test": True, "sha256": "ef" * 32, "selection": "test ua"}


def _flat(text: str) -> str:
    return text.replace("\n  ", " ")


def _made(folder: Path, **changes: Any) -> Results:
    return results_of(make_run(folder, **changes), "results")


def test_three_seeds_are_one_system(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"seed{seed}", seed=seed) for seed in (3, 1, 2)]
    (block,) = compare([tmp_path])["blocks"]
    (system,) = block["systems"]
    assert system["seeds"] == [1, 2, 3]
    assert [Path(source).name for source in system["source"]] == ["seed1", "seed2", "seed3"]
    means = [run["ua"]["mean"] for run in runs]
    found = system["figures"]["ua"]
    assert found["mean"] == pytest.approx(np.mean(means))
    assert found["std_seeds"] == pytest.approx(np.std(means, ddof=1))
    by_fold = np.mean([[fold["ua"] for fold in run["folds"]] for run in runs], axis=0)
    assert found["std_folds"] == pytest.approx(np.std(by_fold, ddof=1))
    assert list(found["folds"].values()) == pytest.approx(by_fold.tolist())
    assert found["ci95"][0] < found["mean"] < found["ci95"][1]
    assert system["figures"]["ece"] == pytest.approx(np.mean([run["ece"] for run in runs]))


def test_one_run_has_the_interval_of_its_results(tmp_path: Path) -> None:
    results = make_run(tmp_path / "run", backwards=True)
    (system,) = compare([tmp_path])["blocks"][0]["systems"]
    for rate in ("ua", "wa", "macro_f1", "ua_plus_wa"):
        assert system["figures"][rate]["ci95"] == results[rate]["ci95"]
        assert system["figures"][rate]["pooled"] == results["pooled"][rate]["value"]
        assert system["figures"][rate]["pooled_ci95"] == results["pooled"][rate]["ci95"]
        assert system["figures"][rate]["std_seeds"] is None


def test_other_settings_and_a_repeated_seed_are_other_systems(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    make_run(tmp_path / "b")  # the same seed again
    make_run(tmp_path / "c", seed=2)  # another seed: joins a
    make_run(tmp_path / "d", settings={"demo": False, "deviations": ["300 steps"]})
    (tmp_path / "a" / "run.json").write_text(json.dumps({"seed": 1337, "corpus": {"name": "iemocap", "data": "/x"}}))
    (tmp_path / "c" / "run.json").write_text(json.dumps({"seed": 2, "corpus": {"name": "iemocap", "data": "/y"}}))
    (tmp_path / "b" / "run.json").write_text(json.dumps({"seed": 1337, "corpus": {"name": "iemocap", "data": "/x"}}))
    (block,) = compare([tmp_path])["blocks"]
    assert [[Path(source).name for source in system["source"]] for system in block["systems"]] == [
        ["c", "a"],
        ["b"],
        ["d"],
    ]
    assert block["systems"][2]["remarks"][-1] == "300 steps"


def test_namesakes_say_in_what_they_differ(tmp_path: Path) -> None:
    for name, dtype in (("a", "float16"), ("b", "float32")):
        make_run(tmp_path / name, rng=ord(name))
        (tmp_path / name / "run.json").write_text(json.dumps({"seed": 1, "cache": dtype, "config": {"lr": 1}}))
    (block,) = compare([tmp_path])["blocks"]
    assert [system["remarks"] for system in block["systems"]] == [["cache float16"], ["cache float32"]]


def test_learning_rates_chosen_from_the_same_list_do_not_part_seeds(tmp_path: Path) -> None:
    for seed, rates in ((1, "0.1, 0.01"), (2, "0.1, 0.01"), (3, "0.1")):
        make_run(tmp_path / str(seed), seed=seed, settings={"lr": f"chosen in each fold on its dev set from {rates}"})
    comparison = compare([tmp_path])
    assert [len(system["seeds"]) for system in comparison["blocks"][0]["systems"]] == [2, 1]
    assert "lr chosen in each fold on its dev set from 0.1, 0.01" in comparison_text(comparison)


def test_differences_are_those_of_the_definitions(tmp_path: Path) -> None:
    base = make_run(tmp_path / "a", 0.5, train=80)
    better = make_run(tmp_path / "b", 0.8, downstream="emotion_corr", rng=9, train=80)
    comparison = compare([tmp_path / "a", tmp_path / "b"])
    (item,) = comparison["blocks"][0]["differences"]
    assert (item["key"], item["baseline"], comparison["comparisons"]) == ("B", "A", 1)
    for rate in ("ua", "wa", "macro_f1"):
        by_fold = [b[rate] - a[rate] for a, b in zip(base["folds"], better["folds"], strict=True)]
        assert item[rate]["difference"] == pytest.approx(better[rate]["mean"] - base[rate]["mean"])
        assert item[rate]["p_corrected_t"] == pytest.approx(corrected_t(by_fold, [16] * 5, [80] * 5)[1])
        assert item[rate]["ci95"][0] < item[rate]["difference"] < item[rate]["ci95"][1]
        assert item[rate]["p_holm"] == item[rate]["p_bootstrap"] < 0.05
    correct = [
        [row.truth == row.predicted for row in read_predictions(tmp_path / name / "predictions.csv")[0]]
        for name in "ba"
    ]
    p = mcnemar(*correct)
    assert item["mcnemar"] == {"metric": "wa", "seeds": [[1337, 1337]], "p": [p], "median": p}


def test_mcnemar_is_per_common_seed_and_p_are_adjusted_for_all_differences(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        make_run(tmp_path / f"a{seed}", 0.5, seed)
        make_run(tmp_path / f"b{seed}", 0.6, seed + 1, downstream="emotion_corr", rng=10 + seed)
    make_run(tmp_path / "c", 0.7, 99, downstream="emotion_attn_corr")
    comparison = compare([tmp_path])
    first, second = comparison["blocks"][0]["differences"]
    assert first["mcnemar"]["seeds"] == [[2, 2], [3, 3]]
    assert first["mcnemar"]["median"] == pytest.approx(np.mean(first["mcnemar"]["p"]))
    assert second["mcnemar"]["seeds"] == [[99, 1]]  # none in common
    low, high = sorted((first, second), key=lambda item: item["ua"]["p_bootstrap"])
    assert low["ua"]["p_holm"] == pytest.approx(min(1, 2 * low["ua"]["p_bootstrap"]))
    assert high["ua"]["p_holm"] == pytest.approx(max(low["ua"]["p_holm"], high["ua"]["p_bootstrap"]))
    assert "McNemar" not in comparison_text(comparison)  # it is of WA, not of UA
    text = _flat(comparison_text(compare([tmp_path], metric="wa")))
    assert "adjusted for 2 comparisons" in text
    assert "C: no seed in common with A; McNemar pairs 99 with 1" in text


def test_baseline(tmp_path: Path) -> None:
    make_run(tmp_path / "a", 0.5)
    make_run(tmp_path / "b", 0.8, downstream="emotion_corr", rng=9)
    up = compare([tmp_path])["blocks"][0]["differences"][0]["ua"]["difference"]
    (item,) = compare([tmp_path / "a"], baseline=tmp_path / "b")["blocks"][0]["differences"]
    assert item["ua"]["difference"] == pytest.approx(-up)
    with pytest.raises(RunError, match="the baseline must be the folder of one run"):
        compare([tmp_path / "a"], baseline=tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"corpus": "emodb"}, "corpus emodb, not iemocap"),
        ({"labels": ("neu", "hap", "ang", "sad")}, "labels neu, hap, ang, sad, not neutral, happy, angry, sad"),
        ({"protocol": {"name": "strict"}}, "protocol strict, not superb"),
        ({"protocol": {"sha256": None}}, "another definition of protocol superb: no fingerprint, not cdcdcdcdcdcd"),
        ({"protocol": {"split_sha256": "00"}}, "the same protocol divides the utterances differently"),
        ({"protocol": {"transductive": True}}, "marked transductive"),
        ({"protocol": ORACLE}, "protocol oracle, not superb; marked oracle: epoch chosen on test"),
        (
            {"protocol": {"speaker_disjoint_test": False}},
            "marked speakers shared between train and test",
        ),
        ({"folds": (1, 2)}, "scored folds 1, 2, not folds 1, 2, 3, 4, 5"),
        ({"folds_expected": range(1, 7)}, "only one of the two has all folds"),
        ({"settings": {"demo": True}}, "demo settings, not full ones"),
    ],
)
def test_unlike_tasks_are_in_blocks_of_their_own_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    usual = _made(tmp_path / "a")
    other = _made(tmp_path / "b", **changes)
    said = not_comparable_runs(other, usual)
    assert said is not None
    assert reason in said
    back = not_comparable_runs(usual, other)
    assert back is not None
    assert ("not marked" in back) == ("marked" in said)
    comparison = compare([tmp_path])
    assert [len(block["systems"]) for block in comparison["blocks"]] == [1, 1]
    assert comparison["blocks"][1]["apart"] == [{"block": 1, "reason": said}]
    assert comparison["comparisons"] == 0
    assert f"not comparable with block 1: {said}" in _flat(comparison_text(comparison))


def test_seed_and_training_settings_do_not_part_blocks(tmp_path: Path) -> None:
    usual = _made(tmp_path / "a")
    deviating = _made(tmp_path / "b", seed=4, settings={"demo": False, "deviations": ["upstream fine-tuned (-f)"]})
    assert not_comparable_runs(deviating, usual) is None
    assert not_comparable_runs(_made(tmp_path / "c", corpus="superb_metadata"), usual) is None
    text = _flat(comparison_text(compare([tmp_path / "a", tmp_path / "b"])))
    assert "B: hubert emotion_mean, seed 4; upstream fine-tuned (-f); " in text


@pytest.mark.parametrize("markdown", [False, True])
def test_marks_stand_wherever_the_run_does(tmp_path: Path, markdown: bool) -> None:
    make_run(tmp_path / "a", protocol={**ORACLE, "speaker_disjoint_test": False, "transductive": True})
    comparison = compare([tmp_path])
    marks = ["oracle: epoch chosen on test", "speakers shared between train and test", "transductive"]
    text = _flat(comparison_text(comparison, markdown))
    for mark in marks:
        assert f"marked: {mark}" in text
    assert f"A: hubert emotion_mean, seed 1337; {'; '.join(marks)}" in text
    rows = list(csv.DictReader(io.StringIO(comparison_csv(comparison))))
    assert {row["marks"] for row in rows if row["kind"] == "system"} == {"; ".join(marks)}


def test_leaderboard_row_with_its_folds_only_where_comparable(tmp_path: Path) -> None:
    results = make_run(tmp_path / "a")
    make_run(tmp_path / "b", protocol={"name": "strict", "sha256": "12" * 32})
    text = comparison_text(compare([tmp_path]))
    first, second = text.split("Block 2")
    row = next(line for line in first.splitlines() if line.startswith("[1] hubert_base  "))
    assert row.split()[2:] == ["62.40", "66.57", "65.25", "65.18", "65.19", "64.92", "-"]
    own = next(line for line in first.splitlines() if line.startswith("A hubert emotion_mean") and "-  " not in line)
    assert own
    folds = [f"{100 * fold['wa']:.2f}" for fold in results["folds"]]
    assert any(line.split()[3:8] == folds for line in first.splitlines())
    assert "superbbenchmark public.json 2022-04, protocol superb; comparable with A" in _flat(first)
    assert "[1] hubert_base  " not in second
    flat = _flat(second)
    assert "hubert_base: WA 64.92 %, superbbenchmark public.json 2022-04, protocol superb; not comparable" in flat
    assert "with B: this run's protocol is strict, the published one superb" in flat
    assert "hubert_base + fine_tuned: WA 75.52, UA 74.54 %, arXiv 2312.11503, protocol arXiv-2312.11503" in flat


def test_what_changed_after_the_record_is_recomputed_and_said(tmp_path: Path) -> None:
    make_run(tmp_path / "run", 0.5)
    before = (tmp_path / "run" / "results.json").read_bytes()
    rows, labels = read_predictions(tmp_path / "run" / "predictions.csv")
    perfect = [type(row)(row.fold, row.utterance, row.speaker, row.truth, row.truth) for row in rows]
    write_predictions(tmp_path / "run" / "predictions.csv", perfect, labels)
    (system,) = compare([tmp_path])["blocks"][0]["systems"]
    assert system["figures"]["ua"]["mean"] == 1
    assert "results.json did not match predictions.csv" in system["remarks"][-1]
    assert (tmp_path / "run" / "results.json").read_bytes() == before


def test_other_utterances_under_the_same_division_are_an_error(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", downstream="emotion_corr", train=None)
    rows, labels = read_predictions(tmp_path / "b" / "predictions.csv")
    write_predictions(tmp_path / "b" / "predictions.csv", rows[1:], labels)
    with pytest.raises(RunError, match=r"not over the same utterances: 1 are in one only, first '1F_00' in fold 1"):
        compare([tmp_path])
    changed = [type(rows[0])(1, rows[0].utterance, "1F", "sad", "sad"), *rows[1:]]
    write_predictions(tmp_path / "b" / "predictions.csv", changed, labels)
    with pytest.raises(RunError, match="utterance '1F_00' in fold 1 has the truth 'neutral'"):
        compare([tmp_path])


def test_what_cannot_be_tested_is_a_dash_with_the_reason(tmp_path: Path) -> None:
    for rng, name in enumerate(("emotion_mean", "emotion_corr")):
        make_run(tmp_path / name, downstream=name, train=None, rng=rng)
    comparison = compare([tmp_path])
    assert comparison["blocks"][0]["differences"][0]["ua"]["p_corrected_t"] is None
    assert "B: no p_corrected_t: one fold only, or no folds.json" in comparison_text(comparison)


def test_exports_carry_source_and_protocol(tmp_path: Path) -> None:
    make_run(tmp_path / "a", 0.5)
    make_run(tmp_path / "b", 0.8, downstream="emotion_corr", rng=9)
    make_run(tmp_path / "c", protocol=ORACLE)
    comparison = compare([tmp_path])
    assert json.loads(comparison_json(comparison)) == comparison
    rows = list(csv.DictReader(io.StringIO(comparison_csv(comparison))))
    assert {row["kind"] for row in rows} == {"system", "published", "difference"}
    assert all(row["source"] and row["protocol"] and row["corpus"] for row in rows)
    row = next(row for row in rows if row["key"] == "B" and row["kind"] == "system" and row["metric"] == "ua")
    found = comparison["blocks"][0]["systems"][1]["figures"]["ua"]
    assert (float(row["value"]), float(row["ci95_low"])) == (found["mean"], found["ci95"][0])
    assert row["source"] == str(tmp_path / "b")
    assert row["folds"].startswith(f"1:{found['folds']['1']} 2:")
    superb = next(row for row in rows if row["kind"] == "published" and row["comparable_with"])
    assert superb["folds"] == "1:0.624 2:0.6657 3:0.6525 4:0.6518 5:0.6519"
    difference = next(row for row in rows if row["kind"] == "difference" and row["metric"] == "wa")
    assert difference["source"] == f"{tmp_path / 'b'}; {tmp_path / 'a'}"
    assert float(difference["p_mcnemar"]) == comparison["blocks"][0]["differences"][0]["mcnemar"]["median"]


def test_text_is_at_most_100_columns_and_markdown_is_tables(tmp_path: Path) -> None:
    for number in range(3):
        make_run(tmp_path / f"run{number}", upstream=f"an_upstream_with_a_long_name_{number}" * 2)
    make_run(tmp_path / "hubert", upstream="hubert_large")
    comparison = compare([tmp_path])
    text = comparison_text(comparison)
    short = [line for line in text.splitlines() if str(tmp_path) not in line]
    assert max(map(len, short)) <= 100
    markdown = comparison_text(comparison, markdown=True)
    assert "## Block 1: iemocap, protocol superb" in markdown
    assert "| system" in markdown
    assert "| A hubert_large emotion_mean" in markdown


@pytest.mark.parametrize("upstream", ["hubert", "hubert_under_another_name"])
def test_a_copy_of_a_run_is_named_and_not_compared(tmp_path: Path, upstream: str) -> None:
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", upstream=upstream)
    make_run(tmp_path / "c", rng=5)
    comparison = compare([tmp_path])
    (block,) = comparison["blocks"]
    assert [system["copy_of"] for system in block["systems"]] == [None, "A", None]
    assert [item["key"] for item in block["differences"]] == ["C"]
    assert comparison["comparisons"] == 1
    for rate in ("ua", "wa", "macro_f1"):
        assert block["differences"][0][rate]["p_holm"] == block["differences"][0][rate]["p_bootstrap"]
    said = "a copy: the same predictions as A, not compared"
    assert _flat(comparison_text(comparison)).count(said) == comparison_text(comparison, markdown=True).count(said) == 1
    rows = list(csv.DictReader(io.StringIO(comparison_csv(comparison))))
    assert {row["key"] for row in rows if "the same predictions as A" in row["reason"]} == {"B"}


def test_a_system_with_one_run_of_another_is_no_copy(tmp_path: Path) -> None:
    make_run(tmp_path / "a1", seed=1)
    make_run(tmp_path / "b1", seed=1, downstream="emotion_corr")  # the same predictions
    make_run(tmp_path / "b2", seed=2, downstream="emotion_corr")
    assert compare([tmp_path])["comparisons"] == 1


def test_runs_without_a_result_are_named(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    for name in ("begun", "also"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
    comparison = compare([tmp_path, tmp_path / "a"])
    assert comparison["unfinished"] == [str(tmp_path / "also"), str(tmp_path / "begun")]
    assert _flat(comparison_text(comparison)).count("not finished, so not compared: ") == 2
    rows = list(csv.DictReader(io.StringIO(comparison_csv(comparison))))
    assert [row["source"] for row in rows if row["kind"] == "unfinished"] == comparison["unfinished"]
    with pytest.raises(RunError, match=r"no run in it is finished yet; begun: .*begun\. Repeat its command"):
        compare([tmp_path / "begun"])


def test_the_smallest_detectable_difference_stands_beside_every_difference(tmp_path: Path) -> None:
    make_run(tmp_path / "a", 0.5)
    make_run(tmp_path / "b", 0.6, downstream="emotion_corr", rng=9)
    comparison = compare([tmp_path])
    found = comparison["blocks"][0]["differences"][0]["ua"]
    half_width = (found["ci95"][1] - found["ci95"][0]) / 2
    assert found["standard_error"] == pytest.approx(half_width / stats.t.ppf(0.975, 9))  # ten speakers
    assert found["detectable"] == pytest.approx((stats.t.ppf(0.975, 9) + stats.t.ppf(0.8, 9)) * found["standard_error"])
    shown = f"± {100 * found['detectable']:.2f}"
    for markdown in (False, True):
        text = _flat(comparison_text(comparison, markdown))
        assert shown in text
        assert f"a true difference below {shown[2:]} points goes unseen in more than one experiment of five" in text
    row = next(
        row
        for row in csv.DictReader(io.StringIO(comparison_csv(comparison)))
        if (row["kind"], row["metric"]) == ("difference", "ua")
    )
    assert float(row["detectable"]) == found["detectable"]
    assert json.loads(comparison_json(comparison))["blocks"][0]["differences"][0]["ua"]["detectable"]


@pytest.mark.parametrize("markdown", [False, True])
def test_where_folds_lack_classes_the_pooled_rates_are_compared(tmp_path: Path, markdown: bool) -> None:
    first = make_run(tmp_path / "a", 0.4, entangled=True)
    second = make_run(tmp_path / "b", 0.5, downstream="emotion_corr", rng=9, entangled=True)
    comparison = compare([tmp_path])
    (block,) = comparison["blocks"]
    assert block["headline"]["of"] == block["differences"][0]["of"] == "pooled"
    values = [run["pooled"]["ua"]["value"] for run in (first, second)]
    assert block["differences"][0]["ua"]["difference"] == pytest.approx(values[1] - values[0])
    assert block["differences"][0]["ua"]["p_corrected_t"] is None
    text = _flat(comparison_text(comparison, markdown))
    assert "headline: the pooled rates, not the means over folds: 2 of 5 test folds lack classes" in text
    assert "pooled UA, minus A" in text if markdown else "minus A" in text
    assert f"mean UA {100 * first['ua']['mean']:.2f}" in text
    rows = [line for line in text.splitlines() if line.lstrip("| ").startswith("A ")]
    assert f" {100 * values[0]:.2f} " in rows[0]
    for metric in ("ua", "wa", "macro_f1"):
        lines = comparison_text(compare([tmp_path], metric=metric)).splitlines()
        assert max(len(line) for line in lines if str(tmp_path) not in line) <= 100
    found = csv.DictReader(io.StringIO(comparison_csv(comparison)))
    row = next(row for row in found if (row["key"], row["kind"], row["metric"]) == ("A", "system", "ua"))
    assert (row["headline"], float(row["pooled"])) == ("pooled", values[0])


def test_a_tables_own_name_heads_its_block(tmp_path: Path) -> None:
    make_run(tmp_path / "a", corpus="table", corpus_name="table_call_centre")
    assert comparison_text(compare([tmp_path])).startswith("Block 1: table_call_centre, protocol superb\n")


def test_whose_order_of_utterances_dev_was_drawn_from(tmp_path: Path) -> None:
    make_run(tmp_path / "a", protocol={"order": "ours"})
    assert "dev drawn as S3PRL draws it; order of utterances: ours" in comparison_text(compare([tmp_path]))


def test_folds_that_were_made_again_are_refused(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    path = tmp_path / "a" / "folds.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sha256": "00" * 32}))
    with pytest.raises(RunError, match=r"folds\.json: the folds are not those of results\.json"):
        compare([tmp_path])


def test_methods_of_differences_are_explained_where_there_are_some(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    assert "p McNemar" not in comparison_text(compare([tmp_path]))
    make_run(tmp_path / "b", downstream="emotion_corr", rng=3)
    assert "p McNemar" not in comparison_text(compare([tmp_path]))
    assert "p McNemar: on right and wrong utterances, so of WA alone" in comparison_text(
        compare([tmp_path], metric="wa")
    )
