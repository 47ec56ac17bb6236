"""``ladder``: the table of arXiv 2312.11503 row by row, ours beside its figures."""

from __future__ import annotations

import argparse
from pathlib import Path

from s3prl_emotion.cli import run_options, set_up_logging
from s3prl_emotion.cli.output import check_out, write_or_print
from s3prl_emotion.cli.study import ROOT, check_data, check_one_of_many
from s3prl_emotion.errors import ConfigError

FORMATS = ("table", "csv", "markdown")
SET_BY_ROWS = ("downstream", "upstream_trainable", "upstream_layer_selection", "upstream_feature_normalize", "config")
"""Options of ``run`` that each row has for itself."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``run``; ``-u``, ``-k`` and ``-g`` name the speech encoder, and ``-o`` is of the neural rows."""
    run_options.add_arguments(parser)
    parser.set_defaults(root=ROOT, protocol="paper-d,strict", corpus="five")
    for action in parser._actions:
        if action.dest == "protocol":
            action.help = "several with commas (default: %(default)s)"
        elif action.dest == "upstream":
            action.help = "the speech encoder (default: hubert_base, as in the paper)"
        elif action.dest == "seeds":
            action.help = f"{action.help}; several with commas"
    parser.add_argument("--rows", default="", metavar="A,B", help="some of the rows, by name (default: all)")
    parser.add_argument(
        "--text-encoder", metavar="MODEL", help="folder or Hub id (default: BERT base uncased, as in the paper)"
    )
    parser.add_argument("--format", default="table", choices=FORMATS, help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write to a file (default: print)")


def main(args: argparse.Namespace) -> int:
    """Run what is not finished, then print the table."""
    set_up_logging(args.verbose)
    check_out(args.out)
    check_one_of_many(args, "ladder")
    given = [name for name in SET_BY_ROWS if getattr(args, name)]
    if given or args.upstream_feature_selection != "hidden_states":
        name = given[0] if given else "upstream_feature_selection"
        raise ConfigError(f"--{name}: each row of the ladder has its own; to run one by itself use `run`")
    check_data(args)
    from s3prl_emotion.experiment import paper_table
    from s3prl_emotion.reporting.paper_table import ladder_csv, ladder_text
    from s3prl_emotion.upstreams.trust import trusted_checkpoints

    speech = args.upstream or paper_table.SPEECH
    args.upstream, args.downstream = speech, "emotion_mean"  # what rows say takes their place
    protocols = _several(args.protocol, "--protocol")
    args.protocol = None
    request = run_options.request_of(args)
    rows = tuple(part for part in args.rows.split(",") if part)
    with trusted_checkpoints(args.trust_checkpoint):
        outcome = paper_table.run_table(request, rows, protocols, args.seeds or (args.seed,), speech, args.text_encoder)
    if args.format == "csv":
        text = ladder_csv(outcome.rows)
    else:
        text = ladder_text(outcome.rows, paper_table.missing_reasons(outcome), markdown=args.format == "markdown")
    write_or_print(text, args.out)
    outcome.worked.raise_failures(outcome.total)
    return 0


def _several(text: str, flag: str) -> tuple[str, ...]:
    names = tuple(part for part in text.split(",") if part)
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"{flag} {text!r}: expected different names with commas")
    return names
