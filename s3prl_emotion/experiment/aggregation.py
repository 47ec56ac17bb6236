"""Aggregate the finished folds of a run folder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora import Manifest, corpora
from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation.summary import summarise, versions
from s3prl_emotion.files import is_read_only
from s3prl_emotion.protocols import audit, protocols
from s3prl_emotion.protocols.behaviour import record
from s3prl_emotion.protocols.split import Folds
from s3prl_emotion.runs.folder import PACKAGES, RunFolder
from s3prl_emotion.runs.prediction import Prediction
from s3prl_emotion.runs.record import read_json
from s3prl_emotion.runs.results import Results

logger = logging.getLogger(__name__)


def _incompleteness(manifest: Manifest) -> list[str]:
    """One sentence if the corpus is not the whole one that its name promises."""
    name = "iemocap" if manifest.corpus == "superb_metadata" else manifest.corpus
    known = corpora.get(name).difference(manifest) if name in corpora.names() else ""
    return [known] if known else []


def _unknown_speakers(manifest: Manifest, folds: Folds) -> list[str]:
    """One sentence if utterances are in no part because nobody knows who speaks."""
    if not protocols.get(folds.protocol).needs_speakers:
        return []
    used = {name for fold in folds.folds for name in (*fold.train, *fold.dev, *fold.test)}
    count = sum(not item.speaker and item.id not in used for item in manifest.utterances)
    return [f"{count} of {len(manifest.utterances)} utterances left out, whose speakers are unknown"] if count else []


def _own_name(about: dict[str, Any], manifest: Manifest) -> str:
    """The corpus' name for people: with the data's own where many corpora share a reader, as in a run folder's name."""
    if manifest.corpus != about["name"] or about["name"] not in corpora.names() or about["data"] is None:
        return manifest.corpus
    named_by_data = corpora.get(about["name"]).named_by_data
    return f"{manifest.corpus}_{Path(about['data']).stem}" if named_by_data else manifest.corpus


def _shared(folder: RunFolder) -> list[dict[str, Any]]:
    """What the audit found that train, dev and test share: declared by the protocol, or no leak."""
    return audit.summary(audit.read(folder.audit)) if folder.audit.is_file() else []


def aggregate_folds(folder: RunFolder) -> Results:
    """Gather the finished folds of a run folder into ``predictions.csv`` and ``results.json``.

    Where they are as they should be already, or cannot be written (a read-only mount, another user's folder), they
    stay as they are.

    Raises:
        RunError: naming the file, if something there is not of this run
    """
    with folder.collecting():
        results, predictions = _collected(folder)
        try:
            results = folder.write_scores(results, predictions)
        except OSError as error:
            if not is_read_only(error) or not (folder.results).is_file():
                raise
            logger.info("%s cannot be written, and stays as it is", error.filename)
    return results


def _collected(folder: RunFolder) -> tuple[Results, list[Prediction]]:
    about, manifest, folds = folder.whole()
    predictions: list[Prediction] = []
    steps: dict[int, int | None] = {}
    counted: dict[str, int] = {}  # epochs in steps, by fold
    deviations = list(about["settings"]["deviations"])
    for fold in folds.folds:
        place = folder.fold(fold.number)
        if not place.is_finished:
            continue
        finished = place.finished(fold.number, about, manifest, folds)
        predictions += place.read_predictions(finished, manifest.labels, fold.test)
        steps[fold.number] = finished["step"]
        if "total_steps" in finished:
            counted[str(fold.number)] = finished["total_steps"]
        deviations += [f"fold {fold.number}: {text}" for text in finished["differs"]]
    if not predictions:
        raise RunError(f"{folder.path}: no fold is finished yet")
    results = summarise(
        predictions,
        manifest.labels,
        upstream=about["upstream"],
        checkpoint_sha256=about["checkpoint_sha256"],
        downstream=about["downstream"],
        corpus=manifest.corpus,
        corpus_name=_own_name(about["corpus"], manifest),
        protocol={**record(manifest, folds), "shared": _shared(folder)},
        steps=steps,
        seed=about["seed"],
        versions=versions(*about["settings"].get(PACKAGES, ())),
        settings={
            **about["settings"],
            **({"epochs_in_steps": counted} if counted else {}),
            "deviations": deviations + _incompleteness(manifest) + _unknown_speakers(manifest, folds),
            **({"text": read_json(folder.text, "a run with texts")} if "text" in about else {}),
        },
        folds_expected=[fold.number for fold in folds.folds],
    )
    return results, predictions
