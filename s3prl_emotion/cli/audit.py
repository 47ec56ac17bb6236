"""``audit``: what train, dev and test of a prepared corpus or a run share."""

from __future__ import annotations

import argparse
from pathlib import Path

from s3prl_emotion.cli import set_up_logging
from s3prl_emotion.printable import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="a run folder, or the folder that `prepare` wrote: manifest and folds",
    )
    parser.add_argument(
        "--pretraining-data",
        type=Path,
        action="append",
        default=[],
        metavar="MANIFEST",
        help="manifest.jsonl of what an upstream was pretrained on; may be given several times",
    )


def main(args: argparse.Namespace) -> int:
    """Print every finding. Leaks that the protocol does not declare are an error, status 2."""
    set_up_logging()
    from s3prl_emotion.protocols import protocols
    from s3prl_emotion.protocols.audit import REPORTED, PretrainingData, audit, refuse_leaks
    from s3prl_emotion.protocols.split import Folds
    from s3prl_emotion.runs.folder import RunFolder

    manifest, folds = RunFolder(args.folder).belonging()
    protocol = protocols.get(folds.protocol)
    pretraining = [PretrainingData(path).read() for path in args.pretraining_data]
    findings = audit(manifest, folds, protocol, pretraining)
    for finding in findings:
        print(printable(f"{finding.status:<9}{finding}"))
    for lack in Folds.of(manifest, folds.protocol, folds.folds).lacking:
        print(printable(f"{REPORTED:<9}{lack}"))
    refuse_leaks(findings, protocol, str(args.folder))
    print(printable(f"{manifest.corpus}, protocol {protocol.name}, {len(folds.folds)} folds: no undeclared leak"))
    return 0
