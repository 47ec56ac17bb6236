"""How often 95 % intervals hold the truth, and how often a difference is seen: ``python benchmarks/intervals.py``.

Simulated runs: every speaker has an accuracy of its own (normal on the logit scale), utterances are right or wrong by
it, wrong ones spread over the other classes. The true figure is the mean over many speakers.

``--only coverage``: the share of runs whose interval holds the true UA, and the mean width in points:

- speakers: the interval of results.json, from drawn speakers;
- percentile: percentiles 2.5 and 97.5 of the same draws;
- folds: Student's t over folds.

``--only pooled``: the same for the UA over pooled predictions, with 29 speakers of whom most have some classes only.

``--only power``: pairs of systems whose true difference is the smallest that compare calls detectable, (t(0.975) +
t(0.80)) · standard error, on average: the share of paired bootstraps with p < 0.05, which should be 80 %, and the share
without any difference, which should be 5 %. A speaker's accuracies under the two systems are correlated.
"""

from __future__ import annotations

import argparse

import numpy as np
from tabulate import tabulate

from s3prl_emotion.evaluation import intervals, metrics, paired_tests

CLASSES = 4
ACCURACY = 0.7


def simulate(rng: np.random.Generator, folds: int, per_fold: int, utterances: int, spread: float) -> intervals.Counts:
    """One run: confusion counts of ``folds * per_fold`` speakers with ``utterances`` each."""
    cells = folds * per_fold
    logits = np.log(ACCURACY / (1 - ACCURACY)) + spread * rng.standard_normal(cells)
    matrices = np.zeros((1, cells, CLASSES, CLASSES))
    for cell, accuracy in enumerate(1 / (1 + np.exp(-logits))):
        rows = np.full((CLASSES, CLASSES), (1 - accuracy) / (CLASSES - 1))
        np.fill_diagonal(rows, accuracy)
        for label, count in enumerate(rng.multinomial(utterances, np.full(CLASSES, 1 / CLASSES))):
            matrices[0, cell, label] = rng.multinomial(count, rows[label])
    return intervals.Counts(matrices, np.repeat(np.arange(folds), per_fold), np.arange(cells), 0)


def true_mean(spread: float) -> float:
    """The mean accuracy over speakers."""
    draws = np.random.default_rng(0).standard_normal(1_000_000)
    return float(np.mean(1 / (1 + np.exp(-np.log(ACCURACY / (1 - ACCURACY)) - spread * draws))))


def coverage(folds: int, per_fold: int, utterances: int, spread: float, runs: int, draws: int) -> list[str]:
    """The row of one setting."""
    rng = np.random.default_rng(1)
    rate = metrics.rates()["ua"].of_confusion
    expected, speakers = true_mean(spread), folds * per_fold
    found: dict[str, list[tuple[float, ...]]] = {"speakers": [], "percentile": [], "folds": []}
    for _ in range(runs):
        counts = simulate(rng, folds, per_fold, utterances, spread)
        by_fold = intervals.fold_rates(counts, rate)[0]
        (drawn,) = intervals.replicates([counts], {"ua": rate}, rng, draws)
        mean = float(by_fold.mean())
        found["speakers"].append(tuple(intervals.speakers_interval(mean, drawn["ua"], speakers)))
        found["percentile"].append(tuple(np.percentile(drawn["ua"], [2.5, 97.5])))
        student = intervals.student_interval(by_fold)
        found["folds"].append((student[0], student[1]) if student else (np.nan, np.nan))
    cells = [f"{folds} x {per_fold}", str(utterances), f"{spread:g}"]
    for bounds in found.values():
        held = np.mean([low <= expected <= high for low, high in bounds])
        width = np.mean([high - low for low, high in bounds])
        cells.append(f"{100 * held:.1f} % ({100 * width:.1f})")
    return cells


def entangled(rng: np.random.Generator, spread: float, speakers: int = 29) -> intervals.Counts:
    """One run in one confusion matrix: most of the speakers have some of the classes only, the third of them few."""
    rates = np.array([0.75, 0.2, 0.25, 0.3])
    sizes = np.zeros((speakers, CLASSES), dtype=int)
    while ((sizes > 0).sum(axis=0) < 3).any():
        sizes = rng.integers(3, 30, sizes.shape) * (rng.random(sizes.shape) < rates)
        sizes[sizes.sum(axis=1) == 0, 0] = 10
    logits = np.log(ACCURACY / (1 - ACCURACY)) + spread * rng.standard_normal(speakers)
    matrices = np.zeros((1, speakers, CLASSES, CLASSES))
    for speaker, accuracy in enumerate(1 / (1 + np.exp(-logits))):
        rows = np.full((CLASSES, CLASSES), (1 - accuracy) / (CLASSES - 1))
        np.fill_diagonal(rows, accuracy)
        for label in range(CLASSES):
            matrices[0, speaker, label] = rng.multinomial(sizes[speaker, label], rows[label])
    return intervals.Counts(matrices, np.zeros(speakers, dtype=np.int64), np.arange(speakers), 0)


