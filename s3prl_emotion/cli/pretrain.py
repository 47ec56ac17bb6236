"""``pretrain``: make an upstream from a corpus by a recipe, and say what each stage gained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from s3prl_emotion.cli import set_up_logging
from s3prl_emotion.cli.run_options import cache_options, corpus_options, folds_option, seed_option
from s3prl_emotion.errors import ConfigError

if TYPE_CHECKING:
    from s3prl_emotion.pretraining.flea.plan import Wanted

RECIPES = ("flea",)
STAGES = ("tapt", "finetune", "cluster", "cpt", "export", "evaluate")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``run`` that mean the same here, the stages, and the grid."""
    parser.add_argument("recipe", choices=RECIPES, help="flea: arXiv 2312.16383")
    what = parser.add_argument_group("what to pretrain on")
    what.add_argument(
        "-u", "--upstream", help="the base: a HuBERT in transformers format (dropped name, folder, Hub id)"
    )
    what.add_argument("--corpus", default=None, help="corpus (default: iemocap), see `s3prl-emotion ls corpora`")
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
    what.add_argument("--demo", action="store_true", help="synthetic corpus, tiny HuBERT, few steps: does it all work?")
    what.add_argument("--skip-bad", action="store_true", help="go on without audio files that cannot be used")
    what.add_argument("--trim-zeros", action="store_true", help="leave out exact digital zeros at both ends of a clip")
    what.add_argument(
        "--drop-leaks", action="store_true", help="leave out of train and dev what is in a later part under another id"
    )
    how = parser.add_argument_group("how")
    how.add_argument(
        "--stage", choices=STAGES, help="this stage only (default: all); tapt and cpt also run under torchrun"
    )
    how.add_argument(
        "--grid", nargs="+", metavar="KEY=VALUES", help="layers=1-12 clusters=50,100,150: one table over all cells"
    )
    how.add_argument("-o", "--override", help='"cpt.training.steps=1000,,cluster.layer=6"')
    how.add_argument("-c", "--config", type=Path, metavar="YAML", help="settings in place of the shipped ones")
    how.add_argument("--seed", default=1337, type=seed_option, help="default: %(default)s")
    how.add_argument("--device", default=None, help="cuda or cpu (default: cuda where there is one)")
    how.add_argument("--verbose", action="store_true", help="log everything")
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


def main(args: argparse.Namespace) -> int:
    """Run the stages and print the table."""
    set_up_logging(args.verbose)
    from s3prl_emotion.pretraining.flea import evaluate, grid, recipe
    from s3prl_emotion.pretraining.flea.plan import make_plan

    cells = None if args.grid is None else grid.parse(args.grid)
    if cells is not None and args.stage is not None:
        raise ConfigError("--grid runs all stages: leave --stage out")
    plan = make_plan(_wanted(args))
    if cells is not None:
        print(grid.run(plan, *cells))
        print(f"\nfolder: {plan.folder}")
        return 0
    recipe.run(plan, args.stage)
    if args.stage in (None, "evaluate"):
        print()
        print(evaluate.printed(plan.folder))
    print(f"\nfolder: {plan.folder}")
    return 0


def _wanted(args: argparse.Namespace) -> Wanted:
    from s3prl_emotion.pretraining.flea import demo
    from s3prl_emotion.pretraining.flea.plan import Wanted
    from s3prl_emotion.pretraining.flea.settings import FleaSettings
    from s3prl_emotion.pretraining.settings import read_settings

    if args.expdir and args.expname:
        raise ConfigError(f"-p {args.expdir} and -n {args.expname} both name the folder: give one")
    folder = args.expdir or (args.root / args.expname if args.expname else None)
    changes = demo.SETTINGS if args.demo else {}
    wanted = Wanted(
        upstream=args.upstream or "",
        settings=read_settings(FleaSettings, args.recipe, args.config, changes, args.override),
        corpus=args.corpus or ("demo" if args.demo else "iemocap"),
        data=args.data,
        corpus_options=corpus_options(args.corpus_option),
        protocol=args.protocol,
        folds=folds_option(args.fold),
        inductive=args.inductive,
        folder=folder,
        root=args.root,
        seed=args.seed,
        device=args.device,
        demo=args.demo,
        skip_bad=args.skip_bad,
        trim_zeros=args.trim_zeros,
        drop_leaks=args.drop_leaks,
        cache_options=cache_options(args),
    )
    if args.demo:
        return demo.complete(wanted)
    if args.upstream is None:
        raise ConfigError("-u is missing: which HuBERT to start from? A folder in transformers format, or a Hub id")
    return wanted
