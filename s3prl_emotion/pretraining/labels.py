"""Pseudo-labels on disk: one number for each frame of each utterance, in two files that belong together.

``labels.json`` says how many classes there are and whose labels follow each other in ``labels.npy`` (int32), in order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import RunError
from s3prl_emotion.files import UNREADABLE, replacing, write_atomically
from s3prl_emotion.pretraining.frames import Framing

SCHEMA = 1
DESCRIPTION = "labels.json"
VALUES = "labels.npy"


@dataclass(frozen=True)
class PseudoLabels:
    """Frame labels of utterances.

    Args:
        classes: labels are 0, ..., ``classes - 1``
        of: labels by the utterance's id, int32

    Raises:
        RunError: if a label is outside of the classes
    """

    classes: int
    of: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        for name, values in self.of.items():
            if len(values) and not 0 <= int(values.min()) <= int(values.max()) < self.classes:
                raise RunError(
                    f"labels of {name}: expected 0 to {self.classes - 1}, found {values.min()} to {values.max()}"
                )

    def write(self, folder: Path) -> None:
        """Write both files, each atomically; ``labels.json`` comes last."""
        folder.mkdir(parents=True, exist_ok=True)
        flat = np.concatenate([np.zeros(0, np.int32), *self.of.values()]).astype(np.int32)
        save_array(folder / VALUES, flat)
        rows = [[name, len(values)] for name, values in self.of.items()]
        content = {"schema": SCHEMA, "classes": self.classes, "utterances": rows}
        write_atomically(folder / DESCRIPTION, json.dumps(content, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, folder: Path) -> PseudoLabels:
        """Read what :meth:`write` wrote.

        Raises:
            RunError: naming the file, if one is missing, broken, or they do not belong together
        """
        for name in (DESCRIPTION, VALUES):
            if not (folder / name).is_file():
                raise RunError(
                    f"{folder}: holds no frame labels, {name} is missing. Run the stage that makes them again"
                )
        try:
            content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA:
                raise RunError(f"{folder / DESCRIPTION}: this version reads schema {SCHEMA}, found {content['schema']}")
            rows = [(str(name), int(count)) for name, count in content["utterances"]]
            flat = np.load(folder / VALUES, allow_pickle=False)
            classes = int(content["classes"])
        except UNREADABLE as error:
            raise RunError(
                f"{folder}: frame labels cannot be read ({error}). Run the stage that makes them again"
            ) from error
        total = sum(count for _, count in rows)
        if flat.ndim != 1 or len(flat) != total:
            raise RunError(f"{folder}: {VALUES} holds {flat.size} labels, {DESCRIPTION} promises {total}")
        ends = np.cumsum([count for _, count in rows], dtype=np.int64)
        return cls(classes, {name: flat[end - count : end] for (name, count), end in zip(rows, ends, strict=True)})


def check_labels(
    labels: PseudoLabels, manifest: Manifest, ids: Sequence[str], samples: Mapping[str, int], framing: Framing
) -> None:
    """Refuse labels that are not one for each frame of the audio.

    Args:
        labels: of all utterances to train on
        manifest: the corpus
        ids: the utterances to train on
        samples: their lengths at 16 kHz
        framing: of the model that is to predict them

    Raises:
        RunError: naming the first utterances without labels, or with others than they have frames
    """
    absent = [name for name in ids if name not in labels.of]
    if absent:
        raise RunError(
            f"{manifest.corpus}: {len(absent)} of {len(ids)} utterances have no frame labels, first {absent[0]!r}"
        )
    for name in ids:
        expected, found = framing.frames(samples[name]), len(labels.of[name])
        if expected != found:
            raise RunError(
                f"{manifest.corpus}: {name} has {found} frame labels, its {samples[name]} samples "
                f"({manifest.path_of(manifest.by_id[name])}) have {expected} frames: the labels were made from other "
                "audio, or by a model with another frame rate. Cluster again"
            )


def save_array(path: Path, array: np.ndarray) -> None:
    """``numpy.save``, atomically."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
