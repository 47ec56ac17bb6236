"""``prepare``: a corpus folder becomes a manifest and folds, without training anything."""

from __future__ import annotations

import argparse
from pathlib import Path

from s3prl_emotion.cli import set_up_logging
from s3prl_emotion.cli._printable import printable
from s3prl_emotion.cli.run_options import add_audit_arguments, corpus_options
from s3prl_emotion.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus", required=True, help="see `s3prl-emotion ls corpora`")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="the corpus' folder (for --corpus table: the table; its relative paths start from its own folder)",
    )
    parser.add_argument(
        "--corpus-option", action="append", default=[], metavar="KEY=VALUE", help="option of the corpus' reader"
    )
    parser.add_argument("--protocol", help="default: the corpus' own")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for manifest.jsonl and folds.json"
    )
    parser.add_argument("--skip-bad", action="store_true", help="go on without audio files that cannot be used")
    parser.add_argument(
        "--trim-zeros", action="store_true", help="leave out exact digital zeros at both ends of a clip"
    )
    add_audit_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Write ``manifest.jsonl``, ``folds.json`` and, where there is something to say, ``problems.csv``."""
    set_up_logging()
    from s3prl_emotion.runs.folder import RunFolder

    if any(RunFolder(folder).is_begun for folder in (args.out, args.out.absolute().parent)):
        raise ConfigError(f"--out {args.out}: is the folder of a run, whose manifest and folds must stay. Name another")
    from s3prl_emotion.experiment.preparation import prepare

    manifest, folds = prepare(
        args.corpus,
        args.data,
        corpus_options(args.corpus_option),
        args.protocol,
        RunFolder(args.out),
        args.skip_bad,
        args.trim_zeros,
        args.drop_leaks,
        args.pretraining_data,
    )
    known = f"{len(manifest.speakers)} speakers" if manifest.speakers else "speakers unknown"
    more = f", {manifest.nameless} utterances of unknown speakers" if manifest.speakers and manifest.nameless else ""
    print(printable(f"{manifest.corpus}: {len(manifest.utterances)} utterances, {known}{more}"))
    print(printable(", ".join(f"{label} {count}" for label, count in manifest.counts().items())))
    for fold in folds.folds:
        print(f"fold {fold.number}: train {len(fold.train)}, dev {len(fold.dev)}, test {len(fold.test)}")
    print(printable(str(args.out)))
    return 0
