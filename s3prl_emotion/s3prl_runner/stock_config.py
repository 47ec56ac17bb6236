"""What S3PRL's own emotion expert reads from a configuration, typed like ours.

It evaluates the texts ``select``, ``pooling`` and ``model_type`` as Python, and looks ``activation`` up in
``torch.nn``. So they must be one of the names below: all that S3PRL 0.4.18 has there and that its expert can work with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from s3prl_emotion.config import from_mapping, shown
from s3prl_emotion.downstream.config import MAX_WORKERS
from s3prl_emotion.downstream.settings import FoldInputs, split_inputs
from s3prl_emotion.errors import suggest

VALID_RATIO = 0.2
"""Of SUPERB's division, which the protocol ``superb`` and its audit know."""
MAX_WIDTH = 2**14
MAX_KERNEL = 2**10

MODELS = ("UtteranceLevel", "DeepModel")
POOLINGS = ("MeanPooling", "AttentivePooling")
FRAME_MODELS = ("FrameLevel",)
CONVOLUTIONS = ("CNNSelfAttention", "FCN", "DeepNet")
ACTIVATIONS = (
    *("CELU", "ELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid", "Mish"),
    *("PReLU", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softshrink", "Softsign", "Tanh"),
    "Tanhshrink",
)


@dataclass(frozen=True)
class FrameLevel:
    """Linear layers on every frame, or on the pooled vector."""

    hiddens: tuple[int, ...] | None = None
    activation: str = "ReLU"

    def __post_init__(self) -> None:
        _check_name("activation", self.activation, ACTIVATIONS)
        for width in self.hiddens or ():
            _check_size("hiddens", width, MAX_WIDTH)


@dataclass(frozen=True)
class FrameModel:
    """``pre_net`` and ``post_net``."""

    select: str
    FrameLevel: FrameLevel = field(default_factory=FrameLevel)

    def __post_init__(self) -> None:
        _check_name("select", self.select, FRAME_MODELS)


@dataclass(frozen=True)
class UtteranceLevel:
    """SUPERB's head."""

    pooling: str = "MeanPooling"
    activation: str = "ReLU"
    pre_net: FrameModel | None = None
    post_net: FrameModel = field(default_factory=lambda: FrameModel("FrameLevel"))

    def __post_init__(self) -> None:
        _check_name("pooling", self.pooling, POOLINGS)
        _check_name("activation", self.activation, ACTIVATIONS)


@dataclass(frozen=True)
class DeepModel:
    """S3PRL's convolutions; all of these sizes are needed, whether the chosen one reads them or not."""

    model_type: str
    hidden_dim: int
    kernel_size: int
    padding: int
    pooling: int
    dropout: float
    input_dim: int | None = None  # in S3PRL's file; its expert gives projector_dim for it

    def __post_init__(self) -> None:
        _check_name("model_type", self.model_type, CONVOLUTIONS)
        _check_size("hidden_dim", self.hidden_dim, MAX_WIDTH)
        for name in ("kernel_size", "pooling"):
            _check_size(name, getattr(self, name), MAX_KERNEL)
        if not 0 <= self.padding <= self.kernel_size // 2:
            raise ValueError(f"padding must be in 0 to half of kernel_size {self.kernel_size}, got {self.padding}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


@dataclass(frozen=True)
class StockModelConfig:
    """``downstream_expert.modelrc``; a model's block counts if ``select`` names it."""

    projector_dim: int
    select: str
    UtteranceLevel: UtteranceLevel = field(default_factory=UtteranceLevel)
    DeepModel: DeepModel | None = None

    def __post_init__(self) -> None:
        _check_name("select", self.select, MODELS)
        _check_size("projector_dim", self.projector_dim, MAX_WIDTH)
        if self.select == "DeepModel":
            if self.DeepModel is None:
                raise ValueError("select names DeepModel, whose settings are missing")
            if self.DeepModel.input_dim is not None:
                raise ValueError("DeepModel.input_dim: S3PRL's expert gives projector_dim for it; leave it out")


@dataclass(frozen=True)
class StockDataConfig:
    """``downstream_expert.datarc``."""

    train_batch_size: int
    eval_batch_size: int
    num_workers: int
    pre_load: bool
    valid_ratio: float

    def __post_init__(self) -> None:
        for name in ("train_batch_size", "eval_batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.num_workers <= MAX_WORKERS:
            raise ValueError(f"num_workers must be in 0 to {MAX_WORKERS}, got {self.num_workers}")
        if self.valid_ratio != VALID_RATIO:
            raise ValueError(
                f"valid_ratio must be {VALID_RATIO}, got {self.valid_ratio}: S3PRL's expert would train and select on "
                "other utterances than folds.json, the audit and the result name. Another division is another "
                "protocol: use -d emotion_mean, the same head, with --protocol"
            )


@dataclass(frozen=True)
class StockExpertConfig:
    """``downstream_expert`` of ``-d emotion``."""

    datarc: StockDataConfig
    modelrc: StockModelConfig


@dataclass(frozen=True)
class StockExpert:
    """The configuration of S3PRL's own expert, and the same as it was given: S3PRL fills in its own defaults."""

    config: StockExpertConfig
    given: Mapping[str, Any]


INPUTS = ("root", "meta_data", "test_fold", "cached")
"""What S3PRL's own expert is given in a fold."""


def read_stock_expert(expert: Any, where: str) -> tuple[StockExpert, FoldInputs]:
    """``downstream_expert`` of ``-d emotion``.

    Raises:
        ConfigError: naming the key, and the nearest known name
    """
    configured, inputs = split_inputs(expert, INPUTS, where)
    config = from_mapping(StockExpertConfig, configured, where)
    return StockExpert(config, _as_given(config, configured)), inputs


def plain_stock_expert(expert: StockExpert, inputs: FoldInputs | None = None) -> dict[str, Any]:
    """``downstream_expert`` as S3PRL has it, nothing added; without ``inputs``, of no fold."""
    filled = {key: value for key in INPUTS if (value := getattr(inputs or FoldInputs(), key)) is not None}
    return {**expert.given, "datarc": {**expert.given["datarc"], **filled}}


def _as_given(checked: Any, given: Any) -> Any:
    """The keys of ``given`` with the values of ``checked``."""
    if isinstance(given, dict):
        known = {item.name for item in fields(checked)}
        return {key: _as_given(getattr(checked, key), value) for key, value in given.items() if key in known}
    return list(checked) if isinstance(checked, tuple) else checked


def _check_name(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(
            f"unknown {key} {shown(value)}, which S3PRL would look up or evaluate. {suggest(value[:80], known)}"
        )


def _check_size(key: str, value: int, largest: int) -> None:
    if not 1 <= value <= largest:
        raise ValueError(f"{key} must be in 1 to {largest}, got {value}")
