"""Intervals: enumerated by hand, against confidence-intervals and scipy, and how often they hold the truth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from confidence_intervals import Bootstrap
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, f1_score

from s3prl_emotion.evaluation.intervals import (
    Counts,
    count,
    fold_rates,
    replicates,
    speakers_interval,
    speakers_method,
    standard_error,
    student_interval,
)
from s3prl_emotion.evaluation.metrics import rates as all_rates
from s3prl_emotion.runs.prediction import Prediction

RATES = {name: rate.of_confusion for name, rate in all_rates().items()}
LABELS = ["a", "b", "c"]


def _random(rng: np.random.Generator, folds: int, speakers: int, utterances: int) -> list[Prediction]:
    """Each fold has ``speakers`` of its own with up to ``utterances`` each."""
    items = []
    for fold in range(1, folds + 1):
        for speaker in range(speakers):
            for number in range(int(rng.integers(1, utterances + 1))):
                truth = str(rng.choice(LABELS))
                guess = truth if rng.random() < 0.4 + 0.1 * speaker else str(rng.choice(LABELS))
                items.append(Prediction(fold, f"{speaker}-{number}", f"{fold}-{speaker}", truth, guess))
    return items


def _by_loop(items: list[Prediction], drawn: dict[str, int], rate: str) -> float:
    """The mean over folds for one draw of speakers, with utterances repeated and plain confusion matrices."""
    total = weight = 0.0
    for fold in sorted({item.fold for item in items}):
        here = [item for item in items if item.fold == fold]
        names = {item.speaker for item in here}
        share = sum(drawn[name] for name in names) / len(names)
        matrix = np.zeros((3, 3))
        for item in here:
            matrix[LABELS.index(item.truth), LABELS.index(item.predicted)] += drawn[item.speaker]
        if share:
            total += share * float(RATES[rate](matrix))
            weight += share
    return total / weight


class _Draws:
    """A generator that draws what it is told."""

    def __init__(self, draws: np.ndarray) -> None:
        self.draws = draws

    def multinomial(self, n: int, p: np.ndarray, size: int) -> np.ndarray:
        assert n == len(p) == self.draws.shape[1]
        taken, self.draws = self.draws[:size], self.draws[size:]
        return taken


@pytest.mark.parametrize("rate", RATES)
def test_replicates_are_what_a_plain_loop_gives(rate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3prl_emotion.evaluation.intervals._CHUNK", 60)  # several chunks
    rng = np.random.default_rng(0)
    items = _random(rng, folds=3, speakers=2, utterances=6)
    counts = count([items], LABELS)
    draws = rng.multinomial(6, [1 / 6] * 6, 40)
    names = list(dict.fromkeys(item.speaker for item in items))
    values = replicates([counts], {rate: RATES[rate]}, _Draws(draws), 40)[0][rate]  # type: ignore[arg-type]
    expected = [_by_loop(items, dict(zip(names, draw.tolist(), strict=True)), rate) for draw in draws]
    assert values == pytest.approx(expected)
    assert (draws.reshape(40, 3, 2).sum(axis=2) == 0).any()  # among them draws that leave a fold out


def test_one_speaker_per_fold_is_enumerated() -> None:
    """Three folds of one speaker: the 27 draws of three of the fold rates, each equally likely."""
    items = [
        Prediction(fold, f"u{i}", f"s{fold}", "a", "a" if i < hits else "b")
        for fold, hits in ((1, 2), (2, 5), (3, 9))
        for i in range(10)
    ]
    rates = {"wa": RATES["wa"]}
    values = replicates([count([items], LABELS)], rates, np.random.default_rng(0), 20000)[0]["wa"]
    expected = sorted(float(np.mean(draw)) for draw in itertools.product([0.2, 0.5, 0.9], repeat=3))
    assert np.unique(values.round(9)) == pytest.approx(np.unique(np.round(expected, 9)))
    assert values.mean() == pytest.approx(np.mean(expected), abs=0.005)
    assert values.std() == pytest.approx(np.std(expected), abs=0.005)


@pytest.mark.parametrize(("rate", "of_sklearn"), [("ua", "recall"), ("macro_f1", "f1")])
def test_agrees_with_confidence_intervals(rate: str, of_sklearn: str) -> None:
    """One fold; within a speaker all utterances are equal, so the library's draw of utterances is none."""
    rng = np.random.default_rng(5)
    items = []
    for speaker in range(40):
        truth = LABELS[speaker % 3]
        guess = truth if rng.random() < 0.6 else str(rng.choice(LABELS))
        size = int(rng.integers(1, 8))
        items += [Prediction(1, f"{speaker}-{i}", f"{speaker:02}", truth, guess) for i in range(size)]
    ours = replicates([count([items], LABELS)], {rate: RATES[rate]}, rng, 4000)[0][rate]

    def metric(truth: np.ndarray, guess: np.ndarray) -> float:
        if of_sklearn == "recall":
            return float(balanced_accuracy_score(truth, guess))
        return float(f1_score(truth, guess, average="macro", zero_division=0))

    columns = [np.array([LABELS.index(value) for value in side]) for side in zip(*_pairs(items), strict=True)]
    speakers = np.array([int(item.speaker) for item in items])
    library = Bootstrap(250, metric)
    interval = library.get_conf_int(columns[1], columns[0], speakers)
    assert np.percentile(ours, [2.5, 97.5]) == pytest.approx(list(interval), abs=0.03)
    assert ours.mean() == pytest.approx(library._scores.mean(), abs=0.012)
    assert ours.std() == pytest.approx(library._scores.std(), rel=0.12)


