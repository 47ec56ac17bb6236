"""How far clusters agree with what is known of utterances, within each speaker and beyond chance.

Chance is clusters of the same sizes, drawn at random within each speaker: the sums over rows and columns of the
contingency table stay, so only the table itself is drawn anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MEASURES = ("ami", "purity")


@dataclass(frozen=True)
class Speaker:
    """One speaker's agreement.

    Args:
        utterances: that have both a cluster and the fact
        found: ``ami`` and ``purity``
        chance: the same of random clusters, ``(shuffles,)`` each
    """

    utterances: int
    found: Mapping[str, float]
    chance: Mapping[str, Floats]


@dataclass(frozen=True)
class Agreement:
    """The mean over speakers, each counted once.

    ``interval`` is that of the mean difference to chance: Student's t over speakers, 95 %; None for one speaker. ``p``
    is one-sided: (1 + the random clusterings whose mean is as large) / (1 + all of them).
    """

    found: float
    chance: float
    interval: tuple[float, float] | None
    p: float


def measure_agreement(
    clusters: Sequence[int], facts: Sequence[str], shuffles: int, drawn: np.random.Generator
) -> Speaker:
    r"""Clusters of one speaker against a fact of the same utterances.

    ``ami`` is the adjusted mutual information (Vinh, Epps and Bailey, JMLR 11, 2010; arithmetic mean):
    :math:`(I - E[I]) / ((H_c + H_f) / 2 - E[I])`, at most 1, 0 by chance. ``purity`` is
    :math:`\frac{1}{n} \sum_c \max_f n_{cf}`, in (0, 1].

    Args:
        clusters: at least two different ones
        facts: such as emotions, at least two different ones
        shuffles: random clusterings
        drawn: draws them

    Raises:
        ValueError: if there are not two of each
    """
    from sklearn.metrics.cluster import expected_mutual_information

    rows, columns = _codes(clusters), _codes(facts)
    kinds, values = int(rows.max()) + 1, int(columns.max()) + 1
    if kinds < 2 or values < 2:
        raise ValueError(f"expected two clusters and two facts at least, got {kinds} and {values}")
    count = len(rows)
    each = np.stack([rows, *(drawn.permutation(rows) for _ in range(shuffles))])
    cells = each * values + columns + kinds * values * np.arange(len(each))[:, None]
    tables = np.bincount(cells.ravel(), minlength=kinds * values * len(each)).reshape(len(each), kinds, values)
    first = tables[0].astype(np.int64)
    expected = float(expected_mutual_information(first, count))
    mean_entropy = (_entropy(first.sum(axis=1)) + _entropy(first.sum(axis=0))) / 2
    room = max(mean_entropy - expected, np.finfo(np.float64).eps)
    ami = (_information(tables, count) - expected) / room
    purity = tables.max(axis=2).sum(axis=1) / count
    return Speaker(
        count,
        {"ami": float(ami[0]), "purity": float(purity[0])},
        {"ami": ami[1:], "purity": purity[1:]},
    )


def summarise_speakers(speakers: Sequence[Speaker], measure: str) -> Agreement:
    """The mean over speakers of one of :data:`MEASURES`."""
    found = np.array([item.found[measure] for item in speakers])
    chance = np.stack([item.chance[measure] for item in speakers])  # (speakers, shuffles)
    drawn_means = chance.mean(axis=0)
    larger = int((drawn_means >= found.mean() - 1e-12).sum())
    p = (1 + larger) / (1 + len(drawn_means))
    return Agreement(float(found.mean()), float(chance.mean()), _interval(found - chance.mean(axis=1)), p)


def _interval(differences: Floats) -> tuple[float, float] | None:
    if len(differences) < 2:
        return None
    from scipy import stats

    half = float(stats.t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / np.sqrt(len(differences)))
    return float(differences.mean()) - half, float(differences.mean()) + half


def _codes(values: Sequence[object]) -> npt.NDArray[np.int64]:
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return np.array([numbers[value] for value in values], dtype=np.int64)


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    rates = counts[counts > 0] / counts.sum()
    return float(-(rates * np.log(rates)).sum())


def _information(tables: npt.NDArray[np.int64], count: int) -> Floats:
    """Mutual information in nats of each table, ``(tables, kinds, values)`` to ``(tables,)``."""
    outer = tables.sum(axis=2)[:, :, None] * tables.sum(axis=1)[:, None, :]
    ratio = np.divide(tables * count, outer, out=np.ones(tables.shape), where=tables > 0)
    found: Floats = (tables / count * np.log(ratio)).sum(axis=(1, 2))
    return found
