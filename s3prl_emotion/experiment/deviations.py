"""How a run's settings deviate from the shipped configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from s3prl_emotion.downstream.settings import DownstreamConfig
from s3prl_emotion.experiment.provenance import plugin_versions
from s3prl_emotion.runs.plan import CorpusChoice, Remarks, TrainingSpec
from s3prl_emotion.s3prl_runner.arguments import mapping
from s3prl_emotion.s3prl_runner.downstream_kinds import downstream_kind
from s3prl_emotion.text.choice import TextChoice

UNCHANGING = frozenset(
    {
        *("runner.log_step", "runner.save_step", "runner.max_keep", "runner.eval_dataloaders"),
        *(f"downstream_expert.datarc.{key}" for key in ("num_workers", "pre_load")),
    }
)
"""Settings that decide no number of a run."""

SAID: dict[str, Callable[[Any], str]] = {
    "runner.total_steps": "{} steps".format,
    "runner.epochs": "{} epochs".format,
    "downstream_expert.datarc.train_share": lambda value: f"trained on {100 * value:g} % of the training part",
    "downstream_expert.datarc.max_duration_s": "audio cut to {} s".format,
    "downstream_expert.datarc.augmentation": lambda value: (
        f"augmented while training ({', '.join(str(item['name']) for item in value)})"
    ),
    "downstream_expert.datarc.labels": lambda value: (
        "trained on annotators' votes" if value == "soft" else f"trained on {value} labels"
    ),
    "downstream_expert.modelrc.text": lambda value: f"text encoder {name_of_encoder(str(value['encoder']))}",
    "downstream_expert.modelrc.text.encoder": lambda value: f"text encoder {name_of_encoder(str(value))}",
    "downstream_expert.modelrc.text.trainable": lambda value: f"text encoder {'trained' if value else 'frozen'}",
    "downstream_expert.modelrc.pretrained": lambda start: (
        f"started from the pretrained head {start['sha256'][:12]}{', frozen' if start['frozen'] else ''}"
    ),
    "downstream_expert.modelrc.pretrained.sha256": lambda digest: f"started from the pretrained head {digest[:12]}",
    "downstream_expert.modelrc.pretrained.frozen": lambda frozen: (
        "pretrained weights frozen" if frozen else "pretrained weights trained on"
    ),
    "downstream_expert.modelrc.auxiliary": lambda task: (
        f"second task: who speaks, weight {task['speaker_weight']:g}{', reversed' if task['reverse'] else ''}"
    ),
}
"""Settings that are named in words of their own."""


def name_of_encoder(encoder: str) -> str:
    """A Hub id as it is; of a path its last part."""
    return Path(encoder).name if Path(encoder).is_absolute() else encoder


def rate_tag(rate: float | None) -> str:
    """The tag of a run of a sweep at one learning rate; empty outside of such sweeps."""
    return "" if rate is None else f"lr{rate:g}"


def remarks_of(
    training: TrainingSpec,
    corpus: CorpusChoice,
    protocol: str,
    shipped: DownstreamConfig[Any],
    demo: bool,
    tag: str,
    spoken: TextChoice | None = None,
    pretrained: Mapping[str, Any] | None = None,
) -> Remarks:
    """Settings worth printing, and what makes the run unlike one that follows the configuration that ships.

    Args:
        training: what is trained
        corpus: on what
        protocol: how it is divided
        shipped: the configuration that ships
        demo: whether it is a demonstration
        tag: what the run folder's name ends with; :func:`rate_tag` of the rate in a sweep of learning rates
        spoken: what is read as being said, for heads that read it
        pretrained: the record of the head that it starts from; empty where there is none
    """
    upstream, settings = training.upstream, training.settings
    cut_s = downstream_kind(training.downstream).cut_s(settings.expert)
    deviations = [
        text
        for text, applies in (
            ("upstream fine-tuned (-f)", upstream.trainable),
            (f"features -s {upstream.selection}", upstream.selection != "hidden_states"),
            (f"layer -l {upstream.layer}", upstream.layer is not None),
            ("layers normalised", upstream.normalize),
            (f"audio cut to {cut_s} s", cut_s is not None),
            ("--trim-zeros", corpus.trim_zeros),
            ("--skip-bad", corpus.skip_bad),
            ("--drop-leaks", corpus.drop_leaks),
            (f"--preparation {corpus.making.preparation}", corpus.making.preparation is not None),
            (str(corpus.making.balance), corpus.making.balance is not None),
            (f"texts of {spoken.name}" if spoken else "", spoken is not None and spoken.file is not None),
            ("--allow-empty-text", spoken is not None and spoken.allow_empty),
        )
        if applies
    ]
    # a rate of a sweep is chosen by the dev sets, as SUPERB allows, and named as chosen; "demo settings" is said once
    said = {"optimizer.lr"} if tag == rate_tag(settings.optimizer.get("lr")) else set()
    if demo:
        said |= {"optimizer.lr", "runner.eval_step", "scheduler.num_warmup_steps"}
    if settings.runner.total_steps is not None:
        said |= {"runner.epochs"}  # the steps are said
    elif settings.runner.eval_step is None:
        said |= {"runner.total_steps", "runner.eval_step"}  # the epochs are said
    ships, is_now = (mapping(training.downstream, item) for item in (shipped, settings))
    for key, before, now in _differing(ships, is_now):
        text = SAID[key](now) if key in SAID and now is not None else f"{key} {_say(before)} -> {_say(now)}"
        if key not in UNCHANGING | said and text not in deviations:
            deviations.append(text)
    file = {"total_steps": shipped.runner.length, "lr": shipped.optimizer.get("lr")}
    steps, rate = settings.runner.length, settings.optimizer.get("lr")
    read = (corpus.name, *(str(value) for value in corpus.options.values()))
    balance = corpus.making.balance
    made = () if balance is None else balance.effects or ()
    brought = plugin_versions(upstream.name, training.downstream, is_now, read, protocol, made)
    return Remarks(demo, steps, rate, file, tuple(deviations), brought, pretrained or {})


def _differing(before: Any, now: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted keys whose values differ, with both values; None stands for a key that is not there."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys((*before, *now)):
            yield from _differing(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif before != now:
        yield key, before, now


def _say(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
