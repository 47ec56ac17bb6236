"""``pretrain contrastive``: a head from speech without labels, and whether its clusters follow emotion."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from s3prl_emotion.cli.pretrain_options import add_corpus, add_places, add_settings, common
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.printable import printable

if TYPE_CHECKING:
    from s3prl_emotion.pretraining.contrastive.plan import ContrastiveRequest

STAGES = ("embed", "cluster", "analysis", "pretrain", "export")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Speech, upstream, the corpus whose folds matter, the stages, and the study."""
    what = parser.add_argument_group("what to pretrain on")
    what.add_argument(
        "--speech",
        action="append",
        default=[],
        metavar="[NAME=]PLACE",
        help="CORPUS=DIR, a prepared folder, a table with path and speaker, or files by a pattern such as "
        "DIR/{speaker}/*/{utterance}.flac; may be given several times",
    )
    what.add_argument("-u", "--upstream", help="the upstream whose hidden states are trained on")
    what.add_argument("-k", "--upstream_ckpt", metavar="PATH", help="checkpoint of upstreams that need one")
    what.add_argument("-g", "--upstream_model_config", metavar="PATH", help="model configuration of such upstreams")
    what.add_argument(
        "--trust-checkpoint", action="store_true", help="let the upstream's checkpoint execute the code it brings along"
    )
    what.add_argument(
        "--corpus", default=None, help="the corpus whose folds matter (default: the first --speech that is a corpus)"
    )
    what.add_argument(
        "--demo", action="store_true", help="synthetic corpus, filter banks, few steps: does it all work?"
    )
    add_corpus(what)
    how = parser.add_argument_group("how")
    how.add_argument("--encoder", metavar="NAME", help="what makes a vector of an utterance: ge2e, ecapa or upstream")
    how.add_argument(
        "--stage", choices=STAGES, help="this stage only (default: all); pretrain also runs under torchrun"
    )
    how.add_argument(
        "--study",
        action="store_true",
        help="from scratch, pretrained, on random clusters and on labels, x shares of labels x seeds, and compare",
    )
    add_settings(how, "cluster.choose=silhouette,,training.steps=1000")
    add_places(parser)


def main(args: argparse.Namespace) -> int:
    """Run the stages and print what came out."""
    from s3prl_emotion.pretraining.contrastive import analysis, recipe, study
    from s3prl_emotion.pretraining.contrastive.plan import make_plan
    from s3prl_emotion.upstreams.trust import trusted_checkpoints

    if args.study and args.stage is not None:
        raise ConfigError("--study runs all stages: leave --stage out")
    with trusted_checkpoints(args.trust_checkpoint):
        plan = make_plan(_wanted(args))
        if args.study:
            print(printable(study.run(plan)))
            print(f"\nfolder: {plan.folder}")
            return 0
        recipe.run(plan, args.stage)
    if args.stage in (None, "analysis"):
        print()
        print(printable(recipe.printed(plan) if args.stage is None else analysis.printed(plan)))
    print(f"\nfolder: {plan.folder}")
    return 0


def _wanted(args: argparse.Namespace) -> ContrastiveRequest:
    from s3prl_emotion.pretraining.contrastive import demo
    from s3prl_emotion.pretraining.contrastive.encoders import encoders
    from s3prl_emotion.pretraining.contrastive.plan import RECIPE, ContrastiveRequest
    from s3prl_emotion.pretraining.contrastive.settings import ContrastiveSettings, with_encoder
    from s3prl_emotion.pretraining.settings import read_settings

    encoder = {}
    if args.encoder is not None:
        encoders.get(args.encoder, "--encoder")
        encoder = dict(with_encoder(args.encoder))
    changes = demo.SETTINGS if args.demo else {}
    wanted = ContrastiveRequest(
        **common(args),
        settings=read_settings(ContrastiveSettings, RECIPE, args.config, changes, encoder, args.override),
        corpus=args.corpus,
        speech=tuple(args.speech),
        checkpoint=args.upstream_ckpt,
        model_config=args.upstream_model_config,
    )
    if args.demo:
        return demo.complete(wanted)
    if args.upstream is None:
        raise ConfigError("-u is missing: whose hidden states to train on? `s3prl-emotion ls upstreams` lists them")
    return wanted
