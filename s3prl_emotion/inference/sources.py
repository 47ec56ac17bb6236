"""Sources of a trained head: a run folder, a fold's folder, a checkpoint of the Runner, or an export."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

from torch import Tensor

from s3prl_emotion.audio.preparation import Preparation
from s3prl_emotion.classical import PREFIX, classifier_of
from s3prl_emotion.classical.model import MODEL_FILE, read_model
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.downstream.config import fold_number
from s3prl_emotion.errors import RunError
from s3prl_emotion.experiment.provenance import warn_of_plugin_changes
from s3prl_emotion.files import checkpoint_sha256
from s3prl_emotion.inference.export import is_export, read_export
from s3prl_emotion.inference.parts import FoldParts, Parts, UpstreamUse
from s3prl_emotion.protocols.integrity import MADE, manifest_sha256
from s3prl_emotion.runs.composite import rate_members, refuse_fusion
from s3prl_emotion.runs.folder import BEST, FOLDS, MANIFEST, RUN_FILE, FoldFolder, RunFolder
from s3prl_emotion.runs.plan import TrainingSpec
from s3prl_emotion.runs.record import read_fold_file
from s3prl_emotion.runs.results import read_results
from s3prl_emotion.s3prl_runner.checkpoints import load_checkpoint
from s3prl_emotion.s3prl_runner.downstream_kinds import downstream_kind
from s3prl_emotion.text.settings import ENCODER_SHA256, REVISION, TextConfig
from s3prl_emotion.upstreams.reference import UpstreamOrigin, UpstreamRef

logger = logging.getLogger(__name__)


def read_parts(source: str | Path, fold: int | str | None = None) -> Parts:
    """Read trained heads.

    Args:
        source: a run folder, a fold's folder, a checkpoint, or an exported folder
        fold: the one fold to take; None or ``"all"`` takes every finished one

    Raises:
        RunError: if ``source`` is none of these, holds no finished fold, or not the fold asked for
    """
    path = Path(source).expanduser()
    wanted = None if fold in (None, "all") else _number(fold)
    if is_export(path):
        parts = read_export(path, wanted)
    elif path.is_file():
        parts = _from_files([path], FoldFolder(path.absolute().parent).run)
    elif (run := RunFolder(path)).is_begun:
        parts = _from_files(_scored(run, wanted), run)
    elif run.rates.is_file():
        runs = rate_members(path)
        if wanted is not None and wanted not in runs:
            raise RunError(f"--fold {wanted}: {path} holds fold {', '.join(map(str, runs))}")
        numbers = list(runs) if wanted is None else [wanted]
        parts = _from_checkpoints(
            [item for number in numbers for item in _scored(RunFolder(runs[number]), number)], run
        )
    elif found := [place for place in (FoldFolder(path).best, path / MODEL_FILE) if place.is_file()]:
        parts = _from_files(found[:1], FoldFolder(path.absolute()).run)
    else:
        refuse_fusion(path)
        raise RunError(
            f"{path}: neither a run folder ({RUN_FILE}), a fold's folder ({BEST}), a checkpoint nor an export "
            "(config.json with head.safetensors). `s3prl-emotion run` prints its run folder as its last line"
        )
    numbers = [item.number for item in parts.folds]
    if wanted is not None and numbers != [wanted]:
        raise RunError(f"--fold {wanted}: {path} holds fold {', '.join(map(str, numbers))}")
    if parts.results is not None and parts.results.settings is not None:
        warn_of_plugin_changes(parts.results.settings.further, str(path))
    return parts


def _number(fold: int | str | None) -> int:
    try:
        return fold_number(str(fold))
    except ValueError:
        raise RunError(f"--fold {fold!r}: expected all, or the number of one fold") from None


def _scored(folder: RunFolder, wanted: int | None) -> list[Path]:
    """The checkpoints behind a run's result, by fold.

    Raises:
        RunError: if a fold is another run's or a copy, or the manifest or the folds were changed
    """
    about, manifest, folds = folder.whole()
    known_folds = {fold.number for fold in folds.folds}
    finished = {_fold_of(fold.path): fold for fold in folder.finished()}
    surplus = sorted(set(finished) - known_folds)
    if surplus:
        raise RunError(
            f"{finished[surplus[0]].path}: {FOLDS} has no fold {surplus[0]}, only "
            f"{', '.join(map(str, sorted(known_folds)))}: the folder was copied or renamed. Take it away"
        )
    if not finished:
        raise RunError(f"{folder.path}: no fold is finished yet; repeat the command that trains it")
    if wanted is not None and wanted not in finished:
        known = ", ".join(map(str, sorted(finished)))
        raise RunError(f"--fold {wanted}: not finished, or no fold of {folder.path}; finished: {known}")
    checkpoints = []
    for number in sorted(finished) if wanted is None else [wanted]:
        record = finished[number].finished(number, about, manifest, folds)
        is_classical = classifier_of(about["downstream"]) is not None
        checkpoint = finished[number].path / MODEL_FILE if is_classical else finished[number].best
        if checkpoint_sha256(str(checkpoint)) != record["checkpoint_sha256"]:
            raise RunError(
                f"{checkpoint} is missing, or not the one that fold {number} was scored with. Let its training end, "
                "or score it again: repeat the command that trained it with -m evaluate"
            )
        checkpoints.append(checkpoint)
    return checkpoints


def _from_files(files: list[Path], run: RunFolder) -> Parts:
    """Heads of checkpoints of the Runner, or classical models."""
    return _from_models(files, run) if files[0].name == MODEL_FILE else _from_checkpoints(files, run)


def _from_models(files: list[Path], run: RunFolder) -> Parts:
    """Classical models of one run; hashes and results come from its run folder."""
    about = _about(files[0], run)
    found = [read_model(path) for path in files]
    first = found[0][1].fitted_on
    for path, (_, told) in zip(files, found, strict=True):
        if dataclasses.replace(told.fitted_on, fold=first.fold) != first:
            raise RunError(f"{path}: was fitted on other classes or states than {files[0]}: it is not of this run")
    return Parts(
        upstream=UpstreamRef.recorded(first.upstream, first.checkpoint, first.model_config, about),
        use=UpstreamUse(selection=first.selection),
        downstream=f"{PREFIX}{found[0][1].classifier}",
        model=None,
        labels=first.labels,
        folds=tuple(FoldParts(told.fitted_on.fold, {}, None, classical=model) for model, told in found),
        corpus=first.corpus,
        preparation=Preparation(None, bool(about.get("trim_zeros", False))),
        results=read_results(run.results) if run.results.is_file() else None,
        choice=first.choice,
    )


def _about(file: Path, run: RunFolder) -> dict[str, Any]:
    """The record of a run, or of the one that a file of it lies in; empty, with a warning, where there is none."""
    places = (run, FoldFolder(file.absolute().parent).run)
    about: dict[str, Any] = next((place.about() for place in places if place.is_begun), {})
    if not about:
        logger.warning(
            "%s: without the %s of its run it is not known which upstream checkpoint was used, and whether digital "
            "zeros were left out (--trim-zeros): here they are kept",
            file,
            RUN_FILE,
        )
    return about


def _from_checkpoints(checkpoints: list[Path], run: RunFolder) -> Parts:
    """Heads of one run; what the checkpoints do not hold (hashes, results) comes from its run folder."""
    about = _about(checkpoints[0], run)
    folds = []
    text: UpstreamOrigin | None = None
    labels: tuple[str, ...] = ()
    corpus = ""
    for checkpoint in checkpoints:
        content = load_checkpoint(checkpoint)
        training: TrainingSpec = content["Training"]
        folds.append(_fold(content, training, checkpoint))
        known = _classes(checkpoint, content)
        if labels not in ((), known[0]):
            raise RunError(
                f"{checkpoint}: was trained on the classes {', '.join(known[0])}, the others on {', '.join(labels)}"
                ": it is not of this run"
            )
        labels, corpus = known
        text = _text_encoder(content, downstream_kind(training.downstream).model(training.settings.expert).text)
    numbers = [item.number for item in folds]
    if len(set(numbers)) < len(numbers):
        raise RunError(f"{run.path}: of the checkpoints several are of one fold ({numbers}): a folder was copied")
    use, settings, expert = training.upstream, training.settings.expert, downstream_kind(training.downstream)
    return Parts(
        upstream=UpstreamRef.recorded(use.name, use.checkpoint, use.model_config, about),
        use=UpstreamUse(
            fine_tuned=use.trainable,
            selection=use.selection,
            layer=use.layer,
            normalize=use.normalize,
        ),
        downstream=training.downstream,
        model=expert.model(settings),
        labels=labels,
        folds=tuple(folds),
        corpus=corpus,
        preparation=Preparation(expert.cut_s(settings), bool(about.get("trim_zeros", False)), about.get("preparation")),
        results=read_results(run.results) if run.results.is_file() else None,
        text=text,
    )


def _text_encoder(content: dict[str, Any], config: TextConfig | None) -> UpstreamOrigin | None:
    """The text encoder of a checkpoint's head, as it was in training; None where the head reads no text."""
    if config is None:
        return None
    state = content["Downstream"].get("_extra_state")
    held: dict[str, Any] = state if isinstance(state, dict) else {}
    return UpstreamOrigin(config.encoder, sha256=held.get(ENCODER_SHA256), revision=held.get(REVISION))


