"""``run``: S3PRL's options with their meaning there, and ours beside them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from s3prl_emotion.cli import set_up_logging
from s3prl_emotion.cli.run_options import add_arguments, cache_options, request_of
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.printable import printable

if TYPE_CHECKING:
    from s3prl_emotion.runs.results import Results
    from s3prl_emotion.upstreams.reference import Places

NOT_SUPPORTED = {
    "push_to_hf_hub": "S3PRL's upload uses an interface that huggingface_hub no longer has",
    "hf_hub_org": "S3PRL's upload uses an interface that huggingface_hub no longer has",
    "local_rank": "distributed training is not supported; run folds in parallel with --fold",
}


def main(args: argparse.Namespace) -> int:
    """Run the request and print its table."""
    set_up_logging(args.verbose)
    for name, reason in NOT_SUPPORTED.items():
        if getattr(args, name) is not None:
            raise ConfigError(f"--{name}: {reason}")
    if args.hub != "torch":
        raise ConfigError(
            "--hub huggingface: S3PRL's login no longer works; download the model and use -u hf_auto_custom -k DIR"
        )
    if args.past_exp or args.mode == "inference":
        _refuse_ignored(args)
    from s3prl_emotion.upstreams.trust import trusted_checkpoints

    with trusted_checkpoints(args.trust_checkpoint):
        if args.mode == "inference":
            return _infer(args)
        if args.past_exp:
            return _from_checkpoint(args)
        return _run(args)


def _refuse_ignored(args: argparse.Namespace) -> None:
    """With a checkpoint, everything that it holds comes from it; S3PRL ignores what is given besides, silently."""
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    allowed = {"mode", "evaluate_split", "past_exp", "override", "device", "verbose", "auto_resume", "command"}
    allowed |= {"upstream_ckpt", "upstream_model_config"}  # where they are now; their hashes are compared
    allowed |= {"trust_checkpoint", "cache_root", "cache_limit", "cache_device", "cache_dir", "disable_cudnn"}
    ignored = [
        action.option_strings[0]
        for action in parser._actions
        if action.dest not in allowed and getattr(args, action.dest) != action.default
    ]
    if ignored:
        raise ConfigError(
            f"{', '.join(ignored)}: with a checkpoint given by -e this comes from the checkpoint; leave it out"
        )


def _run(args: argparse.Namespace) -> int:
    request = request_of(args)
    if args.seeds:
        from s3prl_emotion.cli.sweep import run_grid

        return run_grid(args, request, (args.upstream,), (args.downstream,), ())
    from s3prl_emotion.experiment.run import run

    folder, results = run(request)
    print_results(folder, results)
    return 0


def print_results(folder: Path, results: Results) -> None:
    """The last thing a run prints: its table beside the leaderboard's row, and where everything is."""
    from s3prl_emotion.published import superb_rows
    from s3prl_emotion.reporting.table import confusion_table, results_table

    print()
    print(printable(results_table(results, superb_rows(results.upstream))))
    print(printable(f"\n{confusion_table(results)}"))
    print(f"\nrun folder: {folder}")


def _from_checkpoint(args: argparse.Namespace) -> int:
    from s3prl_emotion.experiment import checkpoint

    path = Path(args.past_exp)
    places = _places(args)
    if args.mode == "evaluate":
        predictions = checkpoint.evaluate_checkpoint(
            path, args.evaluate_split, args.device, args.override, places=places
        )
        from s3prl_emotion.evaluation.metrics import columns
        from s3prl_emotion.runs.prediction import read_predictions

        rows, labels = read_predictions(predictions)
        pair = [row.truth for row in rows], [row.predicted for row in rows]
        figures = ", ".join(f"{rate.title} {rate.shown(rate(*pair, labels))} %" for rate in columns().values())
        print(f"{args.evaluate_split}: {figures} ({len(rows)} utterances, checkpoint {path})\n{predictions}")
        return 0
    folder, results = checkpoint.resume(path, args.device, args.override, cache_options(args), places)
    if results is not None:
        print_results(folder.parent, results)
    else:
        print(folder)
    return 0


def _places(args: argparse.Namespace) -> Places:
    from s3prl_emotion.upstreams.reference import Places

    return Places(args.upstream_ckpt, args.upstream_model_config)


def _infer(args: argparse.Namespace) -> int:
    from s3prl_emotion.experiment.checkpoint import infer

    if not args.past_exp:
        raise ConfigError("-m inference needs -e CKPT, the trained checkpoint, and -t FILE, the audio")
    if args.evaluate_split == "test":
        raise ConfigError("-m inference needs -t FILE, the audio file")
    audio = Path(args.evaluate_split)
    for item in infer(Path(args.past_exp), audio, args.device, args.override, _places(args)):
        item.pop("frame_weights")
        print(json.dumps(item, ensure_ascii=False))
    return 0
