"""``compare``: runs, the leaderboard and the papers side by side, with intervals, differences and their tests."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from s3prl_emotion.cli import set_up_logging
from s3prl_emotion.cli._out import check_out, write_or_print

FORMATS = ("table", "json", "csv", "markdown")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from s3prl_emotion.evaluation.metrics import columns

    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="a run folder, or a folder that holds several"
    )
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="RUN",
        help="run folder from whose system differences are taken (default: the first system of each block)",
    )
    parser.add_argument(
        "--metric", default="ua", choices=tuple(columns()), help="what is compared (default: %(default)s)"
    )
    parser.add_argument("--format", default="table", choices=FORMATS, help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write to a file (default: print)")


def main(args: argparse.Namespace) -> int:
    """Print the comparison or write it to a file; no run folder is changed."""
    set_up_logging()
    print_comparison(args.runs, args.baseline, args.metric, args.format, args.out)
    return 0


def print_comparison(
    runs: Sequence[Path],
    baseline: Path | None = None,
    metric: str = "ua",
    form: str = "table",
    out: Path | None = None,
) -> None:
    """Compare runs and print the result, or write it to ``out``.

    Raises:
        RunError: if a folder or file is missing or malformed, or runs of one division differ in their utterances
    """
    check_out(out)
    from s3prl_emotion.evaluation.comparison import compare
    from s3prl_emotion.reporting.comparison_export import comparison_csv, comparison_json
    from s3prl_emotion.reporting.comparison_text import comparison_text

    comparison = compare(runs, baseline, metric)
    if form == "json":
        text = comparison_json(comparison)
    elif form == "csv":
        text = comparison_csv(comparison)
    else:
        text = comparison_text(comparison, markdown=form == "markdown")
    write_or_print(text, out)
