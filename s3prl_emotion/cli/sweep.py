"""``sweep``: upstreams x heads x seeds x learning rates, ending in a comparison."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from s3prl_emotion.cli import run_options, set_up_logging
from s3prl_emotion.errors import ConfigError

if TYPE_CHECKING:
    from s3prl_emotion.experiment import Request


SEVERAL = {
    "upstream": "several with commas: -u fbank,hubert",
    "downstream": "several with commas: -d emotion_mean,emotion_corr",
    "seeds": "one or several with commas: --seeds 0,1,2",
}
"""Options that name one thing for ``run``, and several here."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``run``; ``-u`` and ``-d`` take several names with commas, and their help says so."""
    run_options.add_arguments(parser)
    for action in parser._actions:
        if action.dest in SEVERAL:
            action.help = f"{action.help}; {SEVERAL[action.dest]}"
    parser.add_argument(
        "--lr",
        default="",
        metavar="RATES",
        help="learning rates with commas: --lr 1e-2,1e-3, or superb: 1e-1 to 1e-7; chosen in each fold on its dev set "
        "(default: the configuration's own)",
    )


def main(args: argparse.Namespace) -> int:
    """Run the grid, then compare its results."""
    set_up_logging(args.verbose)
    if args.past_exp or args.mode != "train":
        raise ConfigError("sweep trains: -e and -m belong to the command `run`")
    if args.downstream_variant or args.expname or args.expdir:
        raise ConfigError("sweep names its run folders itself, below --root: leave -n, -p and -v out")
    request = run_options.request_of(args)
    if args.lr and "config.optimizer.lr" in (args.override or ""):
        raise ConfigError("--lr and -o config.optimizer.lr both name learning rates: give one")
    names = [tuple(part for part in text.split(",") if part) for text in (args.upstream, args.downstream)]
    return run_grid(args, request, names[0], names[1], _rates(args.lr))


def run_grid(
    args: argparse.Namespace,
    request: Request,
    upstreams: tuple[str, ...],
    downstreams: tuple[str, ...],
    rates: tuple[float, ...],
) -> int:
    """Run all points and print their comparison."""
    from s3prl_emotion.cli.compare import print_comparison
    from s3prl_emotion.experiment.request import DEFAULT_SEED
    from s3prl_emotion.experiment.sweep import Grid, sweep
    from s3prl_emotion.upstreams.trust import trusted_checkpoints

    if args.seeds and args.seed != DEFAULT_SEED:
        raise ConfigError(f"--seed {args.seed} and --seeds both name seeds: give one")
    grid = Grid(upstreams, downstreams, args.seeds or (args.seed,), rates)
    with trusted_checkpoints(args.trust_checkpoint):
        folders = sweep(request, grid)
    print_comparison(folders)
    return 0


def _rates(text: str) -> tuple[float, ...]:
    from s3prl_emotion.experiment.sweep import SUPERB_RATES

    if text == "superb":
        return SUPERB_RATES
    try:
        rates = tuple(float(part) for part in text.split(",") if part)
    except ValueError:
        raise ConfigError(f"--lr {text!r}: expected numbers with commas, or superb") from None
    if len(set(rates)) < len(rates):
        raise ConfigError(f"--lr {text!r}: a rate is given twice")
    return rates
