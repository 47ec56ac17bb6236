"""Cached stages with provenance: a finished stage is not made twice.

``settings.json`` is written when a stage begins, ``stage.json`` when it is finished, last of all. Repeating a stage
whose settings and inputs are the same does nothing; others are refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import RunError
from s3prl_emotion.evaluation.summary import versions
from s3prl_emotion.files import checkpoint_sha256, named, write_atomically
from s3prl_emotion.locks import only_here
from s3prl_emotion.runs.record import differences, read_json

SCHEMA = 1
BEGUN = "settings.json"
FINISHED = "stage.json"


@dataclass(frozen=True)
class Stage:
    """One stage of a recipe, for one fold or for all.

    Args:
        folder: where it works
        recipe: such as ``flea``
        name: such as ``tapt``
        fold: None if it is the same for all
        settings: everything that decides what comes out, as plain values
        inputs: SHA-256 of what it is made from, by name
    """

    folder: Path
    recipe: str
    name: str
    fold: int | None
    settings: Mapping[str, Any]
    inputs: Mapping[str, str | None] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name if self.fold is None else f"{self.name}, fold {self.fold}"

    def record(self) -> dict[str, Any]:
        """What the stage is, as ``settings.json`` holds it."""
        about = {
            "schema": SCHEMA,
            "recipe": self.recipe,
            "stage": self.name,
            "fold": self.fold,
            "settings": dict(self.settings),
            "inputs": dict(self.inputs),
        }
        return dict(json.loads(json.dumps(about)))

    def finished(self) -> dict[str, Any] | None:
        """The record of the finished stage, with its metrics; None if it is not finished.

        Raises:
            RunError: if the folder holds the stage with other settings, or of other inputs, or if what it left is no
                longer what it was
        """
        if (self.folder / FINISHED).is_file():
            found = read_json(self.folder / FINISHED, "a finished stage")
            self._refuse_other(found)
            for name, digest in found.get("outputs", {}).items():
                if checkpoint_sha256(str(self.folder / name)) != digest:
                    raise RunError(
                        f"{self.folder / name}: is not what stage {self} left there. Remove {self.folder}, and repeat "
                        "the command"
                    )
            return found
        if (self.folder / BEGUN).is_file():
            self._refuse_other(read_json(self.folder / BEGUN, "a stage"))
        return None

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Hold the folder for this process, and say in it what it is for.

        Raises:
            RunError: if another process is working there
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with only_here(self.folder), named(self.folder):
            write_atomically(self.folder / BEGUN, json.dumps(self.record(), indent=1) + "\n")
            yield

    def finish(self, metrics: Mapping[str, Any], outputs: Sequence[str] = ()) -> dict[str, Any]:
        """Write down what came out; from now on the stage is finished.

        Args:
            metrics: figures
            outputs: names of what is in its folder and must stay as it is: their hashes are kept
        """
        record = {**self.record(), "metrics": dict(metrics), "versions": versions()}
        if outputs:
            record["outputs"] = {name: sha256_of_path(self.folder / name) for name in outputs}
        write_atomically(self.folder / FINISHED, json.dumps(record, indent=1, allow_nan=False) + "\n")
        return record

    def _refuse_other(self, found: Mapping[str, Any]) -> None:
        mine = self.record()
        differing = [line for key in mine for line in differences(key, found.get(key), mine[key])]
        if differing:
            raise RunError(
                f"{self.folder} holds stage {self.name} with other settings or inputs: {'; '.join(differing[:5])}. "
                "Name another folder with -n or -p, or remove this one"
            )


def sha256_of_path(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder with their names.

    Raises:
        RunError: if there is nothing
    """
    found = checkpoint_sha256(str(path))
    if found is None:
        raise RunError(f"{path}: no such file or folder")
    return found


def sha256_of_audio(manifest: Manifest, ids: Sequence[str]) -> str:
    """Fingerprint of utterances in their order: ids and waveforms."""
    rows = [[name, manifest.by_id[name].content] for name in ids]
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()