def _fold(content: dict[str, Any], training: TrainingSpec, checkpoint: Path) -> FoldParts:
    expert = downstream_kind(training.downstream)
    return FoldParts(
        number=content["Inputs"].number(training.further["downstream_variant"]),
        head=expert.head(content["Downstream"], training.settings.expert, checkpoint),
        layer_weights=content.get("Featurizer", {}).get("weights"),
        upstream=content["Upstream"] if training.upstream.trainable else None,
        text=_trained_text(content["Downstream"]),
    )


def _trained_text(state: dict[str, Any]) -> dict[str, Tensor] | None:
    """The parameters of a text encoder that was trained with the head; None where it was frozen, or is none."""
    return {name.removeprefix("text."): value for name, value in state.items() if name.startswith("text.")} or None


def _classes(checkpoint: Path, content: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    """The names of a checkpoint's classes, in their order, and its corpus.

    A checkpoint holds them; those of earlier versions and of S3PRL's own expert do not, and take them from the run's
    manifest. A manifest that is there must agree.

    Raises:
        RunError: if they are not known, or the manifest is another one
    """
    state = content["Downstream"].get("_extra_state")
    held: dict[str, Any] = state if isinstance(state, dict) and "labels" in state else {}
    relative = content["Inputs"].manifest or f"../{MANIFEST}"
    near = checkpoint.absolute().parent / relative
    path = next((place for place in (near, Path(relative)) if place.is_file()), None)
    if held and (path is None or path != near):
        return tuple(map(str, held["labels"])), str(held["corpus"])
    if path is None:
        raise RunError(
            f"{checkpoint}: this checkpoint does not hold the names of its classes, and the run's manifest is not at "
            f"{checkpoint.parent / relative}. Keep such checkpoints in their run folder, or export the run"
        )
    manifest = Manifest.read(path)
    known = held.get("manifest_sha256", _recorded_manifest(checkpoint))
    if known is None:
        logger.warning("%s: there is no hash of its manifest (an earlier version wrote it): not checked", checkpoint)
    elif known != manifest_sha256(manifest):
        raise RunError(
            f"{path}: is not the manifest that {checkpoint} was trained with: it was edited, made again, or comes from "
            "another run, and may name other classes. Restore it"
        )
    return manifest.labels, manifest.corpus


def _recorded_manifest(checkpoint: Path) -> str | None:
    """The hash of the manifest in the record of the checkpoint's fold, or in that of its run."""
    fold = FoldFolder(checkpoint.absolute().parent)
    if fold.is_finished and (made := read_fold_file(fold.record).get(MADE)):
        return str(made["manifest_sha256"])
    if fold.run.is_begun and (made := fold.run.about().get(MADE)):
        return str(made["manifest_sha256"])
    return None


def _fold_of(path: Path) -> int:
    try:
        return fold_number(path.name)
    except ValueError:
        raise RunError(
            f"{path}: is called like no fold of a run (fold1, fold2, ...): the folder was copied or renamed. "
            "Take it away"
        ) from None
