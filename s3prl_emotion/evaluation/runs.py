"""Finished runs: read, checked, scored again."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation.summary import summarise_again
from s3prl_emotion.files import checkpoint_sha256, is_read_only, parse_json
from s3prl_emotion.mapping import to_mapping
from s3prl_emotion.protocols.integrity import MADE
from s3prl_emotion.runs.folder import FOLDS, MANIFEST, PREDICTIONS, RESULTS, RUN_FILE, RunFolder
from s3prl_emotion.runs.prediction import Prediction, read_predictions
from s3prl_emotion.runs.results import RATES, Results, read_results, write_results

logger = logging.getLogger(__name__)

_TIE = 1e-6  # probabilities that close together are equal


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    results: Results  # computed from the predictions
    predictions: tuple[Prediction, ...]  # sorted by fold and utterance
    train_sizes: dict[int, int]  # fold to the number of its training utterances; empty where folds.json is missing
    stale: bool  # results.json holds other rates than the predictions give
    members: tuple[Run, ...] = ()  # of a late fusion, which has no folder of its own

    @property
    def sources(self) -> list[str]:
        """The folders that the predictions come from."""
        return [source for run in self.members for source in run.sources] or [str(self.folder)]

    def about(self) -> dict[str, Any]:
        """What ``run.json`` records, by dotted key, less the seed and the place of the corpus; empty without it."""
        path = self.folder / RUN_FILE
        if self.members or not path.is_file():
            return {}
        flat = _flat(_read_json(path))
        places = ("seed", "corpus.data", *(["checkpoint"] if flat.get("checkpoint_sha256") else []))
        return {key: value for key, value in flat.items() if key not in places and not key.startswith(f"{MADE}.")}

    def setting(self) -> str:
        """Everything but the seed that decides the numbers, as text: runs that agree in it differ in the seed only.

        It is what ``run.json`` records, less the seed and the place of the corpus, with the scored folds and the
        division; without ``run.json`` it is what ``results.json`` records of the setting.
        """
        results, protocol = self.results, self.results.protocol
        about = {
            "upstream": results.upstream,
            "checkpoint_sha256": results.checkpoint_sha256,
            "downstream": results.downstream,
            "corpus": results.corpus,
            "settings": None if results.settings is None else to_mapping(results.settings),
            "run": self.about(),
            "folds": results.numbers,
            "protocol": [protocol.name, protocol.sha256, protocol.split_sha256, protocol.labels],
            **({"fusion": [member.setting() for member in self.members]} if self.members else {}),
        }
        return json.dumps(about, sort_keys=True)


def find_runs(paths: Sequence[str | Path]) -> tuple[list[Path], list[Path]]:
    """The run folders that ``paths`` are or hold, each once, in the order given and sorted below each path.

    Returns:
        those with a result, and those that were begun and have none yet

    Raises:
        RunError: if a path does not exist or holds no ``results.json``
    """
    found: dict[Path, Path] = {}
    begun: dict[Path, Path] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise RunError(f"{path}: no such folder. Expected the folder of a run, or a folder that holds several")
        inside = [path] if (path / RESULTS).is_file() else sorted(file.parent for file in path.rglob(RESULTS))
        for file in sorted(path.rglob(RUN_FILE)):
            if not (file.parent / RESULTS).is_file():
                begun.setdefault(file.parent.resolve(), file.parent)
        if not inside and begun:
            raise RunError(
                f"{path}: no run in it is finished yet; begun: {', '.join(map(str, list(begun.values())[:5]))}. Repeat "
                "its command, which goes on where it stopped"
            )
        if not inside:
            raise RunError(
                f"{path}: holds no {RESULTS}, nor does any folder below it. Expected the folder of a run, "
                "<root>/<upstream>/<downstream>/<corpus>-<protocol>, or one above several; run the experiment first"
            )
        for folder in inside:
            found.setdefault(folder.resolve(), folder)
    return list(found.values()), list(begun.values())


def read_run(folder: str | Path) -> Run:
    """Read a run and compute its record again from its predictions; no file is written.

    What the predictions cannot tell (names, protocol, steps, seed, versions, settings, expected folds) is taken from
    ``results.json``, keys that this version does not know included.

    Raises:
        RunError: if a file is missing or malformed, or if the two do not belong together
    """
    folder = Path(folder)
    for name in (PREDICTIONS, RESULTS):
        if not (folder / name).is_file():
            raise RunError(
                f"{folder}: holds no {name}. Expected the folder of a run, <root>/<upstream>/<downstream>/"
                "<corpus>-<protocol>; run the experiment again if the file was lost."
            )
    predictions, labels = read_predictions(folder / PREDICTIONS)
    digest = checkpoint_sha256(str(folder / PREDICTIONS))
    old = read_results(folder / RESULTS)
    if old.predictions_sha256 is None:
        logger.info("%s has no hash of %s (an earlier version wrote it): not checked", folder / RESULTS, PREDICTIONS)
    elif old.predictions_sha256 != digest:
        logger.warning(
            "%s was changed after %s was written: figures are of what it holds now. To restore it, repeat the command "
            "of the run, which writes both from its folds",
            *(folder / PREDICTIONS, RESULTS),
        )
    if labels != list(old.labels):
        raise RunError(
            f"{folder}: {PREDICTIONS} has the labels {labels}, {RESULTS} has {list(old.labels)}: "
            "they are not from the same run"
        )
    steps = {fold.fold: fold.step for fold in old.folds}
    unknown = sorted({item.fold for item in predictions} - set(steps))
    if unknown:
        raise RunError(
            f"{folder}: {PREDICTIONS} has folds {unknown}, which {RESULTS} does not list: run those folds again"
        )
    RunFolder(folder).check_scored()
    folds = _folds(folder, old)
    _check_utterances(folder, predictions, old, folds)
    try:
        new = summarise_again(old, predictions, labels, steps, old.settings)
        if old.predictions_sha256 is not None:
            new = dataclasses.replace(new, predictions_sha256=digest)
    except RunError as error:
        raise RunError(f"{folder}: {error}") from error
    ordered = tuple(sorted(predictions, key=lambda item: (item.fold, item.utterance)))
    train_sizes = {fold["number"]: len(fold["train"]) for fold in folds}
    return Run(folder, _again(old, new), ordered, train_sizes, _is_stale(old, new))


def _again(old: Results, new: Results) -> Results:
    """The new record with what only the old one has, in the old one's order of keys."""
    given = old.given or ()
    return dataclasses.replace(
        new,
        rates={**old.rates, **new.rates},
        measures={**old.measures, **new.measures},
        further=old.further,
        given=(*given, *(key for key in to_mapping(new) if key not in given)),
    )


