"""``classical``: classical models on time statistics of an upstream's states: the first look, also layer by layer."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from s3prl_emotion.cli import run_options, set_up_logging
from s3prl_emotion.cli.output import check_not_of_a_run
from s3prl_emotion.cli.run_options import add_derivation_arguments
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.printable import printable

if TYPE_CHECKING:
    from s3prl_emotion.experiment import Request
    from s3prl_emotion.experiment.sweep import Grid

EACH = "each"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    ours = parser.add_argument_group("what to benchmark")
    ours.add_argument(
        "-u", "--upstream", help="upstream, as `s3prl-emotion ls upstreams` lists them; several with commas"
    )
    ours.add_argument(
        "--classifier",
        default="logistic",
        metavar="NAMES",
        help="as `s3prl-emotion ls classifiers` lists them, with commas, or all (default: %(default)s)",
    )
    ours.add_argument(
        "--statistics",
        default="mean",
        choices=["mean", "mean_std"],
        help="over time: the mean (default), or the standard deviation after it",
    )
    ours.add_argument(
        "--layers",
        default="average",
        metavar="average|concat|N|each",
        help="average of all layers (default), all of them concatenated, one, or one after the other",
    )
    ours.add_argument(
        "--tune",
        action="store_true",
        help="choose hyperparameters from a small grid on each fold's dev set (default: the library's defaults)",
    )
    run_options.add_corpus_arguments(ours)
    add_derivation_arguments(parser)
    run_options.add_store_arguments(parser.add_argument_group("time statistics are computed once and stored"))
    upstream = parser.add_argument_group("S3PRL: upstream")
    run_options.add_checkpoint_arguments(upstream)
    run_options.add_selection_argument(upstream)
    machine = parser.add_argument_group("S3PRL: machine")
    run_options.add_seed_arguments(machine)
    machine.add_argument("--verbose", action="store_true", help="log everything")
    parser.add_argument("--out", type=Path, metavar="FILE", help="with --layers each: write its table as CSV")
    parser.set_defaults(text=None, allow_empty_text=False, pretrained=None, train_share=None)
    parser.set_defaults(downstream=None, init_ckpt=None, cache=None, cache_dtype="float32", cache_device=None)


def main(args: argparse.Namespace) -> int:
    """Fit and score every classifier, and print its table, their comparison, or the table of layers."""
    set_up_logging(args.verbose)
    from s3prl_emotion.classical import PREFIX, classifiers

    each = args.layers == EACH
    if args.out is not None and not each:
        raise ConfigError("--out is for the table of --layers each; of other runs, `compare --format csv` writes one")
    if args.out is not None:
        if args.out.is_dir():
            raise ConfigError(f"--out {args.out}: is a folder, expected a file")
        check_not_of_a_run(args.out)
    names = classifiers.names() if args.classifier == "all" else _several(args.classifier, "--classifier")
    for name in names:
        classifiers.get(name, "--classifier")
    downstreams = tuple(f"{PREFIX}{name}" for name in names)
    args.downstream = downstreams[0]
    request = _request(args, each)
    from s3prl_emotion.experiment.request import DEFAULT_SEED
    from s3prl_emotion.experiment.sweep import Grid

    if args.seeds and args.seed != DEFAULT_SEED:
        raise ConfigError(f"--seed {args.seed} and --seeds both name seeds: give one")
    grid = Grid(_several(args.upstream, "-u"), downstreams, args.seeds or (args.seed,))
    from s3prl_emotion.upstreams.trust import trusted_checkpoints

    with trusted_checkpoints(args.trust_checkpoint):
        return _layers(request, grid, args.out) if each else _runs(request, grid)


def _runs(request: Request, grid: Grid) -> int:
    from s3prl_emotion.cli.compare import print_comparison
    from s3prl_emotion.cli.run import print_results
    from s3prl_emotion.experiment.run import run
    from s3prl_emotion.experiment.sweep import at_point, sweep

    if len(grid.upstreams) == len(grid.downstreams) == len(grid.seeds) == 1:
        print_results(*run(at_point(request, grid.upstreams[0], grid.downstreams[0], grid.seeds[0])))
    else:
        print_comparison(sweep(request, grid))
    return 0


def _layers(request: Request, grid: Grid, out: Path | None) -> int:
    from s3prl_emotion.experiment.sweep import layer_by_layer
    from s3prl_emotion.files import write_atomically
    from s3prl_emotion.reporting.breakdowns import layers_csv, layers_table

    found = layer_by_layer(request, grid)
    print()
    print(printable(layers_table(found)))
    if out is not None:
        write_atomically(out, layers_csv(found))
        print(f"\n{out}")
    return 0


def _request(args: argparse.Namespace, each: bool) -> Request:
    from s3prl_emotion.classical import Choice

    choice = Choice(args.statistics, "average" if each else args.layers, args.tune)
    return dataclasses.replace(run_options.request_of(args), classical=choice)


def _several(text: str, flag: str) -> tuple[str, ...]:
    names = tuple(part for part in text.split(",") if part)
    if not names:
        raise ConfigError(f"{flag} {text!r}: expected a name, or several with commas")
    return names
