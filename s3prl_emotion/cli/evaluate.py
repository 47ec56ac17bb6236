"""``evaluate``: every number of a run again, from its predictions alone; or by groups; or on disturbed audio."""

from __future__ import annotations

import argparse
from pathlib import Path

from s3prl_emotion.cli import set_up_logging
from s3prl_emotion.cli._out import check_out, write_or_print
from s3prl_emotion.cli._robustness import add_robustness_arguments, check_not_given, robustness
from s3prl_emotion.cli.run import print_results
from s3prl_emotion.errors import ConfigError

FORMATS = ("table", "csv", "markdown")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="a folder with predictions.csv and results.json; for --by and --with also one that holds several",
    )
    parser.add_argument(
        "--by",
        metavar="A,B",
        help="n, UA and WA of each group of utterances with the same label, speaker, fold, session, corpus, text, or "
        "attribute of the corpus (sex, intensity, ...), and the largest gap; nothing is written into the run",
    )
    parser.add_argument(
        "--manifest",
        type=Path,
        metavar="FILE",
        help="of --by: what the corpus tells, from a manifest that `prepare` made of the same corpus",
    )
    add_robustness_arguments(parser)
    parser.add_argument("--format", choices=FORMATS, help="of --by and --with (default: table)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="of --by and --with: write to a file, do not print")


def main(args: argparse.Namespace) -> int:
    """Rewrite ``results.json`` and print the table; or print tables of groups, or of conditions."""
    set_up_logging(args.verbose)
    if args.by is not None and args.disturb is not None:
        raise ConfigError("--by and --with are two evaluations: give one at a time")
    if args.by is None and args.manifest is not None:
        raise ConfigError("--manifest is of --by NAME: give both, or neither")
    if args.disturb is None:
        check_not_given(args)
    if args.by is not None or args.disturb is not None:
        check_out(args.out)
        form = args.format or "table"
        write_or_print(_by(args, form) if args.by is not None else robustness(args, form), args.out)
        return 0
    for option in ("format", "out"):
        if getattr(args, option) is not None:
            raise ConfigError(f"--{option} is of --by and --with; without them results.json and its table are written")
    from s3prl_emotion.evaluation.rescore import recompute

    for run in args.runs:
        print_results(run, recompute(run))
    return 0


def _by(args: argparse.Namespace, form: str) -> str:
    """Runs that differ in the seed are one system; each system and name has a table.

    Raises:
        RunError: if a run is malformed, or its corpus does not tell one of the names
    """
    names = [name.strip() for name in args.by.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise ConfigError(f"--by {args.by!r}: expected different names with commas, such as sex,speaker")
    from s3prl_emotion.evaluation.groups import group_by
    from s3prl_emotion.evaluation.runs import find_runs, read_run
    from s3prl_emotion.evaluation.seed_groups import group
    from s3prl_emotion.reporting.groups import groupings_csv, groupings_text

    folders, _ = find_runs(args.runs)
    systems = group([read_run(folder) for folder in folders])
    groupings = [group_by(system, name, args.manifest) for system in systems for name in names]
    return groupings_csv(groupings) if form == "csv" else groupings_text(groupings, markdown=form == "markdown")
