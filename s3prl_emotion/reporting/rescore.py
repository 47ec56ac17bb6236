"""Recompute the numbers of a finished run from its predictions."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation.predictions import read_predictions
from s3prl_emotion.evaluation.results import read_results, summarise, write_results

logger = logging.getLogger(__name__)


def recompute(run_folder: str | Path) -> dict[str, Any]:
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
    folder = Path(run_folder)
    for name in ("predictions.csv", "results.json"):
        if not (folder / name).is_file():
            raise RunError(
                f"{folder}: holds no {name}. Expected the folder of a run, <root>/<upstream>/<downstream>/"
                "<corpus>-<protocol>; run the experiment again if the file was lost."
            )
    predictions, labels = read_predictions(folder / "predictions.csv")
    old = read_results(folder / "results.json")
    if labels != old["protocol"]["labels"]:
        raise RunError(
            f"{folder}: predictions.csv has the labels {labels}, results.json has {old['protocol']['labels']}: "
            "they are not from the same run"
        )
    steps = {fold["fold"]: fold["step"] for fold in old["folds"]}
    unknown = sorted({item.fold for item in predictions} - set(steps))
    if unknown:
        raise RunError(
            f"{folder}: predictions.csv has folds {unknown}, which results.json does not list: run those folds again"
        )
    kept = ("upstream", "checkpoint_sha256", "downstream", "corpus", "protocol", "seed", "versions", "settings")
    try:
        new = summarise(
            predictions, labels, steps=steps, folds_expected=old["folds_expected"], **{key: old[key] for key in kept}
        )
    except RunError as error:
        raise RunError(f"{folder}: {error}") from error
    results = {**old, **new}
    write_results(folder / "results.json", results)
    logger.info("%s: recomputed %d folds from %d predictions", folder, len(new["folds"]), len(predictions))
    return results
