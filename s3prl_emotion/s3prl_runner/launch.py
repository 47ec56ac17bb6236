"""One fold through S3PRL's Runner: seeding, training, scoring."""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from s3prl_emotion.downstream.settings import FoldInputs
from s3prl_emotion.errors import RunError
from s3prl_emotion.features.upstream import CachedUpstream
from s3prl_emotion.files import write_atomically
from s3prl_emotion.random_state import seed_everything
from s3prl_emotion.runs.plan import TrainingSpec
from s3prl_emotion.s3prl_runner.arguments import mapping, namespace
from s3prl_emotion.s3prl_runner.checkpoints import newest_checkpoint
from s3prl_emotion.s3prl_runner.downstream_kinds import Rows, downstream_kind
from s3prl_emotion.s3prl_runner.registration import register
from s3prl_emotion.s3prl_runner.unbatched import UnbatchedUpstream

logger = logging.getLogger(__name__)


def start(
    args: argparse.Namespace, config: dict[str, Any], cached: CachedUpstream | UnbatchedUpstream | None = None
) -> Any:
    """Seed everything as S3PRL's ``run_downstream`` does, and build its Runner, which checks what it is given.

    Args:
        args: from :func:`arguments`, with ``expdir`` set
        config: a configuration
        cached: stored hidden states to use in place of the upstream

    Raises:
        ConfigError, RunError: see :func:`~s3prl_emotion.s3prl_runner.validation.check_run`
    """
    register()
    from s3prl_emotion.s3prl_runner.runner import EmotionRunner

    if int(os.environ.get("WORLD_SIZE", "1")) > 1 or args.local_rank is not None:
        raise RunError(
            "distributed training is not supported: a head on a frozen upstream fits one device. "
            "Run folds in parallel instead, one process each: --fold 1, --fold 2, ..."
        )
    if args.cache_dir is not None:
        torch.hub.set_dir(args.cache_dir)
    seed_everything(args.seed)
    torch.backends.cudnn.enabled = not args.disable_cudnn
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return EmotionRunner(args, config, cached)


def train(training: TrainingSpec, inputs: FoldInputs, folder: Path, cached: CachedUpstream | None = None) -> None:
    """Train one fold in ``folder``, from its newest checkpoint that loads, if there is one."""
    resumed = newest_checkpoint(folder)
    if resumed is not None:
        logger.info("%s: going on from %s", folder.name, resumed.name)
    resume(training, inputs, folder, resumed, cached)


def resume(
    training: TrainingSpec,
    inputs: FoldInputs,
    folder: Path,
    checkpoint: Path | None,
    cached: CachedUpstream | None = None,
) -> None:
    """Train one fold in ``folder`` from a checkpoint; None begins anew."""
    init = None if checkpoint is None else str(checkpoint)
    args = namespace(training, expdir=str(folder), expname=None, init_ckpt=init)
    config = mapping(training.downstream, training.settings, inputs)
    save_command(folder, args, config)
    start(args, config, cached).train()


def evaluate(
    training: TrainingSpec,
    inputs: FoldInputs,
    checkpoint: Path,
    split: str,
    cached: CachedUpstream | UnbatchedUpstream | None = None,
) -> Rows:
    """Score ``split`` with a checkpoint; the prediction files in its folder then belong to that checkpoint.

    Returns:
        the class probabilities that the expert did not write itself
    """
    runner = _on(training, inputs, checkpoint, "evaluate", split, cached)
    with downstream_kind(training.downstream).probabilities(runner) as rows:
        runner.evaluate()
    return rows


def infer(training: TrainingSpec, inputs: FoldInputs, checkpoint: Path, audio: Path) -> list[dict[str, Any]]:
    """Probabilities and frame weights of one audio file."""
    runner = _on(training, inputs, checkpoint, "inference", str(audio))
    runner.inference()
    return list(runner.downstream.model.inferred)


def _on(
    training: TrainingSpec,
    inputs: FoldInputs,
    checkpoint: Path,
    mode: str,
    what: str,
    cached: CachedUpstream | UnbatchedUpstream | None = None,
) -> Any:
    """The Runner on a checkpoint, in its folder."""
    args = namespace(training, mode=mode, evaluate_split=what, init_ckpt=str(checkpoint), expdir=str(checkpoint.parent))
    return start(args, mapping(training.downstream, training.settings, inputs), cached)


def save_command(folder: Path, args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Write ``args_<time>.yaml`` and ``config_<time>.yaml``, as S3PRL does at every start."""
    tag = time.strftime("%Y-%m-%d-%H-%M-%S")
    for name, content in (("args", vars(args)), ("config", config)):
        text = yaml.safe_dump(json.loads(json.dumps(content)), sort_keys=False)
        write_atomically(folder / f"{name}_{tag}.yaml", text)
