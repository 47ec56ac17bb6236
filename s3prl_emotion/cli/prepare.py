"""``prepare``: a corpus folder becomes a manifest and folds, without training anything."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from s3prl_emotion.cli import set_up_logging
from s3prl_emotion.cli.run_options import add_audit_arguments, add_derivation_arguments, corpus_options, derivation_of
from s3prl_emotion.printable import printable

if TYPE_CHECKING:
    from s3prl_emotion.corpora import Manifest
    from s3prl_emotion.protocols.split import Fold


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
    add_derivation_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Write ``manifest.jsonl``, ``folds.json`` and, where there is something to say, ``problems.csv``."""
    set_up_logging()
    from s3prl_emotion.corpora import combined
    from s3prl_emotion.runs.folder import RunFolder

    making = derivation_of(args)
    from s3prl_emotion.experiment.preparation import claimed, prepare

    with claimed(RunFolder(args.out), f"--out {args.out}"):
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
            making=making,
        )
    originals = [item for item in manifest.utterances if item.augmentation is None]
    known = f"{len(manifest.speakers)} speakers" if manifest.speakers else "speakers unknown"
    more = f", {manifest.nameless} utterances of unknown speakers" if manifest.speakers and manifest.nameless else ""
    print(printable(f"{manifest.corpus}: {len(originals)} utterances, {known}{more}"))
    print(printable(_counts(manifest.with_utterances(originals).counts())))
    if args.preparation == "paper-d" and manifest.corpus == combined.NAME:
        print(printable(combined.beside_paper(manifest.with_utterances(originals).counts())))
    if copies := len(manifest.utterances) - len(originals):
        print(f"{copies} augmented copies in {making.root}")
    for fold in folds.folds:
        print(f"fold {fold.number}: train {len(fold.train)}, dev {len(fold.dev)}, test {len(fold.test)}")
        if making.balance is not None:
            print(printable(_balance_of(manifest, fold)))
    print(printable(str(args.out)))
    return 0


def _balance_of(manifest: Manifest, fold: Fold) -> str:
    """What a balanced training part consists of."""
    made = [manifest.by_id[name] for name in fold.train]
    copies = Counter(item.label for item in made if item.augmentation is not None)
    counts = Counter(item.label for item in made)
    parts = (f"{label} {counts[label]} ({copies[label]} copied)" for label in manifest.labels)
    return f"  train: {', '.join(parts)}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {count}" for label, count in counts.items())
