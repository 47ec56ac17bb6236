"""The options that all recipes of ``pretrain`` have in common."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from s3prl_emotion.cli.run_options import cache_options, corpus_options, folds_option, seed_option
from s3prl_emotion.errors import ConfigError


def add_corpus(what: argparse._ArgumentGroup) -> None:
    """The corpus, its division, and what is left out of it."""
    what.add_argument("--data", type=Path, metavar="DIR", help="the corpus' folder (for --corpus table: the table)")
    what.add_argument(
        "--corpus-option", action="append", default=[], metavar="KEY=VALUE", help="option of the corpus' reader"
    )
    what.add_argument("--protocol", help="how to divide and select (default: the corpus' own), see `ls protocols`")
    what.add_argument("--fold", default="all", metavar="N|all", help="folds: all (default), 3, or 1,4")
    what.add_argument(
        "--inductive",
        action=argparse.BooleanOptionalAction,
        help="no stage hears what a fold tests on (default, except under the transductive protocols)",
    )
    what.add_argument("--skip-bad", action="store_true", help="go on without audio files that cannot be used")
    what.add_argument("--trim-zeros", action="store_true", help="leave out exact digital zeros at both ends of a clip")
    what.add_argument(
        "--drop-leaks", action="store_true", help="leave out of train and dev what is in a later part under another id"
    )


def add_settings(how: argparse._ArgumentGroup, example: str) -> None:
    """Settings, seed and device."""
    how.add_argument("-o", "--override", help=f'"{example}"')
    how.add_argument("-c", "--config", type=Path, metavar="YAML", help="settings in place of the shipped ones")
    how.add_argument("--seed", default=1337, type=seed_option, help="default: %(default)s")
    how.add_argument("--device", default=None, help="cuda or cpu (default: cuda where there is one)")
    how.add_argument("--verbose", action="store_true", help="log everything")


def add_places(parser: argparse.ArgumentParser) -> None:
    """Where things go."""
    where = parser.add_argument_group("where")
    where.add_argument("-n", "--expname", help="folder: <root>/EXPNAME")
    where.add_argument("-p", "--expdir", type=Path, help="folder of this pretraining")
    where.add_argument(
        "--root", type=Path, default=Path("result/pretraining"), help="folders are made below it (%(default)s)"
    )
    where.add_argument(
        "--cache-root", type=Path, default=Path("result/cache"), metavar="DIR", help="default: %(default)s"
    )
    where.add_argument("--cache-dtype", default="float16", choices=["float16", "float32"], help="default: %(default)s")
    where.add_argument("--cache-limit", metavar="SIZE", help="bound for all of DIR, such as 100G")
    parser.set_defaults(cache_device=None)


def common(args: argparse.Namespace) -> dict[str, Any]:
    """What was given, as :class:`s3prl_emotion.pretraining.plan.PretrainRequest` calls it.

    Raises:
        ConfigError: if an option cannot be meant so
    """
    if args.expdir and args.expname:
        raise ConfigError(f"-p {args.expdir} and -n {args.expname} both name the folder: give one")
    return {
        "upstream": args.upstream or "",
        "data": args.data,
        "corpus_options": corpus_options(args.corpus_option),
        "protocol": args.protocol,
        "folds": folds_option(args.fold),
        "inductive": args.inductive,
        "folder": args.expdir or (args.root / args.expname if args.expname else None),
        "root": args.root,
        "seed": args.seed,
        "device": args.device,
        "demo": args.demo,
        "skip_bad": args.skip_bad,
        "trim_zeros": args.trim_zeros,
        "drop_leaks": args.drop_leaks,
        "cache_options": cache_options(args),
    }
