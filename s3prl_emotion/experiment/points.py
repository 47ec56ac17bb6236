"""Many requests, by one process or several: finished ones are not run again, and a failure stops nothing else.

A process that meets a point on which another one works goes on with the next, and comes back.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from s3prl_emotion.errors import RunError, UpstreamError, reason_of
from s3prl_emotion.experiment.classical import Statistics
from s3prl_emotion.experiment.division import Prepared
from s3prl_emotion.experiment.request import Request
from s3prl_emotion.experiment.run import check, run
from s3prl_emotion.locks import HeldError

logger = logging.getLogger(__name__)

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
class Point:
    """One request, under a name that tables show."""

    name: str
    request: Request
    needs: tuple[Need, ...] = ()


@dataclass
class Worked:
    """What came of points, by name."""

    folders: dict[str, list[Path]] = field(default_factory=dict)  # run folders of finished ones, one for each seed
    skipped: dict[str, str] = field(default_factory=dict)  # what is missing
    failed: dict[str, str] = field(default_factory=dict)  # why

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


def work_off(points: Sequence[Point]) -> Worked:
    """Run points; several with one name are seeds of one system.

    Settings of all are checked before anything is trained; a point whose upstream or encoder cannot be had has failed.

    Raises:
        EmotionError: at once, if a name or a setting is wrong
    """
    worked = Worked()
    waiting: list[Point] = []
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
            _fail(point, worked, error)
        else:
            waiting.append(point)
    prepared: dict[str, Prepared] = {}
    statistics: dict[str, Statistics] = {}
    total = len(waiting)
    while waiting:
        held = [point for point in waiting if not _worked(point, worked, prepared, statistics, total)]
        if len(held) == len(waiting):
            logger.info("other processes work on %s; waiting", ", ".join(dict.fromkeys(item.name for item in held)))
            time.sleep(WAIT_S)
        waiting = held
    order = list(dict.fromkeys(point.name for point in points))
    worked.folders = {name: sorted(worked.folders[name]) for name in order if name in worked.folders}
    return worked


def _worked(
    point: Point, worked: Worked, prepared: dict[str, Prepared], statistics: dict[str, Statistics], total: int
) -> bool:
    """Run one point; False if another process is at it."""
    done = sum(map(len, worked.folders.values())) + len(worked.failed)
    logger.info("point %d of %d: %s, seed %s", done + 1, total, point.name, point.request.s3prl.get("seed", "-"))
    corpus = _corpus(point.request)
    try:
        folder, _ = run(point.request, prepared.setdefault(corpus, {}), statistics.setdefault(corpus, {}))
    except Exception as error:  # by whatever fault one point fails, the others go on
        if isinstance(error, RunError) and isinstance(error.__cause__, HeldError):
            return False
        logger.debug("%s", point.name, exc_info=True)
        _fail(point, worked, error)
    else:
        worked.folders.setdefault(point.name, []).append(folder)
    return True


def _fail(point: Point, worked: Worked, error: Exception) -> None:
    reason = reason_of(error)
    logger.error("%s: %s", point.name, reason)
    worked.failed[f"{point.name}, seed {point.request.s3prl.get('seed', '-')}"] = reason


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
