"""S3PRL's own ``-d emotion``: its configuration and its expert."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import soundfile

from s3prl_emotion.audio.preparation import WHOLE
from s3prl_emotion.audio.reading import SAMPLE_RATE_HZ, audio_info
from s3prl_emotion.config import from_mapping, shown
from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.downstream.config import MAX_WORKERS
from s3prl_emotion.downstream.settings import FoldInputs, split_inputs
from s3prl_emotion.errors import ProtocolError, RunError, suggest
from s3prl_emotion.files import replacing, write_atomically
from s3prl_emotion.protocols.split import Fold, Folds
from s3prl_emotion.runs.folder import FoldFolder, RunFolder
from s3prl_emotion.runs.prediction import Prediction, write_predictions

# What S3PRL's own emotion expert reads from a configuration, typed like ours.
#
# It evaluates the texts ``select``, ``pooling`` and ``model_type`` as Python, and looks ``activation`` up in
# ``torch.nn``. So they must be one of the names below: all that S3PRL 0.4.18 has there and that its expert can work
# with.

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


# S3PRL's own ``-d emotion`` on any of our corpora, so that SUPERB's number stands beside ours.
#
# Its expert reads ``meta_data/Session<k>/{train,test}_meta_data.json``, draws its dev set itself (``superb``), and
# loads whole files with one resampler. It is given exactly that, made from our manifest; it is not changed.

PROTOCOL = "superb"


def prepare(manifest: Manifest, folds: Folds, run: RunFolder, number: int) -> None:
    """Write the metadata of one fold, which S3PRL's expert is pointed at.

    Raises:
        ProtocolError: if the protocol is not the one that this expert implements
    """
    if folds.protocol != PROTOCOL:
        raise ProtocolError(
            f"-d emotion is S3PRL's own expert, which divides train and dev itself: it has protocol {PROTOCOL!r} only, "
            f"not {folds.protocol!r}. Use -d emotion_mean for the same head under another protocol"
        )
    fold = folds[number]
    folder = run.stock / f"Session{number}"
    folder.mkdir(parents=True, exist_ok=True)
    labels = {label: index for index, label in enumerate(manifest.labels)}
    for split, ids in (("train", training_list(manifest, fold)), ("test", fold.test)):
        entries = [
            {
                "path": str(_whole_file(manifest, manifest.by_id[item], run.stock / "audio")),
                "label": manifest.by_id[item].label,
                "speaker": manifest.by_id[item].speaker,
            }
            for item in ids
        ]
        content = json.dumps({"labels": labels, "meta_data": entries}, ensure_ascii=False)
        write_atomically(folder / f"{split}_meta_data.json", content)


def sees_only_means(model: StockModelConfig) -> bool:
    """Whether S3PRL's expert is a function of the features' time mean alone, as it is with SUPERB's settings."""
    head = model.UtteranceLevel
    return model.select == "UtteranceLevel" and head.pooling == "MeanPooling" and head.pre_net is None


def training_list(manifest: Manifest, fold: Fold) -> Sequence[str]:
    """Train and dev together, in the order that S3PRL's division by position starts from."""
    chosen = {*fold.train, *fold.dev}
    order = manifest.train_order.get(fold.number) or [utterance.id for utterance in manifest.utterances]
    return [item for item in order if item in chosen]


def write_stock_predictions(
    folder: FoldFolder, manifest: Manifest, fold: Fold, split: str, probabilities: Sequence[Sequence[float]]
) -> None:
    """Turn S3PRL's two text files, and the probabilities that it does not write, into ``<split>_predictions.csv``.

    Raises:
        RunError: if the files do not hold the split's utterances
    """
    if split not in ("dev", "test"):
        raise RunError(f"-t {split}: S3PRL's own expert writes no predictions for it, only for dev and test")
    ids = getattr(fold, split)
    lines = (folder.path / f"{split}_fold{fold.number}_predict.txt").read_text(encoding="utf-8").splitlines()
    if len(lines) != len(ids) or len(probabilities) != len(ids):
        raise RunError(f"{folder.path}: {len(lines)} predictions for {len(ids)} {split} utterances; run the fold again")
    rows = []
    for item, line, row in zip(ids, lines, probabilities, strict=True):
        utterance = manifest.by_id[item]
        predicted = line.rpartition(" ")[2]
        soft = utterance.rates(manifest.labels) if utterance.soft else None
        rows.append(Prediction(fold.number, item, utterance.speaker, utterance.label, predicted, tuple(row), soft))
    write_predictions(folder.scored(split), rows, manifest.labels)


@contextlib.contextmanager
def collected_probabilities(runner: Any) -> Iterator[list[list[float]]]:
    """Collect the class probabilities that S3PRL's own expert computes and does not write."""
    rows: list[list[float]] = []

    def collect(_module: Any, _inputs: Any, output: Any) -> None:
        rows.extend(output[0].detach().float().softmax(-1).cpu().tolist())

    handle = runner.downstream.model.model.register_forward_hook(collect)
    try:
        yield rows
    finally:
        handle.remove()


def _whole_file(manifest: Manifest, utterance: Utterance, folder: Path) -> Path:
    """The path of a mono 16 kHz file that holds just this utterance: the original where it is one, else a copy."""
    path = manifest.path_of(utterance).absolute()
    info = audio_info(path)
    segment = utterance.start_s is not None or utterance.end_s is not None
    if not segment and info.is_plain and info.sample_rate_hz == SAMPLE_RATE_HZ and info.channels == 1:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder.absolute() / _copy_name(utterance, path)
    if not copy.is_file():
        samples = WHOLE.waveform(path, utterance.start_s, utterance.end_s)
        with replacing(copy) as partial:
            soundfile.write(partial, samples, SAMPLE_RATE_HZ, subtype="FLOAT", format="WAV")
    return copy


def _copy_name(utterance: Utterance, path: Path) -> str:
    """A file name that no other utterance's copy has, on any file system: ids may differ in case, or by ``/``."""
    what = json.dumps([utterance.id, str(path), utterance.start_s, utterance.end_s])
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", utterance.id)[:80]
    return f"{readable}-{hashlib.sha256(what.encode()).hexdigest()[:24]}.wav"
