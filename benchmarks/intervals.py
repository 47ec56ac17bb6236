"""How often 95 % intervals hold the true mean: ``python benchmarks/intervals.py``.

Simulated runs: every speaker has an accuracy of its own (normal on the logit scale), utterances are right or wrong by
it, wrong ones spread over the other classes. The true figure is the mean over many speakers. Printed for each setting
is the share of runs whose interval holds it, for UA, and the mean width in points:

- speakers: the interval of results.json, from drawn speakers;
- percentile: percentiles 2.5 and 97.5 of the same draws;
- folds: Student's t over folds.
"""

from __future__ import annotations

import argparse

import numpy as np
from tabulate import tabulate

from s3prl_emotion.evaluation import intervals, metrics

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
    rate = metrics.OF_CONFUSION["ua"]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=500)
    args = parser.parse_args()
    settings = [
        (folds, per_fold, utterances, spread)
        for folds, per_fold in ((5, 2), (10, 1), (6, 4), (5, 18))
        for utterances in (35, 500)
        for spread in (0.0, 0.5, 1.0)
    ]
    rows = [coverage(*setting, args.runs, args.draws) for setting in settings]
    headers = ["folds x speakers", "utterances each", "spread", "speakers", "percentile", "folds"]
    print(tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True))


if __name__ == "__main__":
    main()
