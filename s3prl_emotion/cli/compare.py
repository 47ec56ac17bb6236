"""``compare``: runs, the leaderboard and the papers side by side, with intervals, differences and their tests."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from s3prl_emotion.cli import set_up_logging
from s3prl_emotion.cli.output import check_out, write_or_print
from s3prl_emotion.errors import ConfigError

FORMATS = ("table", "json", "csv", "markdown")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from s3prl_emotion.evaluation.metrics import columns

    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="RUN", help="a run folder, or a folder that holds several"
    )
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="RUN",
        help="run folder from whose system differences are taken (default: the first system of each block)",
    )
    parser.add_argument(
        "--fuse",
        nargs="+",
        type=Path,
        action="append",
        default=[],
        metavar="RUN",
        help="late fusion of these runs, the mean of their log-probabilities, as a system besides; may be given again",
    )
    parser.add_argument(
        "--save-fused", type=Path, metavar="DIR", help="write each fusion as a run folder below DIR, and compare that"
    )
    parser.add_argument(
        "--metric", default="ua", choices=tuple(columns()), help="what is compared (default: %(default)s)"
    )
    parser.add_argument("--format", default="table", choices=FORMATS, help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write to a file (default: print)")


def main(args: argparse.Namespace) -> int:
    """Print the comparison or write it to a file; no run folder is changed."""
    set_up_logging()
    if not args.runs and not args.fuse:
        raise ConfigError("compare what? Name run folders, folders that hold several, or --fuse RUN RUN")
    for members in args.fuse:
        if len(members) < 2:
            raise ConfigError(f"--fuse {members[0]}: late fusion needs at least two runs")
    if args.save_fused is not None and not args.fuse:
        raise ConfigError(f"--save-fused {args.save_fused}: there is nothing to fuse; name the runs with --fuse")
    saved = [] if args.save_fused is None else save_fusions(args.fuse, args.save_fused)
    fusions = [] if saved else args.fuse
    runs = [*args.runs, *(member for members in args.fuse for member in members), *saved] if saved else args.runs
    print_comparison(runs, args.baseline, args.metric, args.format, args.out, fusions)
    return 0


def save_fusions(fusions: Sequence[Sequence[Path]], root: Path) -> list[Path]:
    """Write late fusions as run folders below ``root``."""
    from s3prl_emotion.evaluation.fusion import fuse_systems, write_fusion

    return [write_fusion(run, root) for members in fusions for run in fuse_systems(members)]


def print_comparison(
    runs: Sequence[Path],
    baseline: Path | None = None,
    metric: str = "ua",
    form: str = "table",
    out: Path | None = None,
    fusions: Sequence[Sequence[Path]] = (),
) -> None:
    """Compare runs and print the result, or write it to ``out``.

    Raises:
        RunError: if a folder or file is missing or malformed, or runs of one division differ in their utterances
    """
    check_out(out)
    from s3prl_emotion.evaluation.comparison import compare
    from s3prl_emotion.reporting.comparison import comparison_csv, comparison_json, comparison_text

    comparison = compare(runs, baseline, metric, fusions)
    if form == "json":
        text = comparison_json(comparison)
    elif form == "csv":
        text = comparison_csv(comparison)
    else:
        text = comparison_text(comparison, markdown=form == "markdown")
    write_or_print(text, out)
