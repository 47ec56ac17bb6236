"""S3PRL's own ``-d emotion`` on any of our corpora, so that SUPERB's number stands beside ours.

Its expert reads ``meta_data/Session<k>/{train,test}_meta_data.json``, draws its dev set itself (``superb``), and
loads whole files with one resampler. It is given exactly that, made from our manifest; it is not changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import soundfile

from s3prl_emotion.audio.preparation import WHOLE
from s3prl_emotion.audio.reading import SAMPLE_RATE_HZ, audio_info
from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.errors import ProtocolError, RunError
from s3prl_emotion.files import replacing, write_atomically
from s3prl_emotion.protocols.split import Fold, Folds
from s3prl_emotion.runs.folder import FoldFolder, RunFolder
from s3prl_emotion.runs.prediction import Prediction, write_predictions
from s3prl_emotion.s3prl_runner.stock_config import StockModelConfig

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
