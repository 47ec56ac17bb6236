"""The two kinds of downstream: those of this package, and S3PRL's own."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor

from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.downstream.config import ExpertConfig, ModelConfig
from s3prl_emotion.downstream.head import sees_only_means
from s3prl_emotion.downstream.settings import FoldInputs, plain_expert, read_expert
from s3prl_emotion.errors import RunError
from s3prl_emotion.protocols.split import Folds
from s3prl_emotion.runs.folder import FOLDS, MANIFEST, FoldFolder, RunFolder
from s3prl_emotion.s3prl_runner import stock
from s3prl_emotion.s3prl_runner.registration import STOCK_DOWNSTREAMS
from s3prl_emotion.s3prl_runner.stock import StockExpert, plain_stock_expert, read_stock_expert

Rows = list[list[float]]
"""Class probabilities, one row per scored utterance."""


E = TypeVar("E")


class DownstreamKind(abc.ABC, Generic[E]):
    """The expert behind a ``-d`` name, seen from outside; ``E`` is what its ``downstream_expert`` is read as."""

    protocol: str | None
    """The protocol where none is asked for; None is the corpus' own."""
    stores_states: bool
    """Whether hidden states of a frozen upstream are stored where nothing is said."""

    @abc.abstractmethod
    def read(self, given: Any, where: str) -> tuple[E, FoldInputs]:
        """Its configuration, and what stands there of one fold.

        Raises:
            ConfigError: naming the key, and the nearest known name
        """

    @abc.abstractmethod
    def plain(self, expert: E, inputs: FoldInputs | None = None) -> dict[str, Any]:
        """Its configuration as S3PRL has it; without ``inputs``, of no fold."""

    @abc.abstractmethod
    def prepare(self, manifest: Manifest, folds: Folds, fold: FoldFolder, number: int) -> FoldInputs:
        """Write what it reads in one fold, and say where that is."""

    @abc.abstractmethod
    def found(self, inputs: FoldInputs, run: RunFolder) -> FoldInputs:
        """What a checkpoint holds of its fold, with where its run folder is now."""

    @abc.abstractmethod
    def cut_s(self, expert: E) -> float | None:
        """Utterances are cut to this length in seconds; None keeps them whole."""

    @abc.abstractmethod
    def augmentation(self, expert: E) -> tuple[Mapping[str, Any], ...]:
        """Effects that change the audio while training, as a configuration has them."""

    @abc.abstractmethod
    def sees_only_means(self, expert: E) -> bool:
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
    def model(self, expert: E) -> ModelConfig:
        """The head as one of ours."""

    @abc.abstractmethod
    def head(self, state: dict[str, Any], expert: E, checkpoint: Path) -> dict[str, Tensor]:
        """The parameters of :meth:`model` in a checkpoint.

        Raises:
            RunError: if it is none of ours in disguise
        """


class PluginDownstream(DownstreamKind[ExpertConfig]):
    """:class:`~s3prl_emotion.downstream.expert.DownstreamExpert`, configured by one of our files."""

    protocol = None
    stores_states = True

    def read(self, given: Any, where: str) -> tuple[ExpertConfig, FoldInputs]:
        return read_expert(given, where)

    def plain(self, expert: ExpertConfig, inputs: FoldInputs | None = None) -> dict[str, Any]:
        return plain_expert(expert, inputs)

    def prepare(self, manifest: Manifest, folds: Folds, fold: FoldFolder, number: int) -> FoldInputs:
        return FoldInputs(fold.path.name, manifest=f"../{MANIFEST}", folds=f"../{FOLDS}")

    def found(self, inputs: FoldInputs, run: RunFolder) -> FoldInputs:
        return inputs  # its paths start at the fold's folder

    def cut_s(self, expert: ExpertConfig) -> float | None:
        return expert.datarc.max_duration_s

    def augmentation(self, expert: ExpertConfig) -> tuple[Mapping[str, Any], ...]:
        return expert.datarc.augmentation

    def sees_only_means(self, expert: ExpertConfig) -> bool:
        return sees_only_means(expert.modelrc)

    def probabilities(self, runner: Any) -> contextlib.AbstractContextManager[Rows]:
        return contextlib.nullcontext([])

    def write_predictions(self, fold: FoldFolder, number: int, split: str, rows: Rows) -> None:
        pass  # it has written them

    def check_infers(self) -> None:
        pass

    def model(self, expert: ExpertConfig) -> ModelConfig:
        return expert.modelrc

    def head(self, state: dict[str, Any], expert: ExpertConfig, checkpoint: Path) -> dict[str, Tensor]:
        return {name.removeprefix("head."): value for name, value in state.items() if name.startswith("head.")}


class StockDownstream(DownstreamKind[StockExpert]):
    """S3PRL's own emotion expert, see :mod:`s3prl_emotion.s3prl_runner.stock`."""

    protocol = stock.PROTOCOL
    stores_states = False  # S3PRL's own number comes from S3PRL's own padded batches

    def read(self, given: Any, where: str) -> tuple[StockExpert, FoldInputs]:
        return read_stock_expert(given, where)

    def plain(self, expert: StockExpert, inputs: FoldInputs | None = None) -> dict[str, Any]:
        return plain_stock_expert(expert, inputs)

    def prepare(self, manifest: Manifest, folds: Folds, fold: FoldFolder, number: int) -> FoldInputs:
        stock.prepare(manifest, folds, fold.run, number)
        return self.found(FoldInputs(fold.path.name), fold.run)

    def found(self, inputs: FoldInputs, run: RunFolder) -> FoldInputs:
        place = str(run.stock)
        return dataclasses.replace(inputs, root=place, meta_data=place) if run.stock.is_dir() else inputs

    def cut_s(self, expert: StockExpert) -> float | None:
        return None

    def augmentation(self, expert: StockExpert) -> tuple[Mapping[str, Any], ...]:
        return ()

    def sees_only_means(self, expert: StockExpert) -> bool:
        return stock.sees_only_means(expert.config.modelrc)

    def probabilities(self, runner: Any) -> contextlib.AbstractContextManager[Rows]:
        return stock.collected_probabilities(runner)

    def write_predictions(self, fold: FoldFolder, number: int, split: str, rows: Rows) -> None:
        manifest, folds = fold.run.division()
        stock.write_stock_predictions(fold, manifest, folds[number], split, rows)

    def check_infers(self) -> None:
        raise RunError(
            "-m inference: S3PRL's own emotion expert has no inference; train one of ours, such as emotion_mean"
        )

    def model(self, expert: StockExpert) -> ModelConfig:
        return ModelConfig(pooling={"name": "mean"}, projector_dim=expert.config.modelrc.projector_dim)

    def head(self, state: dict[str, Any], expert: StockExpert, checkpoint: Path) -> dict[str, Tensor]:
        """With SUPERB's settings both are the same function."""
        if not self.sees_only_means(expert) or set(state) != {*_NAMES, "best_score"}:
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
_OURS, _STOCK = PluginDownstream(), StockDownstream()


def downstream_kind(downstream: str) -> DownstreamKind[Any]:
    """The expert behind a ``-d`` name."""
    return _STOCK if downstream in STOCK_DOWNSTREAMS else _OURS
