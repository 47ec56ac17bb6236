"""What a classifier is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from itertools import product
from typing import Any, Protocol

from s3prl_emotion.errors import ConfigError


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
