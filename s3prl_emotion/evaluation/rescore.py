"""Recompute the numbers of a finished run from its predictions."""

from __future__ import annotations

import logging
from pathlib import Path

from s3prl_emotion.evaluation.runs import read_run
from s3prl_emotion.files import is_read_only
from s3prl_emotion.runs.folder import RunFolder
from s3prl_emotion.runs.results import Results, write_results

logger = logging.getLogger(__name__)


def recompute(run_folder: str | Path) -> Results:
    """Recompute every number of ``results.json`` from ``predictions.csv`` and rewrite it.

    What the predictions cannot tell (names, protocol, steps, seed, versions, settings, expected folds) is taken from
    the old ``results.json``, keys that this version does not know included.

    Args:
        run_folder: the folder that holds ``predictions.csv`` and ``results.json``

    Returns:
        the new record

    Raises:
        RunError: if a file is missing or malformed, or if the two do not belong together
    """
    run = read_run(run_folder)
    try:
        write_results(RunFolder(run.folder).results, run.results)
    except OSError as error:
        if not is_read_only(error):
            raise
        logger.warning("%s cannot be written, and stays as it is", error.filename)
    logger.info("%s: recomputed %d folds from %d predictions", run.folder, len(run.results.folds), len(run.predictions))
    return run.results