def _pairs(items: list[Prediction]) -> list[tuple[str, str]]:
    return [(item.truth, item.predicted) for item in items]


def test_several_runs_are_averaged_per_draw() -> None:
    rng = np.random.default_rng(2)
    first = _random(rng, 2, 3, 5)
    second = [Prediction(item.fold, item.utterance, item.speaker, item.truth, "a") for item in first]
    rates = {"macro_f1": RATES["macro_f1"]}
    alone = [replicates([count([run], LABELS)], rates, np.random.default_rng(7), 50) for run in (first, second)]
    both = replicates([count([first, second], LABELS)], rates, np.random.default_rng(7), 50)[0]["macro_f1"]
    assert both == pytest.approx((alone[0][0]["macro_f1"] + alone[1][0]["macro_f1"]) / 2)
    assert fold_rates(count([first, second], LABELS), RATES["wa"]).shape == (2, 2)


def test_a_speaker_in_several_folds_is_drawn_in_all_at_once() -> None:
    items = [Prediction(fold, "u", speaker, "a", "a") for fold in (1, 2) for speaker in ("x", "y")]
    counts = count([items], LABELS)
    assert (counts.speakers, counts.folds, counts.matrices.shape) == (2, 2, (1, 4, 3, 3))


def test_utterances_without_a_speaker_are_speakers_of_their_own() -> None:
    items = [Prediction(1, "u", "", "a", "a"), Prediction(1, "v", "", "a", "a"), Prediction(1, "w", "x", "a", "a")]
    assert count([items], LABELS, alone=True).speakers == 3
    assert count([items[:2]], LABELS).speakers == 2
    assert "its 2 utterances, whose speakers are unknown," in speakers_method(count([items[:2]], LABELS))


def test_unknown_speakers_beside_known_ones_count_in_rates_and_are_not_drawn() -> None:
    rng = np.random.default_rng(0)
    known = [
        Prediction(fold, f"{s}-{n}", f"s{s}", "ab"[n % 2], "ab"[int(rng.integers(2))])
        for s in range(6)
        for n in range(9)
        for fold in [s % 3 + 1]
    ]
    unknown = [Prediction(n % 4 + 1, f"u{n}", "", "ab"[n // 4 % 2], "a") for n in range(16)]  # fold 4: nobody is known
    alone, both = count([known], LABELS[:2]), count([known + unknown], LABELS[:2])
    assert (both.speakers, both.folds, both.unnamed, both.are_utterances) == (6, 4, 16, False)
    rate = all_rates()["ua"].of_confusion
    drawn = [replicates([counts], {"ua": rate}, np.random.default_rng(1))[0]["ua"] for counts in (alone, both)]
    assert np.array_equal(*drawn)
    assert both.matrices.sum() == 70
    assert fold_rates(both, rate).shape == (1, 4)
    told = speakers_method(both)
    assert "its 6 speakers are drawn" in told
    assert told.endswith("16 utterances of unknown speakers are left out of the draws")
    one = count([[*known[:9], *unknown]], LABELS[:2])
    assert speakers_method(one).startswith("no interval over speakers: there is one speaker only; 16 utterances of unk")


@pytest.mark.parametrize("values", [[0.5, 0.6, 0.8], [0.4, 0.41]])
def test_student_interval_agrees_with_scipy(values: list[float]) -> None:
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert student_interval(values) == pytest.approx([max(0, low), min(1, high)])


def test_one_speaker_per_fold_gives_the_plain_t_interval_over_speakers() -> None:
    """Each fold one speaker of as many utterances: the bootstrap's standard error is that of the mean of the rates."""
    rates = [0.2, 0.5, 0.9, 0.4]
    items = [
        Prediction(fold, f"u{i}", f"s{fold}", "a", "a" if i < 10 * value else "b")
        for fold, value in enumerate(rates)
        for i in range(10)
    ]
    drawn = replicates([count([items], LABELS)], {"wa": RATES["wa"]}, np.random.default_rng(0), 200_000)[0]["wa"]
    assert standard_error(drawn, 4) == pytest.approx(stats.sem(rates), rel=0.01)
    expected = stats.t.interval(0.95, 3, np.mean(rates), stats.sem(rates))
    assert speakers_interval(0.5, drawn, 4) == pytest.approx([max(0, expected[0]), min(1, expected[1])], abs=0.01)
    assert speakers_interval(0.5, drawn, 4, upper=0.6)[1] == 0.6


def test_the_interval_of_two_speakers_per_fold_holds_the_truth() -> None:
    """Recalls scatter by speaker as in a normal model; ten speakers. Percentiles hold it in about 90 % of cases."""
    rng = np.random.default_rng(0)
    rates = {"wa": RATES["wa"]}
    held = []
    for _ in range(200):
        hits = rng.binomial(100, np.clip(rng.normal(0.65, 0.08, 10), 0, 1))
        matrices = np.zeros((1, 10, 2, 2))
        matrices[0, :, 0, 0], matrices[0, :, 0, 1] = hits, 100 - hits
        counts = Counts(matrices, np.arange(10) // 2, np.arange(10), 0)
        drawn = replicates([counts], rates, rng, 300)[0]["wa"]
        low, high = speakers_interval(float(fold_rates(counts, rates["wa"]).mean()), drawn, 10)
        held.append(low <= 0.65 <= high)
    assert 0.915 < np.mean(held) < 0.985
