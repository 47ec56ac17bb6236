"""Stage 1: one vector for each utterance of all speech, once for all folds."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import RunError
from s3prl_emotion.files import UNREADABLE, write_atomically
from s3prl_emotion.pretraining.contrastive.encoders import SpeakerEncoder, encoders
from s3prl_emotion.pretraining.contrastive.plan import ContrastivePlan
from s3prl_emotion.pretraining.labels import save_array
from s3prl_emotion.pretraining.provenance import Stage, sha256_of_path
from s3prl_emotion.pretraining.settings import plain
from s3prl_emotion.runs.record import read_json

logger = logging.getLogger(__name__)

NAME = "embed"
VECTORS = "embeddings.npy"
ABOUT = "embeddings.json"


def encoder_of(plan: ContrastivePlan) -> SpeakerEncoder:
    """The encoder of the settings.

    Raises:
        ConfigError: if its name or an option is unknown
    """
    name, options = split(plan.settings.embed.encoder)
    encoder: SpeakerEncoder = encoders.build(name, options, "embed.encoder")
    return encoder


def split(part: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of a configured part, and its options."""
    return str(part["name"]), {key: value for key, value in part.items() if key != "name"}


def stage_of(plan: ContrastivePlan) -> Stage:
    """The stage, the same for all folds."""
    return plan.stage(NAME, None, plain(plan.settings.embed), {"encoder": encoder_of(plan).sha256})


def run(plan: ContrastivePlan) -> dict[str, Any]:
    """Embed all speech; what the store holds already is not computed again.

    Returns:
        the stage's record

    Raises:
        UpstreamError: if the encoder is not installed
        RunError: naming the utterance whose vector is not finite
    """
    stage = stage_of(plan)
    done = stage.finished()
    if done is not None:
        logger.info("%s: finished already", stage)
        return done
    with stage.working():
        vectors, weights = embedded(encoder_of(plan), plan)
        save_array(stage.folder / VECTORS, vectors)
        ids = [item.id for item in plan.speech.utterances]
        write_atomically(stage.folder / ABOUT, json.dumps({"width": vectors.shape[1], "ids": ids}) + "\n")
        silent = int((np.abs(vectors).max(axis=1) == 0).sum())
        about = {"utterances": len(vectors), "width": vectors.shape[1], "zero_vectors": silent}
        return stage.finish({**about, "encoder_weights": weights})


def embedded(encoder: SpeakerEncoder, plan: ContrastivePlan) -> tuple[np.ndarray, str]:
    """The vectors of all speech, float32 ``(utterances, width)``, in its order, and the fingerprint of the encoder's
    weights."""
    store, keys = encoder.stored(plan.speech, plan.wanted.cache_options, plan.device)
    vectors = np.empty((len(keys), store.width), dtype=np.float32)
    for row, key in zip(vectors, keys, strict=True):
        row[:] = store.read(key)[0, 0].float().numpy()
    return vectors, store.key.weights


def read(plan: ContrastivePlan, speech: Manifest) -> np.ndarray:
    """The vectors of some of the speech, in its order.

    Args:
        plan: the run
        speech: a part of the plan's speech

    Raises:
        RunError: naming the file, if the vectors are missing, of other speech, or not finite
    """
    folder = stage_of(plan).folder
    return read_folder(folder, speech)


def read_folder(folder: Path, speech: Manifest) -> np.ndarray:
    """The vectors in a folder; see :func:`read`."""
    path = folder / VECTORS
    if not path.is_file() or not (folder / ABOUT).is_file():
        raise RunError(f"{folder}: holds no embeddings. Run the stage first: --stage embed")
    ids = read_json(folder / ABOUT, "embeddings").get("ids")
    try:
        vectors = np.load(path, allow_pickle=False)
    except UNREADABLE as error:
        raise RunError(f"{path}: cannot be read ({error}). Remove {folder}, and embed again") from error
    if not isinstance(ids, list) or vectors.ndim != 2 or len(vectors) != len(ids) or vectors.dtype != np.float32:
        raise RunError(f"{path}: does not fit {ABOUT} beside it. Remove {folder}, and embed again")
    row_of = {name: row for row, name in enumerate(ids)}
    missing = [item.id for item in speech.utterances if item.id not in row_of]
    if missing:
        raise RunError(f"{path}: embeddings of other speech: {missing[0]!r} is not in it. Embed again")
    found: np.ndarray = vectors[[row_of[item.id] for item in speech.utterances]]
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        item = speech.utterances[bad[0]]
        raise RunError(
            f"{path}: the vector of {item.id!r} is not finite ({len(bad)} in all): check {item.path}, or leave it out"
        )
    return found


def input_of(plan: ContrastivePlan, stage: str) -> str:
    """The hash of the finished vectors, which a stage needs.

    Raises:
        RunError: if the stage is not finished
    """
    before = stage_of(plan)
    if before.finished() is None:
        raise RunError(f"{stage}: stage embed is not finished: run it first (--stage embed)")
    return sha256_of_path(before.folder / VECTORS)
