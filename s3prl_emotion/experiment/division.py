"""What every run begins with, and what it says of a fold at its end: corpus, folds, scores."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import ConfigError, EmotionError
from s3prl_emotion.evaluation.metrics import ua, wa
from s3prl_emotion.experiment.preparation import check_leaks, divide, heard
from s3prl_emotion.protocols.split import Folds
from s3prl_emotion.runs.folder import FoldFolder, RunFolder
from s3prl_emotion.runs.plan import CorpusChoice
from s3prl_emotion.runs.prediction import read_predictions

logger = logging.getLogger(__name__)

Prepared = dict[str, tuple[Manifest, Folds] | EmotionError]
"""A corpus and its division, or why there is none, by the protocol's name."""


def divided(
    corpus: CorpusChoice,
    protocol: str,
    wanted: tuple[int, ...] | None,
    learned: Sequence[Path],
    folder: RunFolder,
    prepared: Prepared,
    known: bool,
) -> tuple[Manifest, Folds, tuple[int, ...]]:
    """The corpus as a checked manifest, its folds, and which of them to run.

    Args:
        corpus: what to divide
        protocol: how
        wanted: the folds asked for; None for all
        learned: the upstream's checkpoint, and a pretrained head: folders that may say what was heard before
        folder: of the run
        prepared: what other runs have prepared; filled in
        known: an earlier start left manifest and folds in the folder

    Raises:
        EmotionError: naming the file, the leak or the fold
    """
    manifest, folds = _prepare(corpus, protocol, learned, folder, prepared, known)
    numbers = tuple(fold.number for fold in folds.folds)
    for number in wanted or numbers:
        if number not in numbers:
            raise ConfigError(f"--fold {number}: {corpus.name} has folds {', '.join(map(str, numbers))}")
    return manifest, folds, wanted or numbers


def _prepare(
    corpus: CorpusChoice, protocol: str, learned: Sequence[Path], folder: RunFolder, prepared: Prepared, known: bool
) -> tuple[Manifest, Folds]:
    """The corpus as a checked manifest and its folds, from the run folder if an earlier start left them there."""
    if known:
        _, manifest, folds = folder.whole()
        check_leaks(manifest, folds, folder, corpus.pretraining, learned)
        return manifest, folds
    if protocol not in prepared:
        try:
            prepared[protocol] = divide(
                corpus.name,
                corpus.data,
                corpus.options,
                protocol,
                folder,
                corpus.skip_bad,
                corpus.trim_zeros,
                corpus.drop_leaks,
                corpus.making,
            )
        except EmotionError as error:
            prepared[protocol] = error
    found = prepared[protocol]
    if isinstance(found, EmotionError):
        raise found
    manifest, folds = found
    try:
        check_leaks(manifest, folds, folder, corpus.pretraining, learned)
    except EmotionError as error:
        if not any(heard(place, folds) for place in learned):  # else it is the leak of one upstream or head
            prepared[protocol] = error
        raise
    folder.write_division(manifest, folds)
    return manifest, folds


def check_prepared(prepared: Prepared) -> None:
    """Stop where what several runs share is refused: it would be refused to each of them.

    Raises:
        EmotionError: that of the first run
    """
    for found in prepared.values():
        if isinstance(found, EmotionError):
            raise found


def say_scored(fold: FoldFolder, number: int, begun_s: float) -> None:
    """UA and WA of a finished fold, in the log; ``begun_s`` is of :func:`time.monotonic`."""
    rows, labels = read_predictions(fold.predictions)
    pair = [row.truth for row in rows], [row.predicted for row in rows]
    logger.info(
        "fold %d: UA %.2f %%, WA %.2f %% on %d test utterances (%.0f s)",
        number,
        100 * ua(*pair, labels),
        100 * wa(*pair, labels),
        len(rows),
        time.monotonic() - begun_s,
    )
