"""Provenance of a run: plugin versions, pinned upstreams, and what identifies it."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from s3prl_emotion.audio.augmentation import effects
from s3prl_emotion.classical import classifier_of, classifiers
from s3prl_emotion.corpora import corpora
from s3prl_emotion.downstream.objectives import objectives
from s3prl_emotion.errors import RunError
from s3prl_emotion.files import checkpoint_sha256, write_atomically
from s3prl_emotion.plugins import record
from s3prl_emotion.pooling import poolings
from s3prl_emotion.protocols import protocols
from s3prl_emotion.runs.folder import FoldFolder
from s3prl_emotion.runs.plan import CorpusChoice, RunPlan, UpstreamChoice
from s3prl_emotion.runs.record import read_json
from s3prl_emotion.s3prl_runner.arguments import mapping
from s3prl_emotion.s3prl_runner.registration import downstream_configs
from s3prl_emotion.s3prl_runner.upstream_registry import hub
from s3prl_emotion.upstreams.per_fold import upstream_sha256

logger = logging.getLogger(__name__)

Brought = dict[str, dict[str, str]]
"""Kind and name (``pooling max``) to the plugin's ``file`` and ``sha256``."""


def plugin_versions(
    upstream: str,
    downstream: str,
    config: Mapping[str, Any],
    read: Iterable[str],
    protocol: str,
    made: Iterable[Mapping[str, Any]] = (),
) -> Brought:
    """The plugins that decide the numbers of a run.

    Args:
        upstream: the ``-u`` name
        downstream: the ``-d`` name
        config: its checked configuration
        read: the corpus' name, and its reader's options: those that combine corpora name them, with commas
        protocol: the protocol's name
        made: effects by which copies are made
    """
    for_epochs = config["downstream_expert"].get("datarc", {}).get("augmentation", ())
    model = config["downstream_expert"].get("modelrc", {})
    files: dict[tuple[str, str], str | None] = {
        ("upstream", upstream): _file_of_upstream(upstream),
        ("downstream", downstream): str(downstream_configs().get(downstream, "")),
        ("protocol", protocol): protocols.file_of(protocol),
    }
    if (classifier := classifier_of(downstream)) is not None:
        files["classifier", classifier] = classifiers.file_of(classifier)
    for name in {word.strip() for text in read for word in text.split(",")} & set(corpora.names()):
        files["corpus", name] = corpora.file_of(name)
    for item in (*made, *for_epochs):
        files["effect", str(item["name"])] = effects.file_of(str(item["name"]))
    for kind, file_of in (("pooling", poolings.file_of), ("objective", objectives.file_of)):
        part = model.get(kind)
        if isinstance(part, Mapping):
            files[kind, str(part["name"])] = file_of(str(part["name"]))
    found = {f"{kind} {name}": record(file) for (kind, name), file in sorted(files.items())}
    return {key: value for key, value in found.items() if value is not None}


def warn_of_plugin_changes(settings: Mapping[str, Any], where: str) -> None:
    """Say which plugins that a head needs are others by now than when it was trained.

    Args:
        settings: of a run's record
        where: what holds the record
    """
    recorded = settings.get("plugins", {})
    for key, told in recorded.items() if isinstance(recorded, Mapping) else ():
        kind, _, name = key.partition(" ")
        if kind == "pooling" and name in poolings.names():
            now = record(poolings.file_of(name))
        elif kind == "classifier" and name in classifiers.names():
            now = record(classifiers.file_of(name))
        elif kind == "upstream":
            now = record(_file_of_upstream(name))
        else:
            continue
        if now is None or now["sha256"] != told.get("sha256"):
            logger.warning(
                "%s: the %s is not the file %s that this was trained with: results may differ", where, key, told["file"]
            )


def _file_of_upstream(name: str) -> str | None:
    function = vars(hub()).get(name)
    return inspect.getfile(inspect.unwrap(function)) if inspect.isfunction(function) else None


def pin_upstream(fold: FoldFolder, checkpoint: str | None, given: str | None) -> None:
    """Write down which model a fold is trained on.

    Args:
        fold: the fold's folder
        checkpoint: the fold's model
        given: ``-k``, which is the same where there is one model for all folds: then nothing is written

    Raises:
        RunError: if the fold was begun with another one
    """
    if checkpoint == given:
        return
    if fold.upstream.is_file():
        check_pinned_upstream(fold, checkpoint)
        return
    content = {"checkpoint": checkpoint, "sha256": checkpoint_sha256(checkpoint)}
    write_atomically(fold.upstream, json.dumps(content, indent=1) + "\n")


def check_pinned_upstream(fold: FoldFolder, checkpoint: str | None) -> None:
    """Refuse another model than the one that :func:`pin_upstream` wrote down.

    Raises:
        RunError: naming both hashes
    """
    kept = read_json(fold.upstream, "a fold of an upstream with one model per fold")["sha256"]
    found = checkpoint_sha256(checkpoint)
    if found != kept:
        raise RunError(
            f"-k {checkpoint}: its SHA-256 is {found}, {fold.path.name} was trained on {kept}: another checkpoint, or "
            "one with files added. Put the original back, or name another run folder with -n or -p"
        )


def identity_of(plan: RunPlan) -> dict[str, Any]:
    """Everything that decides the numbers of a run, as plain values."""
    training = plan.training
    content = identity(
        training.upstream,
        training.downstream,
        mapping(training.downstream, training.settings),
        training.seed,
        plan.corpus,
        plan.protocol,
        None if plan.cache is None else plan.cache.dtype,
        plan.remarks.record(),
    )
    return content if plan.text is None else {**content, "text": plan.text.record()}


def identity(
    upstream: UpstreamChoice,
    downstream: str,
    config: Mapping[str, Any],
    seed: int,
    corpus: CorpusChoice,
    protocol: str,
    cache: str | None,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """The same from its parts; ``cache`` is the type of stored states."""
    data = None if corpus.data is None else str(corpus.data.expanduser().absolute())
    content = {
        "upstream": upstream.name,
        "checkpoint": place_of(upstream.checkpoint),
        "checkpoint_sha256": upstream_sha256(upstream.checkpoint),
        "model_config_sha256": upstream_sha256(upstream.model_config),
        "upstream_trainable": upstream.trainable,
        "upstream_feature_selection": upstream.selection,
        "upstream_layer_selection": upstream.layer,
        "upstream_feature_normalize": upstream.normalize,
        "downstream": downstream,
        "config": config,
        "seed": seed,
        "corpus": {
            "name": corpus.name,
            "data": data,
            "table_sha256": checkpoint_sha256(data) if data is not None and Path(data).is_file() else None,
            "options": dict(corpus.options),
        },
        "protocol": protocol,
        "skip_bad": corpus.skip_bad,
        "trim_zeros": corpus.trim_zeros,
        "drop_leaks": corpus.drop_leaks,
        **corpus.making.record(),
        "pretraining": [checkpoint_sha256(str(path)) for path in corpus.pretraining],
        "cache": cache,
        "settings": settings,
    }
    return dict(json.loads(json.dumps(content)))


def place_of(checkpoint: str | None) -> str | None:
    """A path that does not depend on the working folder; a URL or Hub id as it is."""
    return str(Path(checkpoint).absolute()) if checkpoint is not None and Path(checkpoint).exists() else checkpoint
