"""``pretrain``: make an upstream, or a head to start from, by a recipe; one file per recipe."""

from __future__ import annotations

import argparse
import importlib
import types

from s3prl_emotion.cli import set_up_logging

RECIPES = {
    "flea": "frame labels from clusters of an emotion-tuned HuBERT, and masked prediction of them (arXiv 2312.16383)",
    "contrastive": "a head from clusters of speech within each speaker, without emotion labels (arXiv 2401.11017)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A recipe's own, below its name."""
    recipes = parser.add_subparsers(dest="recipe", metavar="RECIPE", required=True)
    for name, text in RECIPES.items():
        subparser = recipes.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        _file_of(name).add_arguments(subparser)


def main(args: argparse.Namespace) -> int:
    """Run the recipe."""
    set_up_logging(args.verbose)
    return int(_file_of(args.recipe).main(args))


def _file_of(recipe: str) -> types.ModuleType:
    return importlib.import_module(f"s3prl_emotion.cli.pretrain_{recipe}")
