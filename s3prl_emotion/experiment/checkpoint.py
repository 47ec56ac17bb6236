"""Work with one trained checkpoint: test it, infer with it, go on from it."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from s3prl_emotion.bridge import arguments, dropped, launch
from s3prl_emotion.bridge.alone import AloneUpstream
from s3prl_emotion.bridge.cache import CacheOptions
from s3prl_emotion.bridge.checkpoints import load_checkpoint, newest_checkpoint
from s3prl_emotion.bridge.experts import expert_of
from s3prl_emotion.bridge.gate import check_settings
from s3prl_emotion.bridge.per_fold import is_per_fold, of_fold
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.downstream.config import fold_number
from s3prl_emotion.errors import ConfigError, RunError
from s3prl_emotion.experiment.collection import collect
from s3prl_emotion.experiment.identity import checkpoint_sha256
from s3prl_emotion.experiment.original import Places, check_kept_upstream, of_run
from s3prl_emotion.experiment.states import states_alone, stored_states
from s3prl_emotion.features.upstream import CachedUpstream
from s3prl_emotion.files import write_atomically
from s3prl_emotion.runs.folder import MANIFEST, FoldFolder, RunFolder
from s3prl_emotion.runs.record import differences

WHERE_IT_WAS = Places()
"""The upstream's files are where they were in training."""


def evaluate_checkpoint(
    checkpoint: Path,
    split: str,
    device: str | None,
    override: str | None = None,
    cached: CachedUpstream | None = None,
    places: Places = WHERE_IT_WAS,
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
    args, config = from_checkpoint(checkpoint, device, override, places)
    if split not in ("train", "dev", "test"):
        raise RunError(f"-t {split}: expected test, dev or train")
    folder = FoldFolder(Path(args.expdir))
    datarc = config["downstream_expert"]["datarc"]
    upstream: CachedUpstream | AloneUpstream | None = cached
    if datarc.get("cached") and cached is None:
        # Trained and scored on states of one utterance at a time, batched afterwards: so they are now, without a store.
        upstream = states_alone(args, config, datarc["cached"])
        datarc["cached"] = None  # waveforms, not the numbers of stored utterances
    rows = launch.evaluate(args, config, checkpoint, split, upstream)
    number = fold_number(datarc.get("test_fold") or args.downstream_variant or "fold1")
    expert_of(args.downstream).write_predictions(folder, number, split, rows)
    return folder.scored(split)


def infer(
    checkpoint: Path, audio: Path, device: str | None, override: str | None = None, places: Places = WHERE_IT_WAS
) -> list[dict[str, Any]]:
    """Emotion probabilities and frame weights of one audio file (S3PRL's ``-m inference -e CKPT -t FILE``)."""
    if checkpoint.is_dir():
        checkpoint = FoldFolder(checkpoint).best
    args, config = from_checkpoint(checkpoint, device, override, places)
    expert_of(args.downstream).check_infers()
    if not audio.is_file():
        raise RunError(f"-t {audio}: no such audio file")
    args.evaluate_split, args.mode, args.init_ckpt = str(audio), "inference", str(checkpoint)
    config["downstream_expert"]["datarc"]["cached"] = None
    runner = launch.start(args, config)
    runner.inference()
    return list(runner.downstream.model.inferred)


def resume(
    checkpoint: Path,
    device: str | None,
    override: str | None,
    cache_options: CacheOptions,
    places: Places = WHERE_IT_WAS,
) -> tuple[Path, dict[str, Any] | None]:
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
            raise RunError(f"-e {checkpoint}: no states-<step>.ckpt in this folder can be read")
        checkpoint = newest
    args, config = from_checkpoint(checkpoint, device, override, places)
    folder = FoldFolder(Path(args.expdir))
    with folder.only_here():
        args.init_ckpt = str(checkpoint)
        launch.save_command(folder.path, args, config)
        datarc = config["downstream_expert"]["datarc"]
        cached = None
        if datarc.get("cached"):
            manifest = Manifest.read(folder.path / datarc.get("manifest", f"../{MANIFEST}"))
            options = dataclasses.replace(cache_options, dtype=datarc["cached"])
            cached = stored_states(args, config, manifest, options, fold_number(datarc["test_fold"]))
        launch.start(args, config, cached).train()
        score_best(folder, device, cached, places)
    return folder.path, (collect(folder.run) if folder.run.is_begun else None)


def score_best(
    fold: FoldFolder, device: str | None, cached: CachedUpstream | None = None, places: Places = WHERE_IT_WAS
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
        "differs": _differs_from_run(fold.run, last["Config"]),
    }
    fold.finish(fold_number(content["Config"]["downstream_expert"]["datarc"].get("test_fold") or "fold1"), about)


def _differs_from_run(run: RunFolder, config: dict[str, Any]) -> list[str]:
    """What of a checkpoint's configuration differs from its run's, as it does after ``-e`` with ``-o``."""
    if not run.is_begun:
        return []
    given = run.about()["config"]
    ignored = ("test_fold", "manifest", "folds", "cached", "root", "meta_data")
    found = [*differences("runner", given["runner"], config["runner"])]
    for part in ("datarc", "modelrc"):
        parts = [source["downstream_expert"].get(part, {}) for source in (given, config)]
        before, after = ({key: value for key, value in item.items() if key not in ignored} for item in parts)
        found += differences(part, before, after)
    return found


def from_checkpoint(
    checkpoint: Path, device: str | None, override: str | None, places: Places = WHERE_IT_WAS
) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Arguments and configuration that a checkpoint was trained with; its folder is where it lies now.

    Raises:
        RunError: if it cannot be read, or its upstream is not the one that ``run.json`` has the hashes of
    """
    if not checkpoint.is_file():
        raise RunError(f"-e {checkpoint}: no such checkpoint")
    content = load_checkpoint(checkpoint)
    stored = vars(content["Args"])
    args = arguments.arguments(**{**stored, "expdir": str(checkpoint.parent), "past_exp": str(checkpoint)})
    config = content["Config"]
    expert_of(args.downstream).find(config["downstream_expert"], FoldFolder(checkpoint.parent).run)
    if override is not None:
        arguments.override(config, args, override)
        config = check_settings(config, args.downstream, f"{checkpoint} with -o")
    recorded = Places(args.upstream_ckpt, args.upstream_model_config)
    now = of_run(FoldFolder(checkpoint.absolute().parent).run, args.upstream, recorded, places)
    args.upstream, args.upstream_ckpt, args.upstream_model_config = dropped.restore(args.upstream, *now)
    test_fold = config["downstream_expert"].get("datarc", {}).get("test_fold")
    if is_per_fold(args.upstream_ckpt) and test_fold is not None:
        check_kept_upstream(FoldFolder(checkpoint.parent), of_fold(args.upstream_ckpt, fold_number(test_fold)))
    args.device = arguments.resolve_device(device)
    return args, config
