"""What every run begins with, and what it says of a fold at its end: corpus, folds, scores."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import ConfigError, EmotionError
from s3prl_emotion.evaluation.metrics import ua, wa
from s3prl_emotion.experiment.preparation import check_leaks, prepare
from s3prl_emotion.protocols.split import Folds
from s3prl_emotion.runs.folder import FoldFolder, RunFolder
from s3prl_emotion.runs.plan import CorpusChoice
from s3prl_emotion.runs.prediction import read_predictions

logger = logging.getLogger(__name__)


class SplitCache(dict[str, tuple[Manifest, Folds]]):
    """A corpus and its division, by the protocol's name, and why it cannot be used: both are found out once."""

    def __init__(self, known: Mapping[str, tuple[Manifest, Folds]] | None = None) -> None:
        super().__init__(known or {})
        self.refused: dict[tuple[str, ...], EmotionError] = {}  # by protocol and what may say what was heard before

    @contextlib.contextmanager
    def remembering(self, protocol: str, learned: Sequence[Path]) -> Iterator[None]:
        """Refuse at once what was refused before."""
        key = (protocol, *(str(place) for place in learned if place.is_dir()))
        if key in self.refused:
            raise self.refused[key]
        try:
            yield
        except EmotionError as error:
            self.refused[key] = error
            raise


def load_splits(
    corpus: CorpusChoice,
    protocol: str,
    wanted: tuple[int, ...] | None,
    learned: Sequence[Path],
    folder: RunFolder,
    prepared: SplitCache,
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
    corpus: CorpusChoice, protocol: str, learned: Sequence[Path], folder: RunFolder, prepared: SplitCache, known: bool
) -> tuple[Manifest, Folds]:
    """The corpus as a checked manifest and its folds, from the run folder if an earlier start left them there."""
    if known:
        _, manifest, folds = folder.whole()
        check_leaks(manifest, folds, folder, corpus.pretraining, learned)
        return manifest, folds
    with prepared.remembering(protocol, learned):
        if protocol in prepared:
            manifest, folds = prepared[protocol]
            check_leaks(manifest, folds, folder, corpus.pretraining, learned)
            folder.write_division(manifest, folds)
            return manifest, folds
        prepared[protocol] = prepare(
            corpus.name,
            corpus.data,
            corpus.options,
            protocol,
            folder,
            corpus.skip_bad,
            corpus.trim_zeros,
            corpus.drop_leaks,
            corpus.pretraining,
            learned,
            corpus.making,
        )
    return prepared[protocol]


def log_score(fold: FoldFolder, number: int, begun_s: float) -> None:
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
