"""What differs between a ``-d`` name of ours and S3PRL's own: chosen once, by :func:`expert_of`."""

from __future__ import annotations

import abc
import contextlib
from pathlib import Path
from typing import Any

from torch import Tensor

from s3prl_emotion.bridge import stock
from s3prl_emotion.bridge.registration import STOCK_DOWNSTREAMS
from s3prl_emotion.bridge.stock_config import check_stock_expert
from s3prl_emotion.config import from_mapping
from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.downstream.config import ModelConfig, check_expert
from s3prl_emotion.downstream.head import sees_only_means
from s3prl_emotion.errors import RunError
from s3prl_emotion.protocols.split import Folds
from s3prl_emotion.runs.folder import FOLDS, MANIFEST, FoldFolder, RunFolder

Rows = list[list[float]]
"""Class probabilities, one row per scored utterance."""


class Expert(abc.ABC):
    """The expert behind a ``-d`` name, seen from outside; ``expert`` is ``downstream_expert`` of its configuration."""

    protocol: str | None
    """The protocol where none is asked for; None is the corpus' own."""
    stores_states: bool
    """Whether hidden states of a frozen upstream are stored where nothing is said."""

    @abc.abstractmethod
    def check(self, expert: Any, where: str) -> dict[str, Any]:
        """Its configuration as plain values.

        Raises:
            ConfigError: naming the key, and the nearest known name
        """

    @abc.abstractmethod
    def prepare(self, expert: dict[str, Any], manifest: Manifest, folds: Folds, fold: FoldFolder, number: int) -> None:
        """Put into ``expert`` what it reads in one fold, and write that there."""

    @abc.abstractmethod
    def find(self, expert: dict[str, Any], run: RunFolder) -> None:
        """Put into ``expert``, which a checkpoint holds, where its run folder is now."""

    @abc.abstractmethod
    def cut_s(self, expert: dict[str, Any]) -> float | None:
        """Utterances are cut to this length in seconds; None keeps them whole."""

    @abc.abstractmethod
    def sees_only_means(self, expert: dict[str, Any]) -> bool:
        """Whether the head is a function of the features' time mean alone."""

    @abc.abstractmethod
    def probabilities(self, runner: Any) -> contextlib.AbstractContextManager[Rows]:
        """Collect what is scored, where the expert does not write it itself."""

    @abc.abstractmethod
    def write_predictions(self, fold: FoldFolder, number: int, split: str, rows: Rows) -> None:
        """Write the predictions of a split, where the expert does not do so itself."""

    @abc.abstractmethod
    def check_infers(self) -> None:
        """Refuse what is to infer, if it cannot.

        Raises:
            RunError: saying which can
        """

    @abc.abstractmethod
    def model(self, expert: dict[str, Any], where: str) -> ModelConfig:
        """The head as one of ours."""

    @abc.abstractmethod
    def head(self, state: dict[str, Any], expert: dict[str, Any], checkpoint: Path) -> dict[str, Tensor]:
        """The parameters of :meth:`model` in a checkpoint.

        Raises:
            RunError: if it is none of ours in disguise
        """


class Ours(Expert):
    """:class:`~s3prl_emotion.downstream.expert.DownstreamExpert`, configured by one of our files."""

    protocol = None
    stores_states = True

    def check(self, expert: Any, where: str) -> dict[str, Any]:
        return check_expert(expert, where)

    def prepare(self, expert: dict[str, Any], manifest: Manifest, folds: Folds, fold: FoldFolder, number: int) -> None:
        expert["datarc"].update(manifest=f"../{MANIFEST}", folds=f"../{FOLDS}", test_fold=fold.path.name)

    def find(self, expert: dict[str, Any], run: RunFolder) -> None:
        pass  # paths start at the fold's folder

    def cut_s(self, expert: dict[str, Any]) -> float | None:
        cut: float | None = expert["datarc"].get("max_duration_s")
        return cut

    def sees_only_means(self, expert: dict[str, Any]) -> bool:
        return sees_only_means(ModelConfig(**expert["modelrc"]))

    def probabilities(self, runner: Any) -> contextlib.AbstractContextManager[Rows]:
        return contextlib.nullcontext([])

    def write_predictions(self, fold: FoldFolder, number: int, split: str, rows: Rows) -> None:
        pass  # it has written them

    def check_infers(self) -> None:
        pass

    def model(self, expert: dict[str, Any], where: str) -> ModelConfig:
        return from_mapping(ModelConfig, expert["modelrc"], f"{where}: downstream_expert.modelrc")

    def head(self, state: dict[str, Any], expert: dict[str, Any], checkpoint: Path) -> dict[str, Tensor]:
        return {name.removeprefix("head."): value for name, value in state.items() if name.startswith("head.")}


class Stock(Expert):
    """S3PRL's own emotion expert, see :mod:`s3prl_emotion.bridge.stock`."""

    protocol = stock.PROTOCOL
    stores_states = False  # S3PRL's own number comes from S3PRL's own padded batches

    def check(self, expert: Any, where: str) -> dict[str, Any]:
        return check_stock_expert(expert, where)

    def prepare(self, expert: dict[str, Any], manifest: Manifest, folds: Folds, fold: FoldFolder, number: int) -> None:
        stock.prepare(manifest, folds, fold.run, number)
        self.find(expert, fold.run)
        expert["datarc"]["test_fold"] = fold.path.name

    def find(self, expert: dict[str, Any], run: RunFolder) -> None:
        if run.stock.is_dir():
            expert["datarc"].update(root=str(run.stock), meta_data=str(run.stock))

    def cut_s(self, expert: dict[str, Any]) -> float | None:
        return None

    def sees_only_means(self, expert: dict[str, Any]) -> bool:
        return stock.sees_only_means(expert)

    def probabilities(self, runner: Any) -> contextlib.AbstractContextManager[Rows]:
        return stock.collected_probabilities(runner)

    def write_predictions(self, fold: FoldFolder, number: int, split: str, rows: Rows) -> None:
        manifest, folds = fold.run.division()
        stock.write_stock_predictions(fold, manifest, folds[number], split, rows)

    def check_infers(self) -> None:
        raise RunError(
            "-m inference: S3PRL's own emotion expert has no inference; train one of ours, such as emotion_mean"
        )

    def model(self, expert: dict[str, Any], where: str) -> ModelConfig:
        return ModelConfig(pooling={"name": "mean"}, projector_dim=expert["modelrc"]["projector_dim"])

    def head(self, state: dict[str, Any], expert: dict[str, Any], checkpoint: Path) -> dict[str, Tensor]:
        """With SUPERB's settings both are the same function."""
        if not stock.sees_only_means(expert) or set(state) != {*_NAMES, "best_score"}:
            raise RunError(
                f"{checkpoint}: of S3PRL's own emotion expert, only SUPERB's settings (mean pooling, one linear layer) "
                "can be used here; train one of ours, see `s3prl-emotion ls downstreams`"
            )
        return {ours: state[theirs] for theirs, ours in _NAMES.items()}


_NAMES = {
    "projector.weight": "projector.weight",
    "projector.bias": "projector.bias",
    "model.post_net.linear.weight": "classifier.weight",
    "model.post_net.linear.bias": "classifier.bias",
}
_OURS, _STOCK = Ours(), Stock()


def expert_of(downstream: str) -> Expert:
    """The expert behind a ``-d`` name."""
    return _STOCK if downstream in STOCK_DOWNSTREAMS else _OURS
