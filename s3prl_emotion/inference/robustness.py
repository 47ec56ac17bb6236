"""A finished run's test folds, scored again on disturbed copies of their audio with the run's own checkpoints.

Each utterance is read, disturbed and recognised alone, by the code of ``predict``; nothing is trained, and no disturbed
audio or state is kept. What is kept is each fold's predictions under each condition, below ``robustness/`` in the run
folder, with what they depend on; the run's own record is not touched.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from s3prl_emotion.audio.augmentation import effects
from s3prl_emotion.audio.conditions import UNDISTURBED, Condition, disturbed
from s3prl_emotion.audio.preparation import WHOLE
from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation.attributes import manifest_of
from s3prl_emotion.evaluation.runs import Run
from s3prl_emotion.files import checkpoint_sha256, is_read_only, parse_json, write_atomically
from s3prl_emotion.inference.trained import EmotionRecogniser
from s3prl_emotion.protocols.integrity import manifest_sha256
from s3prl_emotion.runs.composite import rate_members, refuse_fusion
from s3prl_emotion.runs.folder import FoldFolder, RunFolder
from s3prl_emotion.runs.prediction import Prediction, read_predictions, write_predictions
from s3prl_emotion.runs.record import read_fold_file

logger = logging.getLogger(__name__)

FOLDER = "robustness"
"""In a run folder: what was scored on disturbed audio."""

Load = Callable[[Path, int], EmotionRecogniser]
"""From a run folder and a fold to its trained head."""


@dataclass(frozen=True)
class ScoredCondition:
    """A run under one condition."""

    predictions: tuple[Prediction, ...]  # in the order of the run's own
    silent: tuple[str, ...]  # utterances that hold nothing but zeros, and stayed as they are


def score(
    run: Run, conditions: Sequence[Condition], load: Load, seed: int, folds: Sequence[int], data: Path | None = None
) -> list[ScoredCondition]:
    """Score folds of a run under each condition; what was scored before is taken from the run folder.

    Args:
        run: a finished run
        conditions: what is done to the audio
        load: gives a fold's head
        seed: of the disturbances; each utterance has draws of its own, the same under every level of an effect
        folds: their numbers
        data: where the corpus is now, if it is not where the manifest says

    Raises:
        RunError: if a fold's checkpoint is missing or another one
        AudioError: if an utterance cannot be read or disturbed
    """
    refuse_fusion(run.folder)
    manifest = manifest_of(run.folder)
    if data is not None:
        manifest = dataclasses.replace(manifest, root=data.expanduser().absolute().as_posix())
    places = {number: _fold_folder(run.folder, number) for number in folds}
    known = [_about(condition, seed) for condition in conditions]
    found: dict[int, dict[int, ScoredCondition]] = {place: {} for place in range(len(conditions))}
    there = 0
    for number in folds:
        rows = [item for item in run.predictions if item.fold == number]
        of = _about_fold(number, manifest, places[number])
        recogniser: EmotionRecogniser | None = None
        for place, (condition, about) in enumerate(zip(conditions, known, strict=True)):
            kept = _Kept(run.folder / FOLDER, about, of)
            scored = kept.read(rows)
            there += scored is not None
            if scored is None:
                recogniser = recogniser or load(run.folder, number)
                scored = _score(rows, manifest, recogniser, condition, seed)
                kept.write(scored, run.results.labels)
            found[place][number] = scored
    if there:
        logger.info("%s: %d of %d parts were scored before", run.folder, there, len(folds) * len(conditions))
    return [
        ScoredCondition(
            tuple(item for number in folds for item in parts[number].predictions),
            tuple(name for number in folds for name in parts[number].silent),
        )
        for parts in found.values()
    ]


def _fold_folder(folder: Path, number: int) -> FoldFolder:
    """Where a fold's checkpoint lies.

    Raises:
        RunError: if it is not there
    """
    run = RunFolder(folder)
    run = RunFolder(rate_members(folder)[number]) if not run.is_begun and run.rates.is_file() else run
    fold = run.fold(number)
    if not fold.is_finished:
        raise RunError(
            f"{fold.path}: holds no checkpoint of a finished fold, and disturbed audio can only be scored with one. "
            "Restore the folder, or name the run folder where it was trained"
        )
    return fold


def _score(
    rows: Sequence[Prediction], manifest: Manifest, recogniser: EmotionRecogniser, condition: Condition, seed: int
) -> ScoredCondition:
    effect = condition.build()
    found, silent = [], []
    for row in tqdm(rows, desc=f"fold {rows[0].fold}, {condition.title}", leave=False, disable=None):
        item = manifest.by_id[row.utterance]
        path = manifest.path_of(item)
        if not path.is_file():
            raise RunError(
                f"{path}: no such audio file. Paths of the manifest start from {manifest.root}: --data DIR names the "
                "place where that folder is now"
            )
        samples = WHOLE.waveform(path, item.start_s, item.end_s)
        samples, is_silent = disturbed(samples, effect, seed, str(condition.effect), item.id, name=str(path))
        if is_silent:
            silent.append(item.id)
        recognised = recogniser.recognise(samples, is_prepared=True)
        probabilities = tuple(recognised.probabilities[label] for label in manifest.labels)
        found.append(
            Prediction(row.fold, row.utterance, row.speaker, row.truth, recognised.predicted, probabilities, row.soft)
        )
    return ScoredCondition(tuple(found), tuple(silent))


def _about_fold(number: int, manifest: Manifest, fold: FoldFolder) -> dict[str, Any]:
    record = read_fold_file(fold.record)
    return {
        "fold": number,
        "checkpoint_sha256": record["checkpoint_sha256"],
        "manifest_sha256": manifest_sha256(manifest),
    }


def _about(condition: Condition, seed: int) -> dict[str, Any]:
    """Everything of a condition that decides the disturbed audio."""
    if condition.build() is None:
        return {"effect": None}
    name = str(condition.effect)
    folder = condition.options.get("folder")
    return {
        "effect": name,
        "seed": seed,
        "options": {key: value for key, value in condition.options.items() if key != "folder"},
        "folder_sha256": None if folder is None else _folder_sha256(str(folder)),
        "effect_sha256": checkpoint_sha256(effects.file_of(name)),
        "audiomentations": _version("audiomentations"),
    }


@functools.lru_cache(maxsize=4)
def _folder_sha256(folder: str) -> str | None:
    """Of all recordings there, which may be many: once for all conditions and folds."""
    return checkpoint_sha256(str(Path(folder).expanduser()))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


class _Kept:
    """The predictions of a fold under a condition, and beside them what they depend on."""

    def __init__(self, folder: Path, condition: Mapping[str, Any], fold: Mapping[str, Any]) -> None:
        self.about = parse_json(json.dumps({"condition": condition, **fold}))
        digest = hashlib.sha256(json.dumps(condition, sort_keys=True).encode("utf-8")).hexdigest()
        levels = [f"{key}={value:g}" for key, value in condition.get("options", {}).items() if isinstance(value, float)]
        place = folder / "-".join([str(condition["effect"] or UNDISTURBED.title), *levels, digest[:8]])
        self.predictions, self.record = place / f"fold{fold['fold']}.csv", place / f"fold{fold['fold']}.json"

    def read(self, rows: Sequence[Prediction]) -> ScoredCondition | None:
        """What was scored before; None if it is not there, or not whole."""
        try:
            record = parse_json(self.record.read_text(encoding="utf-8"))
            if record["about"] != self.about or record["predictions_sha256"] != checkpoint_sha256(
                str(self.predictions)
            ):
                return None
            found, _ = read_predictions(self.predictions)
            silent = tuple(map(str, record["silent"]))
        except (OSError, ValueError, TypeError, KeyError, RunError):
            return None
        same = [(row.utterance, row.truth) for row in found] == [(row.utterance, row.truth) for row in rows]
        return ScoredCondition(tuple(found), silent) if same else None

    def write(self, scored: ScoredCondition, labels: Sequence[str]) -> None:
        """Keep it, the record last; where the run folder is read-only, it is not kept."""
        try:
            write_predictions(self.predictions, scored.predictions, labels)
            record = {
                "about": self.about,
                "silent": list(scored.silent),
                "predictions_sha256": checkpoint_sha256(str(self.predictions)),
            }
            write_atomically(self.record, json.dumps(record, indent=1) + "\n")
        except OSError as error:
            if not is_read_only(error):
                raise
            logger.warning("%s cannot be written: what was scored is not kept", error.filename)