def _check_utterances(
    folder: Path, predictions: Sequence[Prediction], old: Results, folds: Sequence[Mapping[str, Any]]
) -> None:
    """Refuse predictions that are not of exactly the test utterances, and say where they contradict themselves.

    Raises:
        RunError: naming the fold and the first utterance
    """
    scored: dict[int, set[str]] = {}
    for item in predictions:
        scored.setdefault(item.fold, set()).add(item.utterance)
    lost = [number for number in old.numbers if number not in scored]
    if lost:
        raise RunError(f"{folder}: {PREDICTIONS} has no rows of folds {lost}, which {RESULTS} lists. Restore the file")
    for fold in folds:
        number, ids = fold["number"], set(fold["test"])
        differing = sorted(ids ^ scored.get(number, ids))
        if differing:
            raise RunError(
                f"{folder}: fold {number} of {PREDICTIONS} does not hold exactly the {len(ids)} test utterances of "
                f"folds.json: {len(differing)} differ, first {differing[0]!r}. Restore the file"
            )
    if (folder / MANIFEST).is_file():
        manifest = Manifest.read(folder / MANIFEST)
        if manifest.labels != old.labels:
            raise RunError(
                f"{folder}: manifest.jsonl has the classes {', '.join(manifest.labels)}, {RESULTS} "
                f"{', '.join(old.labels)}: it was edited, or is another corpus'. Restore it"
            )
        known = manifest.by_id
        for item in predictions:
            given = known.get(item.utterance)
            if given is not None and (given.label, given.speaker) != (item.truth, item.speaker):
                raise RunError(
                    f"{folder}: {PREDICTIONS} has truth {item.truth!r} and speaker {item.speaker!r} for "
                    f"{item.utterance!r}, manifest.jsonl {given.label!r} and {given.speaker!r}. Restore the file"
                )
    contrary = [
        item.utterance
        for item in predictions
        if item.probabilities is not None
        and item.probabilities[old.labels.index(item.predicted)] < max(item.probabilities) - _TIE
    ]
    if contrary:
        logger.warning(
            "%s: in %d rows of %s the predicted class is not the most probable one, first %r: was it edited?",
            folder,
            len(contrary),
            PREDICTIONS,
            contrary[0],
        )


def _is_stale(old: Results, new: Results) -> bool:
    def figures(results: Results) -> list[float]:
        folds = [[fold.fold, fold.n, *(fold.rates[rate] for rate in RATES)] for fold in results.folds]
        return [float(value) for values in folds for value in values] + [results.rates[rate].mean for rate in RATES]

    before, now = figures(old), figures(new)
    return len(before) != len(now) or not all(
        math.isclose(first, second, abs_tol=1e-9) for first, second in zip(before, now, strict=True)
    )


def _folds(folder: Path, results: Results) -> list[dict[str, Any]]:
    """The folds beside a run, if they are those of its division."""
    path = folder / FOLDS
    if not path.is_file():
        return []
    content = _read_json(path)
    try:
        folds = [
            {"number": int(fold["number"]), "train": _ids(fold["train"]), "test": _ids(fold["test"])}
            for fold in content["folds"]
        ]
        if content.get("divided_sha256", content["sha256"]) != results.protocol.split_sha256:
            raise RunError(f"{path}: the folds are not those of {RESULTS}. They were made again after the run")
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: not a file of folds: {error}") from error
    return folds


def _ids(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"expected a list of ids, found {str(value)[:80]!r}")
    return value


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path}: not a mapping in JSON: {error}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: not a mapping in JSON: found {type(content).__name__}")
    return content


@dataclass(frozen=True)
class OfLayer:
    """The result of one layer."""

    layer: int
    folder: Path
    results: Results

    @property
    def system(self) -> tuple[str, str, int]:
        """What the layers of one upstream share: its name, the ``-d`` name and the seed."""
        return self.results.upstream, self.results.downstream, self.results.seed


def in_order(found: Sequence[OfLayer]) -> list[OfLayer]:
    """The layers of each system together and rising; systems in the order in which they first come."""
    order = list(dict.fromkeys(item.system for item in found))
    return sorted(found, key=lambda item: (order.index(item.system), item.layer))


def systems(found: Sequence[OfLayer]) -> list[list[OfLayer]]:
    """What :func:`in_order` gives, in its parts."""
    return [list(items) for _, items in groupby(found, key=lambda item: item.system)]


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
