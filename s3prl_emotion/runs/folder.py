"""A run folder on disk: its names, who works in it, and what is read from it and written to it.

Comparing, preparing and claiming a folder are one step between processes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.errors import ProtocolError, RunError
from s3prl_emotion.files import checkpoint_sha256, clean_up, parse_json, write_atomically
from s3prl_emotion.locks import LOCK, exclusive, is_held, only_here, shared
from s3prl_emotion.protocols.integrity import MADE, check_attributes, check_seal, seal
from s3prl_emotion.protocols.split import Folds
from s3prl_emotion.runs.prediction import Prediction, read_predictions, write_predictions
from s3prl_emotion.runs.record import ONLY_IF_ASKED, differences, read_fold_file, read_run_file, run_sha256
from s3prl_emotion.runs.results import Results, write_results

T = TypeVar("T")

RUN_FILE = "run.json"
RESULTS = "results.json"
PREDICTIONS = "predictions.csv"
MANIFEST = "manifest.jsonl"
FOLDS = "folds.json"
RATES = "learning_rates.json"
USERS = ".users"
"""Held together by all who compute in a run folder."""

FOLD_FILE = "fold.json"
BEST = "dev-best.ckpt"

SETTINGS = "settings"
"""Key of ``run.json`` whose content follows from the others, for people, and worded by the version that wrote it."""
PLUGINS = "plugins"
"""What of it does not follow from the others: the files that plugins came from."""
PACKAGES = "packages"
"""Of it, the libraries besides the usual ones whose versions are part of the result."""


class _Inside:
    """A name of a folder's as its path."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, folder: RunFolder | FoldFolder, owner: type) -> Path:
        return folder.path / self.name


