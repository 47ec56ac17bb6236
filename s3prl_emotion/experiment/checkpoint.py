"""Work with one trained checkpoint: test it, infer with it, go on from it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from s3prl_emotion.classical.model import MODEL_FILE
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.downstream.settings import FoldInputs
from s3prl_emotion.errors import ConfigError, RunError
from s3prl_emotion.experiment.aggregation import aggregate_folds
from s3prl_emotion.experiment.initialisation import read_pinned_head
from s3prl_emotion.experiment.provenance import check_pinned_upstream
from s3prl_emotion.experiment.states import states_alone, stored_states
from s3prl_emotion.features.upstream import CachedUpstream
from s3prl_emotion.files import checkpoint_sha256, write_atomically
from s3prl_emotion.runs.composite import refuse_fusion
from s3prl_emotion.runs.folder import MANIFEST, FoldFolder, RunFolder
from s3prl_emotion.runs.plan import TrainingSpec
from s3prl_emotion.runs.record import differences
from s3prl_emotion.runs.results import Results
from s3prl_emotion.s3prl_runner import arguments, launch
from s3prl_emotion.s3prl_runner.arguments import counted, mapping, namespace, training_of
from s3prl_emotion.s3prl_runner.building import register_on_hub
from s3prl_emotion.s3prl_runner.cache import CacheOptions
from s3prl_emotion.s3prl_runner.checkpoints import load_checkpoint, newest_checkpoint
from s3prl_emotion.s3prl_runner.downstream_kinds import downstream_kind
from s3prl_emotion.s3prl_runner.unbatched import UnbatchedUpstream
from s3prl_emotion.s3prl_runner.validation import check_settings
from s3prl_emotion.upstreams.per_fold import is_per_fold, of_fold
from s3prl_emotion.upstreams.reference import Places, UpstreamRef
from s3prl_emotion.upstreams.verification import WHERE_THEY_WERE, verify


def evaluate_checkpoint(
    checkpoint: Path,
    split: str,
    device: str | None,
    override: str | None = None,
    cached: CachedUpstream | None = None,
    places: Places = WHERE_THEY_WERE,
) -> Path:
    """Score one split with any checkpoint (S3PRL's ``-m evaluate -e CKPT``), into the folder that holds it now.

    The result of a run is not touched, see :func:`score_best`.

    Args:
        checkpoint: a file, or a fold's folder: its dev-best checkpoint
        split: ``test``, ``dev`` or ``train``
        device: where to compute; None chooses
        override: S3PRL's ``-o``
        cached: stored hidden states
        places: where the upstream's files are now

    Returns:
        the predictions file

    Raises:
        RunError: if the upstream is not the one of the training any more
    """
    if checkpoint.is_dir():
        checkpoint = FoldFolder(checkpoint).best
    training, inputs = from_checkpoint(checkpoint, device, override, places)
    if split not in ("train", "dev", "test"):
        raise RunError(f"-t {split}: expected test, dev or train")
    folder = FoldFolder(checkpoint.parent)
    upstream: CachedUpstream | UnbatchedUpstream | None = cached
    number = inputs.number(training.further["downstream_variant"])
    if inputs.cached is not None and cached is None:
        # Trained and scored on states of one utterance at a time, batched afterwards: so they are now, without a store.
        upstream = states_alone(training, inputs.cached, number)
        inputs = dataclasses.replace(inputs, cached=None)  # waveforms, not the numbers of stored utterances
    rows = launch.evaluate(training, inputs, checkpoint, split, upstream)
    downstream_kind(training.downstream).write_predictions(folder, number, split, rows)
    return folder.scored(split)


def infer(
    checkpoint: Path, audio: Path, device: str | None, override: str | None = None, places: Places = WHERE_THEY_WERE
) -> list[dict[str, Any]]:
    """Emotion probabilities and frame weights of one audio file (S3PRL's ``-m inference -e CKPT -t FILE``)."""
    if checkpoint.is_dir():
        checkpoint = FoldFolder(checkpoint).best
    training, inputs = from_checkpoint(checkpoint, device, override, places)
    downstream_kind(training.downstream).check_infers()
    if not audio.is_file():
        raise RunError(f"-t {audio}: no such audio file")
    return launch.infer(training, dataclasses.replace(inputs, cached=None), checkpoint, audio)


def resume(
    checkpoint: Path,
    device: str | None,
    override: str | None,
    cache_options: CacheOptions,
    places: Places = WHERE_THEY_WERE,
) -> tuple[Path, Results | None]:
    """Go on with the training of one fold from a checkpoint or its folder (S3PRL's ``-m train -e PATH``), then test it.

    Returns:
        the fold's folder, and the summary of its run folder where it is part of one

    Raises:
        ConfigError: if ``override`` changes the optimiser, whose state comes from the checkpoint
    """
    if override is not None and "config.optimizer" in override:
        raise ConfigError(
            "-e goes on with the optimiser state of the checkpoint, its learning rate included: -o config.optimizer... "
            "would be ignored. Start a new run for other settings"
        )
    if checkpoint.is_dir():
        newest = newest_checkpoint(checkpoint)
        if newest is None:
            refuse_fusion(checkpoint)
            raise RunError(f"-e {checkpoint}: no states-<step>.ckpt in this folder can be read")
        checkpoint = newest
    training, inputs = from_checkpoint(checkpoint, device, override, places)
    folder = FoldFolder(checkpoint.parent)
    with folder.only_here():
        cached = None
        if inputs.cached is not None:
            manifest = Manifest.read(folder.path / (inputs.manifest or f"../{MANIFEST}"))
            options = dataclasses.replace(cache_options, dtype=inputs.cached)
            number = inputs.number(training.further["downstream_variant"])
            cached = stored_states(training, manifest, options, number)
        launch.resume(training, inputs, folder.path, checkpoint, cached)
        score_best(folder, device, cached, places)
    return folder.path, (aggregate_folds(folder.run) if folder.run.is_begun else None)


def score_best(
    fold: FoldFolder, device: str | None, cached: CachedUpstream | None = None, places: Places = WHERE_THEY_WERE
) -> None:
    """Score the test set once, with the checkpoint that dev selected.

    The fold's result is ``predictions.csv`` with ``fold.json``, which marks the fold as finished. Later evaluations,
    with whatever checkpoint, write S3PRL's ``test_*`` files only.
    """
    best = fold.best
    if not best.is_file():
        raise RunError(
            f"{fold.path}: there is no dev-best.ckpt: the fold was not trained, or not up to its first evaluation"
            " (S3PRL's own expert saves none as long as dev accuracy is 0)"
        )
    written = evaluate_checkpoint(best, "test", device, None, cached, places)
    text = written.read_text(encoding="utf-8")
    content = load_checkpoint(best)
    last = load_checkpoint(newest_checkpoint(fold.path) or best)
    write_atomically(fold.predictions, text)
    about = {
        "step": int(content["Step"]),
        "dev_score": float(content["Downstream"]["best_score"]),
        "checkpoint": best.name,
        "checkpoint_sha256": checkpoint_sha256(str(best)),
        "predictions_sha256": checkpoint_sha256(str(fold.predictions)),
        "differs": _differs_from_run(fold.run, last["Training"], content["Inputs"]),
        **read_pinned_head(fold),
    }
    if fold.run.is_begun and "epochs" in fold.run.about()["config"]["runner"]:
        about["total_steps"] = last["Training"].settings.runner.total_steps
    fold.finish(content["Inputs"].number(content["Args"].downstream_variant), about)


def _differs_from_run(run: RunFolder, training: TrainingSpec, inputs: FoldInputs) -> list[str]:
    """What of a checkpoint's configuration differs from its run's, as it does after ``-e`` with ``-o``."""
    if not run.is_begun:
        return []
    given, now = run.about()["config"], mapping(training.downstream, training.settings)
    if "epochs" in given["runner"]:
        folds = run.division()[1]
        number = inputs.number(training.further["downstream_variant"])
        meant, _ = check_settings(given, training.downstream, str(run.record))
        meant = counted(dataclasses.replace(training, settings=meant), len(folds[number].train)).settings
        given = mapping(training.downstream, meant)
    found = differences("runner", given["runner"], now["runner"])
    for part in ("datarc", "modelrc"):
        found += differences(part, *(source["downstream_expert"].get(part, {}) for source in (given, now)))
    return found


def from_checkpoint(
    checkpoint: Path, device: str | None, override: str | None, places: Places = WHERE_THEY_WERE
) -> tuple[TrainingSpec, FoldInputs]:
    """What a checkpoint was trained by, and on, with what ``-o`` changes.

    Raises:
        RunError: if it cannot be read, or its upstream is not the one that ``run.json`` has the hashes of
    """
    if not checkpoint.is_file():
        refuse_fusion(checkpoint.parent)
        is_classical = (checkpoint.parent / MODEL_FILE).is_file()
        hint = ": a classical model lies there, which `s3prl-emotion predict --run` uses; it has no checkpoints"
        raise RunError(f"-e {checkpoint}: no such checkpoint{hint if is_classical else ''}")
    content = load_checkpoint(checkpoint)
    training, fold = content["Training"], FoldFolder(checkpoint.parent)
    inputs = downstream_kind(training.downstream).found(content["Inputs"], fold.run)
    if override is not None:
        args = namespace(training)
        config = mapping(training.downstream, training.settings, inputs)
        arguments.override(config, args, override)
        settings, inputs = check_settings(config, training.downstream, f"{checkpoint} with -o")
        training = training_of(args, settings)
    upstream, run = training.upstream, FoldFolder(checkpoint.absolute().parent).run
    hashes = run.about() if run.is_begun else {}
    recorded = UpstreamRef.recorded(upstream.name, upstream.checkpoint, upstream.model_config, hashes)
    name, weights, model_config = register_on_hub(verify(recorded, places)).options
    if inputs.test_fold is not None and is_per_fold(weights):
        check_pinned_upstream(fold, of_fold(weights, inputs.number()))
    return (
        dataclasses.replace(
            training,
            upstream=dataclasses.replace(upstream, name=name, checkpoint=weights, model_config=model_config),
            device=arguments.resolve_device(device),
            further={**training.further, "past_exp": str(checkpoint)},
        ),
        inputs,
    )
