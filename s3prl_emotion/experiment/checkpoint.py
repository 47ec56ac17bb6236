"""Work with one trained checkpoint: test it, infer with it, go on from it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from s3prl_emotion.bridge import launch, stock
from s3prl_emotion.bridge.cache import CacheOptions, open_cache
from s3prl_emotion.bridge.registration import STOCK_DOWNSTREAMS
from s3prl_emotion.corpora import Manifest
from s3prl_emotion.downstream.config import ModelConfig, check_config, fold_number
from s3prl_emotion.downstream.head import sees_only_means
from s3prl_emotion.errors import RunError
from s3prl_emotion.experiment.folder import RUN_FILE, checkpoint_sha256, collect, only_here
from s3prl_emotion.features.upstream import CachedUpstream
from s3prl_emotion.files import write_atomically
from s3prl_emotion.protocols.split import Folds


def evaluate_checkpoint(
    checkpoint: Path,
    split: str,
    device: str | None,
    override: str | None = None,
    cached: CachedUpstream | None = None,
) -> Path:
    """Score one split with any checkpoint (S3PRL's ``-m evaluate -e CKPT``) into the folder that holds it now.

    Returns:
        the predictions file
    """
    args, config = from_checkpoint(checkpoint, device, override)
    folder = Path(args.expdir)
    datarc = config["downstream_expert"]["datarc"]
    if datarc.get("cached") and cached is None:
        # Trained on states of one utterance at a time: batches of one give the same, without a store.
        datarc.update(cached=None, eval_batch_size=1)
    runner = launch.evaluate(args, config, checkpoint, split, cached)
    if args.downstream in STOCK_DOWNSTREAMS and split == "test":
        run_folder = folder.parent
        number = fold_number(config["downstream_expert"]["datarc"]["test_fold"])
        manifest, folds = Manifest.read(run_folder / "manifest.jsonl"), Folds.read(run_folder / "folds.json")
        stock.write_stock_predictions(folder, manifest, folds[number], runner.stock_probabilities)
    return folder / f"{split}_predictions.csv"


def infer(checkpoint: Path, audio: Path, device: str | None) -> list[dict[str, Any]]:
    """Emotion probabilities and frame weights of one audio file (S3PRL's ``-m inference -e CKPT -t FILE``)."""
    args, config = from_checkpoint(checkpoint, device, None)
    if args.downstream in STOCK_DOWNSTREAMS:
        raise RunError(
            "-m inference: S3PRL's own emotion expert has no inference; train one of ours, such as emotion_mean"
        )
    if not audio.is_file():
        raise RunError(f"-t {audio}: no such audio file")
    args.evaluate_split, args.mode, args.init_ckpt = str(audio), "inference", str(checkpoint)
    config["downstream_expert"]["datarc"]["cached"] = None
    runner = launch.start(args, config)
    runner.inference()
    return list(runner.downstream.model.inferred)


def resume(
    checkpoint: Path, device: str | None, override: str | None, cache_options: CacheOptions
) -> tuple[Path, dict[str, Any] | None]:
    """Go on with the training of one fold from a checkpoint or its folder (S3PRL's ``-m train -e PATH``), then test it.

    Returns:
        the fold's folder, and the summary of its run folder where it is part of one
    """
    if checkpoint.is_dir():
        newest = launch.newest_checkpoint(checkpoint)
        if newest is None:
            raise RunError(f"-e {checkpoint}: no states-<step>.ckpt in this folder can be read")
        checkpoint = newest
    args, config = from_checkpoint(checkpoint, device, override)
    folder = Path(args.expdir)
    with only_here(folder):
        (folder / "fold.json").unlink(missing_ok=True)
        args.init_ckpt = str(checkpoint)
        launch.save_command(folder, args, config)
        cached = _cache_of(args, config, folder, cache_options)
        launch.start(args, config, cached).train()
        score_best(folder, device, override, cached)
    return folder, (collect(folder.parent) if (folder.parent / RUN_FILE).is_file() else None)


def score_best(
    expdir: Path, device: str | None, override: str | None = None, cached: CachedUpstream | None = None
) -> None:
    """Score the test set once, with the checkpoint that dev selected; ``fold.json`` marks the fold as finished."""
    best = expdir / "dev-best.ckpt"
    if not best.is_file():
        raise RunError(f"{expdir}: no dev-best.ckpt: this fold was not trained, or never evaluated on dev")
    evaluate_checkpoint(best, "test", device, override, cached)
    step = launch.load_checkpoint(best)["Step"]
    content = {"step": int(step), "checkpoint": best.name, "checkpoint_sha256": checkpoint_sha256(str(best))}
    write_atomically(expdir / "fold.json", json.dumps(content) + "\n")


def _cache_of(
    args: argparse.Namespace, config: dict[str, Any], folder: Path, options: CacheOptions
) -> CachedUpstream | None:
    """The hidden states that a checkpoint was trained on, stored again where they are missing."""
    datarc = config["downstream_expert"]["datarc"]
    if not datarc.get("cached"):
        return None
    expert = config["downstream_expert"]
    return open_cache(
        args,
        Manifest.read(folder / datarc["manifest"]),
        dataclasses.replace(options, dtype=datarc["cached"]),
        (checkpoint_sha256(args.upstream_ckpt), checkpoint_sha256(args.upstream_model_config)),
        sees_only_means(ModelConfig(**expert["modelrc"])) and not args.upstream_feature_normalize,
        datarc["max_duration_s"],
    )


def from_checkpoint(
    checkpoint: Path, device: str | None, override: str | None
) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Arguments and configuration that a checkpoint was trained with; its folder is where it lies now."""
    if not checkpoint.is_file():
        raise RunError(f"-e {checkpoint}: no such checkpoint")
    content = launch.load_checkpoint(checkpoint)
    stored = {key: value for key, value in vars(content["Args"]).items() if key in launch.ARGUMENTS}
    args = launch.arguments(**{**stored, "expdir": str(checkpoint.parent), "past_exp": str(checkpoint)})
    config = content["Config"]
    stock_data = checkpoint.parent.parent / "stock"
    if args.downstream in STOCK_DOWNSTREAMS and stock_data.is_dir():
        config["downstream_expert"]["datarc"].update(root=str(stock_data), meta_data=str(stock_data))
    launch.override(config, args, override)
    check_config(config, str(checkpoint), ours=args.downstream not in STOCK_DOWNSTREAMS)
    args.device = launch.resolve_device(device)
    return args, config
