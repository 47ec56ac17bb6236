"""What of a run comes from plugins: a part of its identity."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from s3prl_emotion.audio.augmentation import effects
from s3prl_emotion.classical import classifier_of, classifiers
from s3prl_emotion.corpora import corpora
from s3prl_emotion.downstream.objectives import objectives
from s3prl_emotion.plugins import record
from s3prl_emotion.pooling import poolings
from s3prl_emotion.protocols import protocols
from s3prl_emotion.s3prl_runner.registration import downstream_configs
from s3prl_emotion.s3prl_runner.upstream_registry import hub

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
