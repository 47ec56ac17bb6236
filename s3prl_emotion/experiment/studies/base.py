"""A study: a question answered by runs."""

from __future__ import annotations

import abc
import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora.combined import FIVE_PARTS, names
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.evaluation.comparison import compare
from s3prl_emotion.experiment.jobs import Job, JobResults, Need, run_jobs
from s3prl_emotion.experiment.request import DEFAULT_SEED, Request
from s3prl_emotion.experiment.sweep import at_point
from s3prl_emotion.reporting.comparison import comparison_text
from s3prl_emotion.reporting.layout import wrap

ENCODER = "config.downstream_expert.modelrc.text.encoder"
"""What ``-o`` names the text encoder by."""


@dataclass(frozen=True)
class Setting:
    """What a study is asked for.

    Args:
        request: what all points share; corpus, options and protocol are None or empty where the study chooses
        upstreams: of the points
        downstreams: likewise
        seeds: likewise
        parts: corpora, where a study goes through several; all five where none are named
        encoder: of text; None is that of the heads' configurations
    """

    request: Request
    upstreams: tuple[str, ...]
    downstreams: tuple[str, ...]
    seeds: tuple[int, ...] = (DEFAULT_SEED,)
    parts: tuple[str, ...] = ()
    encoder: str | None = None

    @property
    def corpora(self) -> tuple[str, ...]:
        """The corpora that the study goes through, in the order of arXiv 2312.11503.

        Raises:
            CorpusError: if one is unknown
        """
        chosen = names(list(self.parts), "--parts", FIVE_PARTS) or FIVE_PARTS
        return tuple(part for part in FIVE_PARTS if part in chosen)

    def changed(self, override: str | None = None, **changes: Any) -> Request:
        """The shared request with some of it changed.

        Args:
            override: added to ``-o``
            changes: fields of :class:`~s3prl_emotion.experiment.request.Request`; ``corpus_options`` are added
        """
        options = {**self.request.corpus_options, **changes.pop("corpus_options", {})}
        given = [self.request.s3prl.get("override"), override]
        s3prl = {**self.request.s3prl, "override": ",,".join(text for text in given if text) or None}
        return dataclasses.replace(self.request, s3prl=s3prl, corpus_options=options, **changes)

    def reading(self, **changes: Any) -> Request:
        """:meth:`changed` for heads that read what is said, with the text encoder that was asked for."""
        override = None if self.encoder is None else f"{ENCODER}={self.encoder}"
        return self.changed(override=override, **changes)

    def folder_of(self, corpus: str) -> dict[str, Any]:
        """Corpus and data of one corpus of :attr:`corpora`: its subfolder, or what ``--corpus-option`` says.

        Raises:
            ConfigError: if no data is named
        """
        given = self.request.corpus_options.get(corpus)
        if given is None and self.request.data is None:
            raise ConfigError("where are the corpora? Give the folder that holds them with --data DIR")
        data = Path(str(given)) if given is not None else Path(str(self.request.data)) / corpus
        return {"corpus": corpus, "data": data}

    def alone(self, corpus: str, **changes: Any) -> Request:
        """A request on one corpus by itself; options that say where others are do not belong to it."""
        request = self.changed(**self.folder_of(corpus), **changes)
        options = {key: value for key, value in request.corpus_options.items() if key not in FIVE_PARTS}
        return dataclasses.replace(request, corpus_options=options)


@dataclass(frozen=True)
class Variant:
    """One answer to a study's question: a request, run for each upstream, downstream and seed.

    Args:
        name: a row of the table
        request: what is run
        downstreams: in place of those that were asked for
        needs: packages that it cannot do without
    """

    name: str
    request: Request
    downstreams: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True)
class StudyArm:
    """A variant on one upstream with one head."""

    variant: str
    upstream: str
    downstream: str

    @property
    def name(self) -> str:
        """As failures and logs name it."""
        return f"{self.variant}, {self.upstream}, {self.downstream}"


Done = Mapping[StudyArm, Sequence[Path]]
"""Run folders of finished systems, one for each seed."""


class Study(abc.ABC):
    """A question; the class' docstring is it, in one line."""

    @classmethod
    def question(cls) -> str:
        """The first line of the docstring."""
        return next(iter(inspect.cleandoc(cls.__doc__ or "").splitlines()), "")

    @abc.abstractmethod
    def variants(self, setting: Setting) -> list[Variant]:
        """What is to be run.

        Raises:
            EmotionError: if the setting lacks something
        """

    def fusions(self, done: Done) -> list[list[Path]]:
        """Late fusions besides: of each its members' folders."""
        return []

    def answer(self, done: Done) -> list[str]:
        """Tables and lines that answer the question, beside the comparison of all runs."""
        return []


@dataclass(frozen=True)
class StudyResult:
    """What a study came to."""

    done: Done
    worked: JobResults
    total: int


def conduct(study: Study, setting: Setting) -> StudyResult:
    """Run every point of a study that is not finished.

    Raises:
        EmotionError: at once, if something is set wrong
    """
    if not setting.upstreams or not setting.downstreams:
        raise ConfigError("a study needs -u and -d")
    points, systems = [], []
    for variant in study.variants(setting):
        for upstream, downstream in product(setting.upstreams, variant.downstreams or setting.downstreams):
            system = StudyArm(variant.name, upstream, downstream)
            systems.append(system)
            for seed in setting.seeds:
                request = at_point(variant.request, upstream, downstream, seed)
                request = dataclasses.replace(request, tag=variant.request.tag)
                points.append(Job(system.name, request, variant.needs))
    worked = run_jobs(points)
    done = {system: worked.folders[system.name] for system in systems if system.name in worked.folders}
    return StudyResult(done, worked, len(points))


def report(study: Study, outcome: StudyResult) -> str:
    """Lines of at most 100 columns where tables fit."""
    parts = [wrap(study.question())]
    parts += [wrap(f"skipped: {name}: {reason}") for name, reason in outcome.worked.skipped.items()]
    if outcome.worked.failed:
        parts.append(f"warning: {len(outcome.worked.failed)} of {outcome.total} runs failed, and are missing here")
    folders = [folder for found in outcome.done.values() for folder in found]
    if not folders:
        return "\n\n".join([*parts, "no run is finished"])
    parts += study.answer(outcome.done)
    parts.append(comparison_text(compare(folders, fusions=study.fusions(outcome.done))))
    return "\n\n".join(parts)
