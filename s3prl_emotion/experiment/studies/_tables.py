"""Tables that several studies share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from s3prl_emotion.evaluation.groups import Group, group_by
from s3prl_emotion.evaluation.runs import read_run
from s3prl_emotion.evaluation.seed_groups import SeedGroup, figures, group
from s3prl_emotion.reporting.layout import interval, percent, tabulated


def system_of(folders: Sequence[Path]) -> SeedGroup:
    """The runs of one system, which differ in the seed."""
    return group([read_run(folder) for folder in folders])[0]


def groups_of(folders: Sequence[Path], by: str) -> dict[str, Group]:
    """A system's groups of utterances by name."""
    return {item.name: item for item in group_by(system_of(folders), by).groups if item.told}


def matrix(corner: str, rows: Mapping[str, Mapping[str, str]], columns: Iterable[str]) -> str:
    """Cells by row and column; a dash where there is none."""
    columns = list(columns)
    return tabulated(
        [corner, *columns], [[name, *(cells.get(key, "-") for key in columns)] for name, cells in rows.items()]
    )


def ua_of(group: Group) -> str:
    """UA of a group in percent with its interval."""
    rate = group.rates["ua"]
    return f"{percent(rate.value)} ({interval(rate.ci95)})"


def overall(folders: Sequence[Path], metric: str = "ua") -> tuple[float, list[float] | None]:
    """A system's rate to quote, and its interval."""
    system = system_of(folders)
    found = figures(system)[metric]
    of, at = ("pooled", "pooled_ci95") if system.results.is_pooled else ("mean", "ci95")
    return found[of], found[at]
