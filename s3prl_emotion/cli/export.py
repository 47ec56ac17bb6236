"""``export``: trained heads with their layer weights as a folder that needs nothing else of the run."""

from __future__ import annotations

import argparse
from pathlib import Path

from s3prl_emotion.cli import set_up_logging
from s3prl_emotion.cli.predict import add_head_arguments, load_heads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER", help="run folder, fold folder or checkpoint")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="a new folder, or an earlier export to replace"
    )
    add_head_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Write ``head.safetensors``, ``config.json``, ``README.md``; of a fine-tuned run also ``upstream.safetensors``."""
    set_up_logging(args.verbose)
    recogniser = load_heads(args.run, args)
    folder = recogniser.export(args.out)
    for path in sorted(folder.iterdir()):
        print(f"{path.name}  {path.stat().st_size / 1000:.0f} kB")
    print(args.out)
    return 0
