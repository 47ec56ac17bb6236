"""Rates by group: hand-computed, against the classical intervals that equal speakers have, and largest gaps."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from reporting.runs import make_run
from scipy import stats

from s3prl_emotion.cli import main
from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation.groups import Grouping, group_by
from s3prl_emotion.evaluation.runs import Run, read_run
from s3prl_emotion.evaluation.seed_groups import SeedGroup
from s3prl_emotion.reporting.breakdowns import groupings_csv, groupings_text
from s3prl_emotion.runs.prediction import read_predictions, write_predictions

LABELS = ("neutral", "happy", "angry", "sad")
Attributes = Callable[[str, str], dict[str, str] | None]


def sexes(_: str, speaker: str) -> dict[str, str]:
    """Five women and five men."""
    return {"sex": {"F": "female", "M": "male"}[speaker[-1]]}


def describe(folder: Path, attributes: Attributes) -> None:
    """A manifest for a run that :func:`make_run` made."""
    rows, labels = read_predictions(folder / "predictions.csv")
    items = [
        Utterance(row.utterance, "a.wav", row.truth, row.speaker, attributes=attributes(row.utterance, row.speaker))
        for row in rows
    ]
    Manifest("iemocap", tuple(labels), "/x", tuple(items)).write(folder / "manifest.jsonl")


def made(folder: Path, attributes: Attributes = sexes, accuracy: float = 0.6, **changes) -> SeedGroup:
    make_run(folder, accuracy, **changes)
    describe(folder, attributes)
    return SeedGroup((read_run(folder),))


def grouped(system: SeedGroup, by: str) -> Grouping:
    return group_by(system, by)


def test_by_hand(tmp_path: Path) -> None:
    """Two women and a man; the man is never neutral."""
    make_run(tmp_path, folds=(1,), per_speaker=4, train=None)
    rows = [  # speaker, truth, predicted
        ("1F", "neutral", "neutral"),
        ("1F", "happy", "happy"),
        ("1F", "angry", "sad"),
        ("1F", "sad", "sad"),
        ("2F", "neutral", "happy"),
        ("2F", "neutral", "neutral"),
        ("1M", "happy", "happy"),
        ("1M", "angry", "angry"),
        ("1M", "sad", "angry"),
        ("1M", "sad", "angry"),
    ]
    base = read_predictions(tmp_path / "predictions.csv")[0][0]
    predictions = [
        dataclasses.replace(base, utterance=f"u{n}", speaker=s, truth=t, predicted=p, probabilities=None)
        for n, (s, t, p) in enumerate(rows)
    ]
    write_predictions(tmp_path / "predictions.csv", predictions, LABELS)
    describe(tmp_path, sexes)
    found = group_by(SeedGroup((read_run(tmp_path),)), "sex")
    women, man = found.groups
    assert (women.name, women.n, women.speakers, women.units, women.drawn) == ("female", 6, 2, 2, "speakers")
    assert (man.name, man.n, man.speakers, man.units, man.drawn) == ("male", 4, 0, 4, "utterances")
    assert women.rates["wa"].value == pytest.approx(4 / 6)
    assert women.rates["ua"].value == pytest.approx((2 / 3 + 1 + 0 + 1) / 4)
    assert man.rates["wa"].value == pytest.approx(2 / 4)
    assert man.rates["ua"].value == pytest.approx((1 + 1 + 0) / 3)
    assert women.lacking == ()
    assert man.lacking == ("neutral",)
    assert found.gaps["ua"] is None, "his UA is over three classes"
    text = groupings_text([found])
    assert "no gap: there are not two groups with the same classes" in text
    assert "without: classes that the group lacks" in text
    common = group_by(SeedGroup((read_run(tmp_path),)), "sex", common=True)
    assert [(g.n, g.lacking) for g in common.groups] == [(3, ("neutral",)), (4, ("neutral",))]
    assert common.groups[0].rates["ua"].value == pytest.approx((1 + 0 + 1) / 3)
    assert common.gaps["wa"] is not None
    assert common.gaps["wa"].value == pytest.approx(2 / 3 - 2 / 4)
    only = group_by(SeedGroup((read_run(tmp_path),)), "sex", leave_out=("male",))
    assert [(g.name, g.n) for g in only.groups] == [("female", 6)]
    labels = group_by(SeedGroup((read_run(tmp_path),)), "label")
    assert [(g.name, g.n, g.rates["ua"].value) for g in labels.groups] == [
        ("neutral", 3, pytest.approx(2 / 3)),
        ("happy", 2, 1.0),
        ("angry", 2, 0.5),
        ("sad", 3, pytest.approx(1 / 3)),
    ]
    assert labels.gaps["ua"] is not None
    assert labels.gaps["ua"].value == pytest.approx(2 / 3)
    assert (labels.gaps["ua"].high, labels.gaps["ua"].low) == ("happy", "sad")
    assert "recall %" in groupings_text([labels])


def test_one_group_of_all_has_the_pooled_interval_of_the_results(tmp_path: Path) -> None:
    system = made(tmp_path, lambda *_: {"room": "studio"})
    (group,) = grouped(system, "room").groups
    for name in ("ua", "wa"):
        pooled = (system.results.pooled or {})[name]
        assert group.rates[name].value == pooled.value
        assert group.rates[name].ci95 == pooled.ci95
    assert grouped(system, "room").gaps["ua"] is None


def accuracies(system: SeedGroup, chosen: Callable[[str, str], bool]) -> np.ndarray:
    """WA of each speaker."""
    right: dict[str, list[bool]] = {}
    for item in system.runs[0].predictions:
        if chosen(item.utterance, item.speaker):
            right.setdefault(item.speaker, []).append(item.truth == item.predicted)
    return np.array([np.mean(values) for _, values in sorted(right.items())])


def test_intervals_of_equal_speakers_are_student_intervals(tmp_path: Path) -> None:
    """Where all speakers have as many utterances, WA is their mean, and the bootstrap's error has a formula."""
    system = made(tmp_path, per_speaker=16)
    for group in grouped(system, "sex").groups:
        letter = group.name[0].upper()
        values = accuracies(system, lambda _, speaker, letter=letter: speaker[-1] == letter)
        assert len(values) == 5
        error = values.std(ddof=1) / np.sqrt(5)
        assert group.rates["wa"].error == pytest.approx(error, rel=0.05)
        low, high = stats.t.interval(0.95, 4, values.mean(), error)
        assert group.rates["wa"].ci95 == pytest.approx((low, high), abs=0.01)


