"""Many requests, by one process or several: finished ones are not run again, and a failure stops nothing else.

A process that meets a point on which another one works goes on with the next, and comes back.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from s3prl_emotion.errors import RunError, UpstreamError, message_of
from s3prl_emotion.experiment.classical import Statistics
from s3prl_emotion.experiment.request import Request
from s3prl_emotion.experiment.run import check, run
from s3prl_emotion.experiment.splits import SplitCache
from s3prl_emotion.locks import HeldError
from s3prl_emotion.plugins import blamed

logger = logging.getLogger(__name__)

T = TypeVar("T")

WAIT_S = 5.0
"""Between two looks at points that other processes work on."""


@dataclass(frozen=True)
class Need:
    """A package that a point cannot do without."""

    module: str  # as it is imported
    install: str  # the command that brings it

    @property
    def is_met(self) -> bool:
        """Whether it is installed."""
        return find_spec(self.module) is not None


@dataclass(frozen=True)
class Job:
    """One request, under a name that tables show."""

    name: str
    request: Request
    needs: tuple[Need, ...] = ()

    @property
    def seed(self) -> Any:
        """What points of one name differ in."""
        return self.request.s3prl.get("seed", "-")

    @property
    def key(self) -> tuple[str, Any]:
        """Name and seed."""
        return self.name, self.seed


@dataclass
class JobResults:
    """What came of points."""

    finished: dict[tuple[str, Any], Path] = field(default_factory=dict)  # run folders, by name and seed
    skipped: dict[str, str] = field(default_factory=dict)  # what is missing, by name
    failed: dict[str, str] = field(default_factory=dict)  # why, by name and seed as one text

    @property
    def folders(self) -> dict[str, list[Path]]:
        """Run folders of finished points by name, one for each seed."""
        found: dict[str, list[Path]] = {}
        for (name, _), folder in self.finished.items():
            found.setdefault(name, []).append(folder)
        return {name: sorted(folders) for name, folders in found.items()}

    def fail(self, point: Job, error: Exception) -> None:
        """Write down why a point failed."""
        reason = message_of(blamed(error) or error)
        logger.error("%s: %s", point.name, reason)
        self.failed[f"{point.name}, seed {point.seed}"] = reason

    def raise_failures(self, total: int) -> None:
        """Say what failed.

        Raises:
            RunError: if anything did
        """
        if self.failed:
            alike: dict[str, list[str]] = {}
            for name, reason in self.failed.items():
                alike.setdefault(reason, []).append(name)
            listed = "\n".join(f"  {'; '.join(names)}: {reason}" for reason, names in alike.items())
            raise RunError(
                f"{len(self.failed)} of {total} points failed; the others are kept, and the same command tries again:\n"
                f"{listed}"
            )


def run_jobs(points: Sequence[Job], prepared: SplitCache | None = None, strict: bool = False) -> JobResults:
    """Run points; several with one name are seeds of one system.

    Settings of all are checked before anything is trained.

    Args:
        points: what to run
        prepared: the corpus of all of them, where it is prepared already
        strict: an upstream or encoder that cannot be had, and a corpus that is refused, is an error at once, in place
            of a failure of its points

    Raises:
        EmotionError: at once, if a name or a setting is wrong
    """
    worked = JobResults()
    todo: list[Job] = []
    for point in points:
        missing = [need for need in point.needs if not need.is_met]
        if missing:
            told = ", ".join(f"{need.module} is not installed: {need.install}" for need in missing)
            worked.skipped[point.name] = told
            logger.warning("%s: skipped: %s", point.name, worked.skipped[point.name])
            continue
        try:
            check(point.request)
        except UpstreamError as error:  # an encoder that cannot be had is missing to its own points alone
            if strict:
                raise
            worked.fail(point, error)
        else:
            todo.append(point)
    corpora: dict[str, tuple[SplitCache, Statistics]] = {}

    def attempt(point: Job) -> bool:
        done = len(worked.finished) + len(worked.failed) + 1
        logger.info("point %d of %d: %s, seed %s", done, len(points), point.name, point.seed)
        shared = corpora.setdefault(_corpus(point.request), (SplitCache() if prepared is None else prepared, {}))
        try:
            worked.finished[point.key], _ = run(point.request, *shared)
        except Exception as error:  # by whatever fault one point fails, the others go on
            if is_held_elsewhere(error):
                return False
            if strict and error in shared[0].refused.values():
                raise  # what all points share is refused: it would be refused to each of them
            logger.debug("%s", point.name, exc_info=True)
            worked.fail(point, error)
        return True

    work_through(todo, attempt, lambda point: point.name)
    order = [point.key for point in points]
    worked.finished = {key: worked.finished[key] for key in order if key in worked.finished}
    return worked


def work_through(items: Iterable[T], attempt: Callable[[T], bool], name: Callable[[T], str]) -> None:
    """Do each item once among all processes, and wait for those that others are at.

    Args:
        items: what to do
        attempt: does one; False if another process is at it
        name: of an item, for the log
    """
    waiting = list(items)
    while waiting:
        held = [item for item in waiting if not attempt(item)]
        if len(held) == len(waiting):
            logger.info("other processes work on %s; waiting", ", ".join(dict.fromkeys(map(name, held))))
            time.sleep(WAIT_S)
        waiting = held


def is_held_elsewhere(error: Exception) -> bool:
    """Whether something could not be done, since another process is at it."""
    return isinstance(error, RunError) and isinstance(error.__cause__, HeldError)


def _corpus(request: Request) -> str:
    """What decides manifest and division but the protocol, as text."""
    parts = (
        request.corpus,
        str(request.data),
        dict(request.corpus_options),
        [str(path) for path in request.pretraining],
    )
    flags = (request.skip_bad, request.trim_zeros, request.drop_leaks, repr(request.making))
    return json.dumps([*parts, *flags], sort_keys=True, default=str)
