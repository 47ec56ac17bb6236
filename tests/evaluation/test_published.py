"""Published tables: what was printed is what is returned, with its source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from reporting.runs import make_run

from s3prl_emotion.evaluation.comparability import not_comparable
from s3prl_emotion.evaluation.comparison import compare
from s3prl_emotion.published import (
    UPSTREAM_ALIASES,
    _table,
    emobox_rows,
    emosuperb_rows,
    paper_rows,
    superb_rows,
)
from s3prl_emotion.reporting.comparison import comparison_text
from s3prl_emotion.runs.results import Results, read_results


def test_hubert_base_row() -> None:
    (row,) = superb_rows("hubert_base")
    assert row.accuracy == pytest.approx(0.6492)
    assert row.folds == pytest.approx((0.6240, 0.6657, 0.6525, 0.6518, 0.6519))
    assert (row.metric, row.corpus, row.protocol) == ("WA", "iemocap", "superb")
    assert row.source == "superbbenchmark public.json 2022-04"


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("hubert", "hubert_base"),
        ("wav2vec2", "wav2vec2_base_960"),
        ("wavlm", "wavlm_base_plus"),
        ("wav2vec2_large", "wav2vec2_large_ll60k"),
        ("hubert_large", "hubert_large_ll60k"),
    ],
)
def test_aliases(alias: str, name: str) -> None:
    assert superb_rows(alias)
    assert superb_rows(alias) == superb_rows(name)
    assert {row.upstream for row in superb_rows(alias)} == {name}


def test_every_alias_leads_to_a_row() -> None:
    assert all(superb_rows(alias) for alias in UPSTREAM_ALIASES)


def test_every_row_is_sound() -> None:
    rows = [row for name in {line["upstream"] for line in _table("superb_er.csv")} for row in superb_rows(name)]
    assert len(rows) == len(_table("superb_er.csv")) == 26
    for row in rows:
        assert 0.3 < row.accuracy < 0.8
        assert row.source
        assert len(row.folds) in (0, 5)
        if row.folds:
            assert sum(row.folds) / 5 == pytest.approx(row.accuracy, abs=2e-4)


def test_conflicting_sources_are_both_given() -> None:
    assert [row.accuracy for row in superb_rows("fbank")] == pytest.approx([0.3539, 0.4824])
    assert all(row.note for row in superb_rows("fbank"))


def test_a_recipe_of_another_group_is_not_called_superb() -> None:
    assert [row.protocol for row in superb_rows("emotion2vec") + superb_rows("data2vec")] == ["emotion2vec"] * 2


def test_unknown_upstream() -> None:
    assert superb_rows("hubert_local") == []
    assert paper_rows("attentive_correlation", "fbank") == []
    assert paper_rows("no_such_head", "wavlm_large") == []


@pytest.mark.parametrize("downstream", ["attentive_correlation", "emotion_attentive_correlation", "emotion-attcorr"])
def test_attentive_correlation_on_wavlm_large(downstream: str) -> None:
    (row,) = paper_rows(downstream, "wavlm_large")
    assert (row.accuracy, row.std) == pytest.approx((0.7560, 0.0233))
    assert (row.metric, row.protocol, row.downstream) == ("UA", "paper", "attentive_correlation")
    assert row.source == "arXiv 2211.01756 Table 1"


def test_correlation_has_two_rows_that_differ_in_dropout() -> None:
    rows = paper_rows("correlation", "hubert_large")
    assert [row.accuracy for row in rows] == pytest.approx([0.6982, 0.6972])
    assert [row.note.split(";")[0] for row in rows] == ["channel dropout 0", "channel dropout 0.25"]


def test_a_model_of_unstated_size_says_so() -> None:
    for upstream in ("wav2vec2", "wav2vec2_large_ll60k"):
        (row,) = paper_rows("mean", upstream)
        assert row.accuracy == pytest.approx(0.6686)
        assert "size of the model not stated" in row.note


def test_speech_and_text_paper() -> None:
    rows = [row for row in paper_rows(None, "hubert_base") if row.source == "arXiv 2312.11503"]
    assert [(row.downstream, row.metric, row.accuracy) for row in rows] == [
        ("fine_tuned", "WA", 0.7552),
        ("fine_tuned", "UA", 0.7454),
        ("fine_tuned_with_text", "WA", 0.7989),
        ("fine_tuned_with_text", "UA", 0.7768),
    ]
    assert all((row.corpus, row.protocol) == ("five", "arXiv-2312.11503") for row in rows)
    classical = paper_rows(None, "engineered_94")
    assert len(classical) == 18
    assert [row.accuracy for row in classical if row.downstream == "decision_tree"] == [0.1938, 0.2292]


def test_intra_speaker_contrastive_paper() -> None:
    rows = paper_rows("contrastive", "intra_speaker_contrastive")
    assert [(row.corpus, row.metric, row.accuracy) for row in rows] == [
        ("iemocap", "UA", 0.6916),
        ("cremad", "UA", 0.7380),
    ]


def test_no_protocol_of_ours_has_the_name_of_a_paper_that_cannot_be_repeated() -> None:
    from s3prl_emotion.protocols import protocols

    named = {row["protocol"] for row in _table("papers.csv")}
    assert named == {"paper", "unclear", "arXiv-2312.11503", "arXiv-2401.11017"}
    assert not named & set(protocols.names())


def test_every_row_of_a_paper_names_a_corpus() -> None:
    assert all(set(row) == set(_table("papers.csv")[0]) and None not in row for row in _table("papers.csv"))
    assert {row["corpus"] for row in _table("papers.csv")} == {"iemocap", "cremad", "five"}


def test_flea_headline() -> None:
    rows = paper_rows("flea", "cpt_hubert")
    assert [(row.metric, row.accuracy, row.std) for row in rows] == [("UA", 0.757, None), ("WA", 0.747, None)]
    assert all("transductive" in row.note for row in rows)


# --- EmoBox and EMO-SUPERB --------------------------------------------------------------------------------------------


def test_emobox_within_a_corpus() -> None:
    rows = emobox_rows("wavlm_large", "emobox_ravdess")
    assert [(row.metric, row.accuracy) for row in rows] == [("UA", 0.72), ("WA", 0.7222), ("macro-F1", 0.7142)]
    assert {(row.corpus, row.protocol, row.classes, row.fold_count) for row in rows} == {
        ("emobox_ravdess", "published", 8, 6)
    }
    assert emobox_rows("wavlm_large", "ravdess") == rows
    assert emobox_rows("hubert", "emobox_iemocap")[0].accuracy == 0.6387
    assert emobox_rows("fbank", "emobox_iemocap") == emobox_rows("hubert", "no_such_corpus") == []


def test_emobox_across_corpora() -> None:
    (row,) = emobox_rows("hubert_base", "combined_ravdess-to-savee")
    assert (row.accuracy, row.metric, row.protocol) == (0.4347, "UA", "cross")
    assert "class-balanced parts" in row.unlike
    assert emobox_rows("hubert_base", "combined_tess-to-savee") == []


def test_emosuperb() -> None:
    (row,) = emosuperb_rows("hubert_large", "cremad")
    assert (row.accuracy, row.metric) == (0.675, "macro-F1")
    assert "Hubert, 317 M" in row.note
    assert {row.corpus for row in emosuperb_rows("fbank", "iemocap")} == {"iemocap"}


def test_tables_are_whole() -> None:
    intra, cross, superb = (_table(f"{name}.csv") for name in ("emobox_intra", "emobox_cross", "emosuperb"))
    assert (len(intra), len(cross), len(superb)) == (320, 108, 144)
    assert len({row["corpus"] for row in intra}) == 32
    assert len({row["upstream"] for row in intra}) == 10
    assert all(len({row["upstream"] for row in intra if row["corpus"] == item["corpus"]}) == 10 for item in intra)
    for table in (intra, cross, superb):
        rates = [float(row[key]) for row in table for key in ("ua", "wa", "macro_f1") if key in row]
        assert all(4 < rate < 100 for rate in rates)


def of_emobox(tmp_path: Path, name: str = "run", **changes: Any) -> Results:
    """A record as a run on EmoBox' lists of RAVDESS leaves it, the last layer taken."""
    given: dict[str, Any] = {
        "labels": ("angry", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised"),
        "folds": (1, 2, 3, 4, 5, 6),
        "folds_expected": range(1, 7),
        "upstream": "wavlm_large",
        "corpus": "emobox_ravdess",
        "settings": {"deviations": ["features -s last_hidden_state"]},
    }
    protocol = {"name": "published", "speaker_disjoint_test": False} | changes.pop("protocol", {})
    make_run(tmp_path / name, protocol=protocol, **{**given, **changes})
    return read_results(tmp_path / name / "results.json")


def test_comparable_with_emobox(tmp_path: Path) -> None:
    results = of_emobox(tmp_path)
    assert [not_comparable(results, row) for row in emobox_rows("wavlm_large", "emobox_ravdess")] == [None] * 3
    text = comparison_text(compare([tmp_path]))
    assert "[7] wavlm_large: EmoBox" in text
    assert "comparable with A" in text
    assert "72.00" in text.split("Methods")[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"corpus": "ravdess"}, "this run's corpus is ravdess, the published one emobox_ravdess"),
        ({"protocol": {"name": "strict"}}, "this run's protocol is strict, the published one published"),
        ({"labels": ("a", "b", "c", "d")}, "this run has 4 classes, the published one 8"),
        ({"folds": (1, 2)}, "this run's folds are 1, 2, the published ones 1 to 6"),
        ({"settings": {"deviations": []}}, "the published number is of -s last_hidden_state, this run's of other"),
        ({"settings": {"demo": True, "deviations": ["features -s last_hidden_state"]}}, "demo settings"),
        ({"protocol": {"transductive": True}}, "this run is marked: transductive"),
        ({"settings": {"deviations": ["features -s last_hidden_state", "--trim-zeros"]}}, "--trim-zeros"),
    ],
)
def test_not_comparable_with_emobox(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    results = of_emobox(tmp_path, **changes)
    (row, *_) = emobox_rows("wavlm_large", "ravdess")
    assert reason in str(not_comparable(results, row))


def test_a_corpus_whose_folds_are_not_on_record(tmp_path: Path) -> None:
    results = of_emobox(tmp_path, corpus="emobox_shemo", labels=tuple("abcdef"))
    (row, *_) = emobox_rows("wavlm_large", "emobox_shemo")
    assert not_comparable(results, row) == "classes and folds of the published number are not on record here"


def test_never_comparable(tmp_path: Path) -> None:
    make_run(tmp_path, upstream="hubert_base", corpus="combined_ravdess-to-savee", protocol={"name": "cross"})
    results = read_results(tmp_path / "results.json")
    (row,) = emobox_rows("hubert_base", results.corpus)
    assert "class-balanced parts" in str(not_comparable(results, row))
    (superb,) = emosuperb_rows("fbank", "iemocap")
    assert "several labels at once" in str(not_comparable(results, superb))
