"""``push``: an exported head, or a run that is exported for it, to the Hugging Face Hub."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from s3prl_emotion.cli import set_up_logging
from s3prl_emotion.cli.predict import add_head_arguments, load_heads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="DIR", help="an export, or a run folder to export and push")
    parser.add_argument("--repo", required=True, metavar="OWNER/NAME", help="on the Hub; made if it is not there")
    parser.add_argument("--private", action="store_true", help="only the owner sees the repository")
    parser.add_argument("--revision", metavar="BRANCH", help="made if it is not there (default: the main branch)")
    add_head_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Upload, and print the address."""
    set_up_logging(args.verbose)
    from s3prl_emotion.inference import hub
    from s3prl_emotion.inference.export import is_export

    hub.check_repo(args.repo)
    options = (args.fold, args.upstream, args.upstream_ckpt, args.upstream_model_config)
    if is_export(args.source) and not any(options):
        print(hub.push(args.source, args.repo, args.private, args.revision))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        exported = load_heads(args.source, args).export(Path(folder) / "export")
        print(hub.push(exported, args.repo, args.private, args.revision))
    return 0
