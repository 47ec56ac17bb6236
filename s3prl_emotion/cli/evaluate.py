"""``evaluate``: every number of a run folder again, from its predictions alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from s3prl_emotion.cli import set_up_logging
from s3prl_emotion.cli.run import print_results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER", help="a folder with predictions.csv and results.json")


def main(args: argparse.Namespace) -> int:
    """Rewrite ``results.json`` and print the table."""
    set_up_logging()
    from s3prl_emotion.evaluation.rescore import recompute

    print_results(args.run, recompute(args.run))
    return 0
