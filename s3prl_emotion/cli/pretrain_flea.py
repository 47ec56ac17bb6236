"""``pretrain flea``: make an upstream from a corpus, and say what each stage gained."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from s3prl_emotion.cli.pretrain_options import add_corpus, add_places, add_settings, common
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.printable import printable

if TYPE_CHECKING:
    from s3prl_emotion.pretraining.flea.plan import FleaRequest

STAGES = ("tapt", "finetune", "cluster", "cpt", "export", "evaluate")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``run`` that mean the same here, the stages, and the grid."""
    what = parser.add_argument_group("what to pretrain on")
    what.add_argument(
        "-u", "--upstream", help="the base: a HuBERT in transformers format (dropped name, folder, Hub id)"
    )
    what.add_argument("--corpus", default=None, help="corpus (default: iemocap), see `s3prl-emotion ls corpora`")
    what.add_argument("--demo", action="store_true", help="synthetic corpus, tiny HuBERT, few steps: does it all work?")
    add_corpus(what)
    how = parser.add_argument_group("how")
    how.add_argument(
        "--stage", choices=STAGES, help="this stage only (default: all); tapt and cpt also run under torchrun"
    )
    how.add_argument(
        "--grid", nargs="+", metavar="KEY=VALUES", help="layers=1-12 clusters=50,100,150: one table over all cells"
    )
    add_settings(how, "cpt.training.steps=1000,,cluster.layer=6")
    add_places(parser)


def main(args: argparse.Namespace) -> int:
    """Run the stages and print the table."""
    from s3prl_emotion.pretraining.flea import evaluate, grid, recipe
    from s3prl_emotion.pretraining.flea.plan import make_plan

    cells = None if args.grid is None else grid.parse(args.grid)
    if cells is not None and args.stage is not None:
        raise ConfigError("--grid runs all stages: leave --stage out")
    plan = make_plan(_wanted(args))
    if cells is not None:
        print(printable(grid.run(plan, *cells)))
        print(f"\nfolder: {plan.folder}")
        return 0
    recipe.run(plan, args.stage)
    if args.stage in (None, "evaluate"):
        print()
        print(printable(evaluate.printed(plan.folder)))
    print(f"\nfolder: {plan.folder}")
    return 0


def _wanted(args: argparse.Namespace) -> FleaRequest:
    from s3prl_emotion.pretraining.flea import demo
    from s3prl_emotion.pretraining.flea.plan import FleaRequest
    from s3prl_emotion.pretraining.flea.settings import FleaSettings
    from s3prl_emotion.pretraining.settings import read_settings

    given = common(args)
    changes = demo.SETTINGS if args.demo else {}
    wanted = FleaRequest(
        **given,
        settings=read_settings(FleaSettings, "flea", args.config, changes, args.override),
        corpus=args.corpus or ("demo" if args.demo else "iemocap"),
    )
    if args.demo:
        return demo.complete(wanted)
    if args.upstream is None:
        raise ConfigError("-u is missing: which HuBERT to start from? A folder in transformers format, or a Hub id")
    return wanted
