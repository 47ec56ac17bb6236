"""What a run of a classical model comes to: its settings, checked, and what identifies it."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3prl_emotion.classical import Choice, classifier_of, classifiers
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.experiment.brought import plugin_versions
from s3prl_emotion.experiment.identity import identity
from s3prl_emotion.experiment.request import (
    Request,
    corpus_choice,
    folder_name,
    folds_named,
    protocol_name,
)
from s3prl_emotion.runs.folder import PACKAGES, PLUGINS
from s3prl_emotion.runs.plan import CorpusChoice, UpstreamChoice
from s3prl_emotion.s3prl_runner import arguments
from s3prl_emotion.s3prl_runner.building import register_on_hub
from s3prl_emotion.s3prl_runner.cache import CacheOptions
from s3prl_emotion.s3prl_runner.selection import check_has_frames, check_upstream
from s3prl_emotion.s3prl_runner.translation import upstream_of
from s3prl_emotion.upstreams.resolution import resolve

IGNORED = {
    "override": "-o",
    "config": "-c",
    "upstream_trainable": "-f",
    "upstream_layer_selection": "-l (use classical --layers N)",
    "upstream_feature_normalize": "--upstream_feature_normalize",
}
"""S3PRL's arguments that say nothing to a classical model, each with its flag."""
NEURAL = {
    "text": "--text",
    "allow_empty_text": "--allow-empty-text",
    "pretrained": "--pretrained",
    "train_share": "--train-share",
}
"""What of a request is for neural heads alone, each with its flag."""


@dataclass(frozen=True)
class ClassicalPlan:
    """Everything that decides the numbers of a run with a classical model, and where it goes."""

    args: argparse.Namespace  # S3PRL's, of the upstream
    upstream: UpstreamChoice
    classifier: str
    choice: Choice
    corpus: CorpusChoice
    protocol: str
    folder: Path
    folds: tuple[int, ...] | None
    cache: CacheOptions

    def config(self) -> dict[str, Any]:
        """As ``run.json`` has it."""
        grid = classifiers.get(self.classifier).grid if self.choice.tune else None
        told = {"classifier": self.classifier, **dataclasses.asdict(self.choice), "grid": grid}
        return {"runner": {}, "downstream_expert": told}

    def identity(self) -> dict[str, Any]:
        """The content of ``run.json``."""
        read = (self.corpus.name, *(str(value) for value in self.corpus.options.values()))
        deviations = [
            text
            for text, applies in (
                (f"features -s {self.upstream.selection}", self.upstream.selection != "hidden_states"),
                ("--trim-zeros", self.corpus.trim_zeros),
                ("--skip-bad", self.corpus.skip_bad),
                ("--drop-leaks", self.corpus.drop_leaks),
            )
            if applies
        ]
        brought = plugin_versions(self.upstream.name, self.args.downstream, self.config(), read, self.protocol)
        settings = {
            "demo": False,
            "file": {},
            "deviations": deviations,
            "classical": f"{classifiers.get(self.classifier).title}; {self.choice.words()}",
            PACKAGES: list(classifiers.get(self.classifier).versions()),
            **({PLUGINS: brought} if brought else {}),
        }
        return identity(
            self.upstream,
            self.args.downstream,
            self.config(),
            self.args.seed,
            self.corpus,
            self.protocol,
            "float32",
            settings,
        )


def is_classical(request: Request) -> bool:
    """Whether ``-d`` names a classical model.

    Raises:
        ConfigError: if it names one that there is not
    """
    return classifier_of(str(request.s3prl.get("downstream"))) is not None


def settle_classical(request: Request) -> ClassicalPlan:
    """What a request comes to, checked but for the upstream.

    Raises:
        ConfigError: naming the option
    """
    args = arguments.arguments(**request.s3prl)
    name = classifier_of(args.downstream)
    if name is None:
        raise ConfigError(f"-d {args.downstream}: no classical model")
    classifiers.get(name).check_installed(name)
    given = [flag for key, flag in IGNORED.items() if getattr(args, key) != arguments.ARGUMENTS[key]]
    if request.cache is False:
        given.append("--no-cache")
    given += [flag for key, flag in NEURAL.items() if getattr(request, key) not in (None, False)]
    if given:
        raise ConfigError(f"{', '.join(given)}: -d {args.downstream} would ignore it; leave it out")
    if args.mode != "train":
        raise ConfigError(
            f"-m {args.mode}: a classical model is fitted and scored in one go; to do so again take its fold folder "
            "away, and for other audio use `s3prl-emotion predict --run FOLDER`"
        )
    args.device = arguments.resolve_device(args.device)
    arguments.check_arguments(args, "the command line")
    ref = resolve(args.upstream, args.upstream_ckpt, args.upstream_model_config, args.upstream_refresh)
    args.upstream, args.upstream_ckpt, args.upstream_model_config = register_on_hub(ref, args.upstream_refresh).options
    tags = [text for text in (request.classical.tag(), request.tag) if text]
    protocol = protocol_name(request)
    return ClassicalPlan(
        args=args,
        upstream=upstream_of(args),
        classifier=name,
        choice=request.classical,
        corpus=corpus_choice(request),
        protocol=protocol,
        folder=folder_name(dataclasses.replace(request, tag="-".join(tags)), args, protocol),
        folds=folds_named(request, args.downstream_variant),
        cache=request.cache_options,
    )


def check_classical(request: Request) -> ClassicalPlan:
    """Settle a request and check its upstream.

    Raises:
        EmotionError: naming the option
    """
    plan = settle_classical(request)
    check_upstream(plan.upstream.name, plan.upstream.checkpoint, plan.upstream.model_config)
    if plan.choice.statistics != "mean":
        check_has_frames(plan.upstream.name, f"--statistics {plan.choice.statistics}")
    return plan