@dataclass(frozen=True)
class RunFolder:
    """A run folder, or one that is to become one.

    ``run.json`` says what it is for, ``manifest.jsonl`` and ``folds.json`` what is computed from, ``fold<N>`` hold the
    folds, ``predictions.csv`` and ``results.json`` what the finished ones add up to.
    """

    path: Path

    record = _Inside(RUN_FILE)  # what the folder is for
    results = _Inside(RESULTS)  # every number
    predictions = _Inside(PREDICTIONS)  # of all finished folds
    manifest = _Inside(MANIFEST)  # the corpus
    folds = _Inside(FOLDS)  # its division
    audit = _Inside("audit.json")  # what train, dev and test share
    text = _Inside("text.json")  # where texts come from, for heads that read them
    problems = _Inside("problems.csv")  # what is wrong with audio files
    rates = _Inside(RATES)  # which run each fold of a sweep was chosen from
    stock = _Inside("stock")  # the folder with what S3PRL's own expert reads

    def fold(self, number: int) -> FoldFolder:
        """The folder of a fold."""
        return FoldFolder(self.path / f"fold{number}")

    @property
    def is_begun(self) -> bool:
        """Whether it says what it is for."""
        return self.record.is_file()

    @property
    def is_one(self) -> bool:
        """Whether a run lies here: begun, or its result alone."""
        return self.is_begun or self.results.is_file()

    @property
    def is_computed(self) -> bool:
        """Whether anything was computed in it."""
        return any(self.path.glob("fold*/*.ckpt")) or any(self.path.glob(f"fold*/{FOLD_FILE}"))

    def finished(self) -> list[FoldFolder]:
        """The folders that hold a finished fold, whatever they are called after ``fold``."""
        return [FoldFolder(path.parent) for path in self.path.glob(f"fold[1-9]*/{FOLD_FILE}")]

    # --- what is read ----------------------------------------------------------------------------------------------

    def about(self) -> dict[str, Any]:
        """What the folder is for.

        Raises:
            RunError: naming file and key, if something is missing or of another type
        """
        return read_run_file(self.record)

    def division(self) -> tuple[Manifest, Folds]:
        """The corpus and its division, as they are now."""
        return Manifest.read(self.manifest), Folds.read(self.folds)

    def belonging(self) -> tuple[Manifest, Folds]:
        """The corpus and its division, of a run or of a folder that was prepared, if they belong together.

        Raises:
            RunError: if one of them is not that of the run, or not of the corpus that the folds were made of
        """
        if self.is_begun:
            _, manifest, folds = self.whole()
        else:
            manifest, folds = self.division()
            if folds.manifest_sha256 not in (None, manifest.sha256()):
                raise RunError(
                    f"{self.path}: {FOLDS} was made of another manifest than {MANIFEST}: one of the two was edited, "
                    "made again, or comes from another folder. Restore it, or make both with the command `prepare`"
                )
        try:
            folds.check_of(manifest)
        except ProtocolError as error:
            raise RunError(f"{self.path}: {error}") from error
        return manifest, folds

    def whole(self) -> tuple[dict[str, Any], Manifest, Folds]:
        """What the folder is for, the corpus and its division, if they belong together.

        Raises:
            RunError: if manifest or folds are not those that the run was made with
        """
        about = self.about()
        manifest, folds = self.division()
        self._check_whole(about, manifest, folds)
        return about, manifest, folds

    def _check_whole(self, about: Mapping[str, Any], manifest: Manifest, folds: Folds) -> None:
        self.check_division(about.get(MADE), manifest, folds, str(self.record))
        check_attributes(about.get(MADE), manifest, self.manifest, str(self.record))

    def check_division(self, made: Any, manifest: Manifest, folds: Folds, where: str) -> None:
        """Refuse a manifest or folds of this folder that are not those of a record, which ``where`` names.

        Raises:
            RunError: naming what differs, and what to do
        """
        names = {"manifest_sha256": MANIFEST, "folds_sha256": FOLDS}
        check_seal(made, seal(manifest, folds), names, self.path, where)

    def check_scored(self) -> None:
        """Refuse manifest or folds that are not those of ``run.json``; without these files do nothing.

        Raises:
            RunError: see :meth:`check_division`
        """
        if not (self.record.is_file() and self.manifest.is_file() and self.folds.is_file()):
            return
        try:
            about = parse_json(self.record.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{self.record}: not valid JSON: {error}") from error
        if not isinstance(about, dict):
            raise RunError(f"{self.record}: expected a JSON object, found {type(about).__name__}")
        missing = [key for key in ("upstream", "seed", "config") if key not in about]
        if missing:
            raise RunError(
                f"{self.record}: key {missing[0]!r} is missing: it was edited, or is no record of a run. Restore it"
            )
        self._check_whole(about, *self.division())

    # --- who works in it, and for what -----------------------------------------------------------------------------

    def is_for(self, identity: Mapping[str, Any]) -> bool:
        """Refuse to go on in a run folder that was made for something else. Nothing is written.

        Returns:
            whether the folder was made for this; a record for which nothing was computed, and by which nobody computes,
            does not count

        Raises:
            RunError: naming what differs
        """
        computed = self.is_computed
        if not self.is_begun:
            if computed:
                raise RunError(
                    f"{self.path}: holds checkpoints, but {RUN_FILE}, which says what they are of, is missing. Restore "
                    "it, take the folders fold<N> away, or name another folder with -n or -p"
                )
            return False
        if not computed and not is_held(self.path / USERS):
            return False
        earlier = self.about()
        if _same_file(earlier, identity):
            earlier = {**earlier, "checkpoint": identity["checkpoint"]}
        given, now = (_compared(about) for about in (earlier, identity))
        keys = (*now, *(key for key in ONLY_IF_ASKED if key in given and key not in now))
        differing = [line for key in keys for line in differences(key, given.get(key), now.get(key))]
        if differing:
            raise RunError(
                f"{self.path} holds a run with other settings: {'; '.join(differing[:5])}. "
                + ("" if computed else "Another process is computing it at this moment. ")
                + "Name another folder with -n or -p (sweep and classical: --root), or remove this one"
            )
        return True

    @contextlib.contextmanager
    def claimed(
        self, identity: Mapping[str, Any], prepare: Callable[[bool], tuple[Manifest, Folds, T]]
    ) -> Iterator[tuple[Manifest, Folds, T]]:
        """Work in the folder for what ``identity`` says; nobody else can claim it for something else meanwhile.

        Args:
            identity: everything that decides the numbers
            prepare: puts manifest and folds there; it is told whether they are there from an earlier start

        Raises:
            RunError: naming what differs, if the folder is for something else
        """
        self.is_for(identity)
        made = _make(self.path)
        with contextlib.ExitStack() as working:
            with exclusive(self.path / LOCK, wait=True) as held:
                try:
                    known = self.is_for(identity)
                    if held:
                        clean_up(self.path)
                    prepared = prepare(known)
                    if not known:
                        content = {**identity, MADE: seal(prepared[0], prepared[1])}
                        write_atomically(self.record, json.dumps(content, indent=2) + "\n")
                    working.enter_context(shared(self.path / USERS))
                except BaseException:
                    _unmake(self.path, made)
                    raise
            yield prepared

    @contextlib.contextmanager
    def collecting(self) -> Iterator[None]:
        """Put results together one after the other: who is last has seen every fold that is finished."""
        with exclusive(self.path / LOCK, wait=True):
            yield

    # --- what is written -------------------------------------------------------------------------------------------

    def write_division(self, manifest: Manifest, folds: Folds) -> None:
        """Write ``manifest.jsonl`` and ``folds.json``."""
        manifest.write(self.manifest)
        dataclasses.replace(folds, manifest_sha256=manifest.sha256()).write(self.folds)

    def write_scores(self, results: Results, predictions: Sequence[Prediction]) -> Results:
        """Write ``predictions.csv``, and ``results.json`` with its hash.

        Returns:
            the record as it is written
        """
        write_predictions(self.predictions, predictions, results.labels)
        results = dataclasses.replace(results, predictions_sha256=checkpoint_sha256(str(self.predictions)))
        write_results(self.results, results)
        return results


@dataclass(frozen=True)
class FoldFolder:
    """The folder of one fold: checkpoints, logs, and, once it is finished, ``fold.json`` with ``predictions.csv``."""

    path: Path

    @property
    def run(self) -> RunFolder:
        """The run folder that it lies in."""
        return RunFolder((self.path if self.path.name not in ("", "..") else self.path.resolve()).parent)

    record = _Inside(FOLD_FILE)  # it marks the fold as finished
    predictions = _Inside(PREDICTIONS)  # the fold's result
    best = _Inside(BEST)  # the checkpoint that dev selected
    upstream = _Inside("upstream.json")  # the fold's own model, where an upstream has one per fold
    pretrained = _Inside("pretrained.json")  # the head that the fold started from, where it is a pretrained one

    def scored(self, split: str) -> Path:
        """The predictions of the last evaluation of a split, with whatever checkpoint."""
        return self.path / f"{split}_{PREDICTIONS}"

    @property
    def is_finished(self) -> bool:
        """Whether the fold was trained to its end and scored."""
        return self.record.is_file()

    def only_here(self, wait: bool = False) -> contextlib.AbstractContextManager[bool]:
        """Hold the fold for this process, see :func:`~s3prl_emotion.locks.only_here`."""
        return only_here(self.path, wait)

    def finished(self, number: int, about: Mapping[str, Any], manifest: Manifest, folds: Folds) -> dict[str, Any]:
        """The record of the fold, if it is of this run, and of this fold.

        Raises:
            RunError: if it is another run's, or a copy of another fold
        """
        finished = read_fold_file(self.record)
        if finished.get("fold", number) != number:
            raise RunError(
                f"{self.record}: is the record of fold {finished['fold']}, not of fold {number}: the folder was copied "
                "or renamed. Take it away, or restore its name"
            )
        run = finished.get("run_sha256")
        if run is not None and run != run_sha256(about):
            raise RunError(
                f"{self.record}: the fold is of a run with other settings than those of {self.run.record}: one of the "
                "two was copied here or edited. Restore it, or score the fold again: repeat the command that trained "
                "it with -m evaluate"
            )
        self.run.check_division(finished.get(MADE), manifest, folds, str(self.record))
        return finished

    def read_predictions(
        self, finished: Mapping[str, Any], labels: Sequence[str], test: Sequence[str]
    ) -> list[Prediction]:
        """The predictions of the finished fold.

        Raises:
            RunError: if they were changed, are of other classes, or not of exactly the test utterances
        """
        path = self.predictions
        rows, found = read_predictions(path)
        if hashlib.sha256(path.read_bytes()).hexdigest() != finished["predictions_sha256"]:
            raise RunError(f"{path} was changed after the fold ended: score it again with -m evaluate")
        if list(found) != list(labels):
            raise RunError(
                f"{path} has the classes {', '.join(found)}, the run's {MANIFEST} {', '.join(labels)}: one of the two "
                "was edited. Restore it"
            )
        if sorted(row.utterance for row in rows) != sorted(test):
            raise RunError(f"{path} does not hold exactly the {len(test)} test utterances")
        return rows

    def finish(self, number: int, about: Mapping[str, Any]) -> None:
        """Mark the fold as finished: its record, with what ties it to its run."""
        run = FoldFolder(self.path.absolute()).run
        tied: dict[str, Any] = {"fold": number}
        if run.is_begun:
            tied.update({"run_sha256": run_sha256(run.about()), MADE: seal(*run.division())})
        write_atomically(self.record, json.dumps({**about, **tied}, indent=1) + "\n")


def _compared(about: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same for a run to go on."""
    plugins = about.get(SETTINGS, {}).get(PLUGINS, {})
    return {key: {PLUGINS: plugins} if key == SETTINGS else value for key, value in about.items()}


def _same_file(earlier: Mapping[str, Any], identity: Mapping[str, Any]) -> bool:
    """Whether it is one checkpoint by its hash: where it lies does not matter."""
    return earlier.get("checkpoint_sha256") is not None and (
        earlier["checkpoint_sha256"] == identity["checkpoint_sha256"]
    )


def _make(folder: Path) -> list[Path]:
    """Make the folder, and say which folders were made for it, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _unmake(folder: Path, made: list[Path]) -> None:
    """Leave no trace of a start that failed before anything was there."""
    if folder not in made or any(path.name != LOCK for path in folder.iterdir()):
        return
    with contextlib.suppress(OSError):
        (folder / LOCK).unlink(missing_ok=True)
        for path in made:
            path.rmdir()