def pooled_coverage(spread: float, runs: int, draws: int) -> list[str]:
    """The row of one spread."""
    rng = np.random.default_rng(1)
    rate = metrics.rates()["ua"].of_confusion
    expected = true_mean(spread)
    bounds = []
    for _ in range(runs):
        counts = entangled(rng, spread)
        (drawn,) = intervals.replicates([counts], {"ua": rate}, rng, draws)
        mean = float(intervals.fold_rates(counts, rate).mean())
        bounds.append(intervals.speakers_interval(mean, drawn["ua"], counts.speakers))
    held = np.mean([low <= expected <= high for low, high in bounds])
    return [f"{spread:g}", f"{100 * held:.1f} % ({100 * np.mean([high - low for low, high in bounds]):.1f})"]


def pair(
    rng: np.random.Generator, folds: int, per_fold: int, utterances: int, spread: float, shift: float
) -> tuple[intervals.Counts, intervals.Counts]:
    """Two systems over the same speakers, the second ``shift`` logits better; half of the variance is common."""
    cells = folds * per_fold
    common = rng.standard_normal(cells)
    sizes = rng.multinomial(utterances, np.full(CLASSES, 1 / CLASSES), size=cells)
    found = []
    for offset in (0.0, shift):
        own = rng.standard_normal(cells)
        logits = np.log(ACCURACY / (1 - ACCURACY)) + offset + spread * (common + own) / np.sqrt(2)
        matrices = np.zeros((1, cells, CLASSES, CLASSES))
        for cell, accuracy in enumerate(1 / (1 + np.exp(-logits))):
            rows = np.full((CLASSES, CLASSES), (1 - accuracy) / (CLASSES - 1))
            np.fill_diagonal(rows, accuracy)
            for label in range(CLASSES):
                matrices[0, cell, label] = rng.multinomial(sizes[cell, label], rows[label])
        found.append(intervals.Counts(matrices, np.repeat(np.arange(folds), per_fold), np.arange(cells), 0))
    return found[1], found[0]


def true_difference(spread: float, shift: float) -> float:
    """The mean over speakers of the second system's accuracy minus the first's, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    logits = np.log(ACCURACY / (1 - ACCURACY)) + spread * nodes
    return float(weights @ (1 / (1 + np.exp(-logits - shift)) - 1 / (1 + np.exp(-logits))) / weights.sum())


def power(folds: int, per_fold: int, utterances: int, spread: float, runs: int, draws: int) -> list[str]:
    """The row of one setting."""
    setting = (folds, per_fold, utterances, spread)
    rates = {"ua": metrics.rates()["ua"].of_confusion}

    def measured(shift: float, number: int) -> tuple[float, float]:
        """The share of significant differences, and the mean of the smallest detectable one."""
        rng = np.random.default_rng(2)
        found = [paired_tests.paired_bootstrap(*pair(rng, *setting, shift), rates, rng, draws) for _ in range(number)]
        items = [item["ua"] for item in found if item is not None]
        return float(np.mean([item.p < 0.05 for item in items])), float(np.mean([item.detectable for item in items]))

    false, wanted = measured(0.0, runs)
    for _ in range(3):  # the error depends a little on the difference: until the two agree
        low, high = 0.0, 10.0
        for _ in range(40):
            shift = (low + high) / 2
            low, high = (shift, high) if true_difference(spread, shift) < wanted else (low, shift)
        wanted = measured(shift, max(50, runs // 4))[1]
    seen, stated = measured(shift, runs)
    truth = true_difference(spread, shift)
    cells = [f"{folds} x {per_fold}", str(utterances), f"{spread:g}", f"{100 * stated:.1f}", f"{100 * truth:.1f}"]
    return [*cells, f"{100 * seen:.1f} %", f"{100 * false:.1f} %"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--only", choices=("coverage", "pooled", "power"))
    args = parser.parse_args()
    settings = [
        (folds, per_fold, utterances, spread)
        for folds, per_fold in ((5, 2), (10, 1), (6, 4), (5, 18))
        for utterances in (35, 500)
        for spread in (0.0, 0.5, 1.0)
    ]
    if args.only in (None, "coverage"):
        rows = [coverage(*setting, args.runs, args.draws) for setting in settings]
        show(["folds x speakers", "utterances each", "spread", "speakers", "percentile", "folds"], rows)
    if args.only in (None, "pooled"):
        show(["spread", "pooled"], [pooled_coverage(spread, args.runs, args.draws) for spread in (0.0, 0.5, 1.0)])
    if args.only in (None, "power"):
        rows = [power(*setting, args.runs, args.draws) for setting in settings if setting[3] < 1]
        headers = ["folds x speakers", "utterances each", "spread", "detectable, points", "true", "seen", "without any"]
        show(headers, rows)


def show(headers: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    print(tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
