"""Results of the single layers of upstreams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from s3prl_emotion.runs.results import Results


@dataclass(frozen=True)
class OfLayer:
    """The result of one layer."""

    layer: int
    folder: Path
    results: Results

    @property
    def system(self) -> tuple[str, str, int]:
        """What the layers of one upstream share: its name, the ``-d`` name and the seed."""
        return self.results.upstream, self.results.downstream, self.results.seed


def in_order(found: Sequence[OfLayer]) -> list[OfLayer]:
    """The layers of each system together and rising; systems in the order in which they first come."""
    order = list(dict.fromkeys(item.system for item in found))
    return sorted(found, key=lambda item: (order.index(item.system), item.layer))


def systems(found: Sequence[OfLayer]) -> list[list[OfLayer]]:
    """What :func:`in_order` gives, in its parts."""
    return [list(items) for _, items in groupby(found, key=lambda item: item.system)]
