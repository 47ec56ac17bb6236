"""Putting speakers into folds so that every class is in every part, as far as speakers allow.

scikit-learn's ``StratifiedGroupKFold`` places one speaker after the other and never takes one back: where most speakers
have only some of the classes, folds without a class are left although a better division exists. Its division and random
ones are starting points here; from each, single speakers are moved, and pairs exchanged, as long as that helps.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

STARTS = 20
"""Random starting points beside the given one; always the same, so that a corpus is always divided alike."""
PAIRS = 200
"""Most speakers of whom pairs are exchanged as well; among more of them, moves find what there is to find."""
UNTRAINED = 1000
"""So much weighs a class that a training set lacks, which cannot be run at all; one that a test set lacks weighs 1."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def lacking(spoken: Floats) -> Ints:
    """What divisions lack.

    A test set is the dev set of the fold before it, so both lack a class together; a training set lacks it where nobody
    outside of a fold and the next has it.

    Args:
        spoken: utterances of each fold and class, shape (..., folds, classes)

    Returns:
        shape (...): classes that test sets lack, and :data:`UNTRAINED` for each that a training set lacks
    """
    held_out = spoken + np.roll(spoken, -1, axis=-2) if spoken.shape[-2] > 2 else spoken
    untrained = (held_out == spoken.sum(axis=-2, keepdims=True)).sum(axis=(-2, -1))
    return np.asarray(UNTRAINED * untrained + (spoken == 0).sum(axis=(-2, -1)), dtype=np.int64)


def inequality(spoken: Floats) -> Floats:
    """How unequally the classes are spread, shape (...): the standard deviation over folds of each class' share."""
    shares = spoken / np.maximum(spoken.sum(axis=-2, keepdims=True), 1)
    return np.asarray(shares.std(axis=-2).mean(axis=-1))


def assign(counts: Ints, given: Ints, folds: int) -> tuple[int, Ints]:
    """Look for the division that lacks the least, and among such for an equal spread of classes.

    Args:
        counts: utterances of each speaker and class, shape (speakers, classes)
        given: a division, the fold of each speaker, from 0; kept where nothing lacks less
        folds: how many

    Returns:
        :func:`lacking` of the division, and the division
    """
    rng = np.random.default_rng(0)
    best, kept = int(lacking(_spoken(given, counts, folds))), given
    least = int(np.maximum(folds - (counts > 0).sum(axis=0), 0).sum())  # a class in as many folds as have its speakers
    for start in range(STARTS + 1):
        if best <= least:
            break
        first = given if start == 0 else rng.permutation(np.arange(len(counts)) % folds)
        found = _climb(first, counts, folds, level=False)
        value = int(lacking(_spoken(found, counts, folds)))
        if value < best:
            best, kept = value, found
    return best, kept if kept is given else _climb(kept, counts, folds, level=True)


def _spoken(assignment: Ints, counts: Ints, folds: int) -> Floats:
    return np.stack([counts[assignment == fold].sum(axis=0) for fold in range(folds)]).astype(np.float64)


def _climb(assignment: Ints, counts: Ints, folds: int, level: bool) -> Ints:
    """The best step again and again while less is lacking or, with ``level``, as much and the spread is more equal."""
    here: Ints = assignment.copy()
    while True:
        spoken = _spoken(here, counts, folds)
        now = int(lacking(spoken)), float(inequality(spoken)) - 1e-9
        for steps in (_moves(here, folds), _exchanges(here)):
            if not len(steps):
                continue
            values = _after(steps, here, counts, spoken)
            lack = lacking(values)
            candidates = np.flatnonzero(lack == lack.min())
            spread = inequality(values[candidates])
            place = int(spread.argmin())
            then = int(lack.min()), float(spread[place])
            if then[0] < now[0] or (level and then < now):
                speaker, fold, other = steps[candidates[place]]
                if other >= 0:
                    here[other] = here[speaker]
                here[speaker] = fold
                break
        else:
            return here


def _moves(here: Ints, folds: int) -> Ints:
    """Every speaker to every other fold: rows of speaker, fold, -1."""
    speakers, numbers = (grid.ravel() for grid in np.meshgrid(np.arange(len(here)), np.arange(folds), indexing="ij"))
    keep = here[speakers] != numbers
    return np.stack([speakers[keep], numbers[keep], np.full(int(keep.sum()), -1)], axis=1)


def _exchanges(here: Ints) -> Ints:
    """Every two speakers of different folds: rows of speaker, the other's fold, the other."""
    if len(here) > PAIRS:
        return np.zeros((0, 3), dtype=np.int64)
    first, second = np.triu_indices(len(here), 1)
    keep = here[first] != here[second]
    return np.stack([first[keep], here[second[keep]], second[keep]], axis=1)


def _after(steps: Ints, here: Ints, counts: Ints, spoken: Floats) -> Floats:
    """Utterances of each fold and class after each step, shape (steps, folds, classes)."""
    speaker, fold, other = steps.T
    moved = counts[speaker] - np.where(other[:, None] >= 0, counts[other], 0)
    values = np.repeat(spoken[None], len(steps), axis=0)
    rows = np.arange(len(steps))
    values[rows, here[speaker]] -= moved
    values[rows, fold] += moved
    return values