def test_the_gap_between_two_groups_of_other_speakers_is_welchs(tmp_path: Path) -> None:
    system = made(tmp_path, per_speaker=16, accuracy=0.7)
    women, men = (accuracies(system, lambda _, speaker, s=s: speaker[-1] == s) for s in "FM")
    gap = grouped(system, "sex").gaps["wa"]
    assert gap is not None
    if men.mean() > women.mean():
        women, men = men, women
    known = stats.ttest_ind(women, men, equal_var=False).confidence_interval(0.95)
    assert gap.value == pytest.approx(women.mean() - men.mean())
    assert gap.ci95 == pytest.approx((known.low, known.high), abs=0.02)
    assert (gap.pairs, gap.left_out) == (1, ())
    errors = [values.std(ddof=1) / np.sqrt(5) for values in (women, men)]
    assert gap.by_chance == pytest.approx(np.hypot(*errors) * np.sqrt(2 / np.pi), rel=0.1), "mean of |normal|"


def takes(utterance: str, _: str) -> dict[str, str]:
    """Three kinds of clips, which every speaker has."""
    return {"take": "abc"[(int(utterance[-2:]) // 4) % 3]}


def test_the_gap_between_groups_of_the_same_speakers_is_paired_and_simultaneous(tmp_path: Path) -> None:
    system = made(tmp_path, takes, per_speaker=24)
    by_take = {
        take: accuracies(system, lambda utterance, _, t=take: takes(utterance, "")["take"] == t) for take in "abc"
    }
    gap = grouped(system, "take").gaps["wa"]
    assert gap is not None
    means = {take: values.mean() for take, values in by_take.items()}
    assert (gap.high, gap.low) == (max(means, key=means.get), min(means, key=means.get))
    differences = by_take[gap.high] - by_take[gap.low]
    half = stats.t.ppf(1 - 0.025 / 3, 9) * differences.std(ddof=1) / np.sqrt(10)
    assert gap.pairs == 3
    assert gap.ci95 == pytest.approx((gap.value - half, gap.value + half), abs=0.02)


def test_of_one_speaker_the_utterances_are_drawn(tmp_path: Path) -> None:
    system = made(tmp_path, per_speaker=40)
    found = grouped(system, "speaker")
    assert [group.name for group in found.groups] == list(
        system.results and sorted({p.speaker for p in system.runs[0].predictions})
    )
    for group in found.groups:
        values = np.array([p.truth == p.predicted for p in system.runs[0].predictions if p.speaker == group.name])
        assert (group.units, group.drawn) == (40, "utterances")
        assert group.rates["wa"].error == pytest.approx(values.std(ddof=1) / np.sqrt(40), rel=0.06)
    gap = found.gaps["wa"]
    assert gap is not None
    assert gap.pairs == 45
    assert gap.by_chance is not None
    assert gap.by_chance > 0


def test_seeds_are_averaged(tmp_path: Path) -> None:
    for seed in (1, 2):
        make_run(tmp_path / str(seed), seed=seed)
        describe(tmp_path / str(seed), sexes)
    runs = [read_run(tmp_path / str(seed)) for seed in (1, 2)]
    both = group_by(SeedGroup(tuple(runs)), "sex")
    single = [group_by(SeedGroup((run,)), "sex") for run in runs]
    for place, group in enumerate(both.groups):
        assert group.n == single[0].groups[place].n
        alone = [part.groups[place].rates["ua"].value for part in single]
        assert group.rates["ua"].value == pytest.approx(np.mean(alone))
    assert "seeds 1, 2" in groupings_text([both])


def test_what_is_not_told_is_a_group_without_a_part_in_gaps(tmp_path: Path) -> None:
    system = made(tmp_path, lambda _, speaker: {"sex": "female"} if speaker[-1] == "F" else None)
    found = grouped(system, "sex")
    assert [(group.name, group.told, group.n) for group in found.groups] == [
        ("female", True, 40),
        ("(not told)", False, 40),
    ]
    assert found.gaps["ua"] is None
    assert "(not told): of 40 utterances the corpus does not tell it" in groupings_text([found])
    assert ",not told,(not told),40," in groupings_csv([found])


def test_numbers_are_in_their_order(tmp_path: Path) -> None:
    system = made(tmp_path, lambda _, speaker: {"age": {"1": "9", "2": "10"}.get(speaker[0], "70.5")})
    assert [group.name for group in grouped(system, "age").groups] == ["9", "10", "70.5"]
    assert [group.name for group in grouped(system, "fold").groups] == ["1", "2", "3", "4", "5"]
    assert [group.name for group in grouped(system, "corpus").groups] == ["iemocap"]


def test_formats(tmp_path: Path, capsys) -> None:
    system = made(tmp_path / "run")
    found = grouped(system, "sex")
    rows = list(csv.DictReader(io.StringIO(groupings_csv([found]))))
    assert [(row["kind"], row["group"], row["metric"]) for row in rows[:3]] == [
        ("group", "female", "ua"),
        ("group", "male", "ua"),
        ("gap", f"{found.gaps['ua'].high} minus {found.gaps['ua'].low}", "ua"),
    ]
    assert float(rows[0]["value"]) == found.groups[0].rates["ua"].value
    assert float(rows[2]["ci95_low"]) == found.gaps["ua"].ci95[0]
    text = groupings_text([found])
    assert max(map(len, text.splitlines())) <= 100
    before = (tmp_path / "run" / "results.json").read_bytes()
    out = tmp_path / "groups.md"
    assert (
        main(["evaluate", str(tmp_path / "run"), "--by", "sex,speaker", "--format", "markdown", "--out", str(out)]) == 0
    )
    assert capsys.readouterr().out == f"{out}\n"
    assert out.read_text().count("## By ") == 2
    assert "| female |" in out.read_text()
    assert (tmp_path / "run" / "results.json").read_bytes() == before


def test_what_nobody_knows(tmp_path: Path) -> None:
    system = made(tmp_path)
    with pytest.raises(
        RunError, match=r"tells no 'sx' .*Did you mean 'sex'\? Known: corpus, fold, label, sex, speaker"
    ):
        grouped(system, "sx")
    with pytest.raises(RunError, match="tells no 'session'"):
        grouped(system, "session")
    (tmp_path / "manifest.jsonl").unlink()
    with pytest.raises(RunError, match=r"manifest\.jsonl: is missing"):
        grouped(system, "sex")
    assert len(grouped(system, "speaker").groups) == 10


def test_a_run_of_an_earlier_version_takes_attributes_from_a_manifest_of_the_same_corpus(tmp_path: Path) -> None:
    system = made(tmp_path / "run", lambda *_: None)
    path = tmp_path / "run" / "manifest.jsonl"
    plain = Manifest.read(path)
    described = [dataclasses.replace(u, attributes=sexes("", u.speaker)) for u in plain.utterances]
    plain.with_utterances(described).write(tmp_path / "now.jsonl")
    found = group_by(system, "sex", tmp_path / "now.jsonl")
    assert [group.name for group in found.groups] == ["female", "male"]
    plain.with_utterances(described[1:]).write(tmp_path / "other.jsonl")
    with pytest.raises(RunError, match=r"--manifest .*other\.jsonl: is not of the corpus"):
        group_by(system, "sex", tmp_path / "other.jsonl")


def simulated(generator: np.random.Generator, run: Run, true: Sequence[float]) -> SeedGroup:
    """Ten speakers in groups, each with an accuracy of its own about that of its group."""
    speakers = sorted({item.speaker for item in run.predictions})
    of = {speaker: place % len(true) for place, speaker in enumerate(speakers)}
    level = {speaker: np.clip(true[of[speaker]] + generator.normal(0, 0.05), 0, 1) for speaker in speakers}
    rows = []
    for item in run.predictions:
        wrong = LABELS[(LABELS.index(item.truth) + 1) % 4]
        guess = item.truth if generator.random() < level[item.speaker] else wrong
        rows.append(dataclasses.replace(item, predicted=guess))
    return SeedGroup((dataclasses.replace(run, predictions=tuple(rows)),))


@pytest.mark.slow
def test_the_interval_of_the_largest_gap_holds_the_truth(tmp_path: Path) -> None:
    """Over simulated experiments, whichever pair is the largest: in 95 % or more, less the simulation's own error."""
    true = (0.6, 0.6, 0.6, 0.7, 0.7)
    make_run(tmp_path, per_speaker=32)
    run, generator = read_run(tmp_path), np.random.default_rng(5)
    speakers = sorted({item.speaker for item in run.predictions})
    describe(tmp_path, lambda _, speaker: {"group": str(speakers.index(speaker) % 5)})
    held, experiments = 0, 200
    for _ in range(experiments):
        gap = group_by(simulated(generator, run, true), "group").gaps["wa"]
        assert gap is not None
        assert gap.ci95 is not None
        truth = true[int(gap.high)] - true[int(gap.low)]
        held += gap.ci95[0] <= truth <= gap.ci95[1]
    assert held / experiments >= 0.92
