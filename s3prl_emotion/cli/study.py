"""``study``: a question worked off as a list of runs, resumable, by several processes, ending in a table."""

from __future__ import annotations

import argparse
from pathlib import Path

from s3prl_emotion.cli import run_options, set_up_logging
from s3prl_emotion.cli.output import check_out, write_or_print
from s3prl_emotion.cli.sweep import SEVERAL
from s3prl_emotion.errors import ConfigError, CorpusError

ROOT = Path("result/studies")
FORBIDDEN = ("past_exp", "init_ckpt", "downstream_variant", "expname", "expdir")
"""Options of ``run`` that name one run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``run``; ``-u``, ``-d`` and ``--seeds`` take several."""
    parser.add_argument("name", metavar="NAME", help="as `s3prl-emotion ls studies` lists them")
    run_options.add_arguments(parser)
    for action in parser._actions:
        if action.dest in SEVERAL:
            action.help = f"{action.help}; {SEVERAL[action.dest]}"
    parser.set_defaults(root=ROOT)
    parser.add_argument("--parts", default="", metavar="A,B", help="corpora to go through (default: the study's own)")
    parser.add_argument("--text-encoder", metavar="MODEL", help="folder or Hub id (default: the heads' own)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the tables to a file (default: print)")


def main(args: argparse.Namespace) -> int:
    """Run what is not finished, then print the study's tables and the comparison of all its runs."""
    set_up_logging(args.verbose)
    check_out(args.out)
    check_one_of_many(args, "study")
    from s3prl_emotion.experiment.studies import studies
    from s3prl_emotion.experiment.studies.base import Setting, conduct, report
    from s3prl_emotion.upstreams.trust import trusted_checkpoints

    study = studies.get(args.name, "study")()
    args.downstream, args.corpus = args.downstream or "emotion_mean", args.corpus or "five"
    check_data(args)
    request = run_options.request_of(args)
    names = [tuple(part for part in text.split(",") if part) for text in (args.upstream, args.downstream)]
    setting = Setting(
        request=request,
        upstreams=names[0],
        downstreams=names[1],
        seeds=args.seeds or (args.seed,),
        parts=tuple(part for part in args.parts.split(",") if part),
        encoder=args.text_encoder,
    )
    with trusted_checkpoints(args.trust_checkpoint):
        outcome = conduct(study, setting)
    write_or_print(report(study, outcome), args.out)
    outcome.worked.raise_failures(outcome.total)
    return 0


def check_data(args: argparse.Namespace) -> None:
    """Refuse data that is not there, before anything is run on it.

    Raises:
        CorpusError, ConfigError: saying what is expected
    """
    from s3prl_emotion.corpora import corpora

    entry = corpora.get(args.corpus, "--corpus")
    if args.data is None:
        raise ConfigError(f"where is the data? Give the folder of corpus {args.corpus} with --data: {entry.layout}")
    if args.data is not None and not args.data.expanduser().exists():
        raise CorpusError(f"{args.data}: no such file or folder. Corpus {entry.name} expects {entry.layout}")


def check_one_of_many(args: argparse.Namespace, command: str) -> None:
    """Refuse options that name one run, where a command names many itself.

    Raises:
        ConfigError: naming the option
    """
    for name in FORBIDDEN:
        if getattr(args, name) is not None:
            raise ConfigError(f"{command} names its runs itself: --{name} belongs to the command `run`")
    if args.mode != "train":
        raise ConfigError(f"{command} trains: -m {args.mode} belongs to the command `run`")
    if args.seeds and args.seed != 1337:
        raise ConfigError(f"--seed {args.seed} and --seeds both name seeds: give one")
