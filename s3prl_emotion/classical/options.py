"""Classifier: an estimator with its grid. Choice: options of a classical run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from itertools import product
from typing import Any, Protocol

from s3prl_emotion.errors import ConfigError, suggest
from s3prl_emotion.features.forms import STATISTICS, Form


class Make(Protocol):
    """Makes an estimator with scikit-learn's interface, not fitted: ``fit``, ``classes_`` and ``predict_proba``.

    Its result may depend on the seed and on ``options`` only: one thread where the number of threads matters.
    """

    def __call__(self, seed: int, **options: Any) -> Any: ...


@dataclass(frozen=True)
class Classifier:
    """A classifier of vectors, behind a standardisation that is fitted on the training part.

    Its hyperparameters are the library's defaults; ``--tune`` chooses from ``grid`` on each fold's dev set. The grids
    are ours, and begin with the library's default, which wins among equals.

    Args:
        title: what it is, in words
        make: the estimator; given the seed, and options of the grid
        grid: option to the values that ``--tune`` tries, in all combinations
        package: the library, as it is imported
        distributions: the library, as it is installed: the names that it may have, first the one to install
        least: training utterances that each class needs
    """

    title: str
    make: Make
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    package: str = "sklearn"
    distributions: tuple[str, ...] = ("scikit-learn",)
    least: int = 1

    def check_installed(self, name: str) -> None:
        """Refuse a classifier whose library is not there.

        Raises:
            ConfigError: with the command that installs it
        """
        if find_spec(self.package) is None:
            raise ConfigError(
                f"classifier {name!r} needs {self.package}, which is not installed: pip install {self.distributions[0]}"
            )

    def versions(self) -> dict[str, str]:
        """The libraries that its numbers depend on: scikit-learn, which standardises, and its own."""
        found = {}
        for names in (("scikit-learn",), self.distributions):
            for name in names:
                with contextlib.suppress(metadata.PackageNotFoundError):
                    found[name] = metadata.version(name)
                    break
        return found

    def candidates(self) -> Iterator[dict[str, Any]]:
        """All combinations of the grid, the library's defaults first."""
        for values in product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))


LAYERS = ("average", "concat")


@dataclass(frozen=True)
class Choice:
    """How states become one vector, and where hyperparameters come from.

    Raises:
        ConfigError: naming the option
    """

    statistics: Form = "mean"
    """Over time: ``mean``, or ``mean_std``: the standard deviation (divided by the number of frames) after the mean."""
    layers: str = "average"
    """``average``: the statistics' mean over layers, which for means is the weighted sum with the equal weights that
    SUPERB's heads begin with; ``concat``: one layer after the other; or a layer's number, from 0. The default is ours:
    it is as wide as one layer, and chooses nothing."""
    tune: bool = False
    """Hyperparameters are chosen on each fold's dev set; otherwise they are the library's defaults."""

    def __post_init__(self) -> None:
        if self.statistics not in STATISTICS:
            raise ConfigError(f"--statistics: unknown name {self.statistics!r}. {suggest(self.statistics, STATISTICS)}")
        if self.layers not in LAYERS and not self.layers.isdecimal():
            raise ConfigError(
                f"--layers {self.layers!r}: expected average, concat, each, or the number of one layer, from 0"
            )

    @property
    def layer(self) -> int | None:
        """The one layer; None for several."""
        return int(self.layers) if self.layers.isdecimal() else None

    def tag(self) -> str:
        """What a run folder's name ends with; nothing for the defaults."""
        layers = f"layer{self.layer}" if self.layer is not None else self.layers
        parts = [
            text
            for text, is_default in (
                (self.statistics, self.statistics == "mean"),
                (layers, self.layers == "average"),
                ("tuned", not self.tune),
            )
            if not is_default
        ]
        return "-".join(parts)

    def words(self) -> str:
        """For people."""
        statistics = {"mean": "time mean", "mean_std": "time mean and standard deviation"}[self.statistics]
        layers = {"average": "averaged over layers", "concat": "of all layers, concatenated"}
        chosen = "chosen on each fold's dev set" if self.tune else "the library's defaults, dev sets not used"
        return (
            f"{statistics} {layers.get(self.layers, f'of layer {self.layers}')}, standardised on train; "
            f"hyperparameters: {chosen}"
        )
