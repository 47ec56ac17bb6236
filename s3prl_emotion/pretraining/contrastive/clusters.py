"""Cluster files: ``clusters.jsonl`` has a line for each utterance, ``cluster.json`` their origin.

A line says which stretch of which file it is, who speaks, and the cluster: a number from 0 that means something within
one speaker only, or null where the utterance gives no pairs.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3prl_emotion.config import from_mapping
from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.corpora.manifest import json_object
from s3prl_emotion.errors import ConfigError, CorpusError, RunError
from s3prl_emotion.files import write_atomically
from s3prl_emotion.runs.record import read_json

ROWS = "clusters.jsonl"
ABOUT = "cluster.json"
SCHEMA = 1


@dataclass(frozen=True)
class Clustered:
    """An utterance and its cluster. Emotion labels are no part of it."""

    utterance: str  # its id in the speech of the plan: <source>/<its own>
    source: str
    speaker: str  # <source>:<speaker>
    path: str  # absolute
    cluster: int | None = None  # within the speaker, from 0; None: gives no pairs
    start_s: float | None = None
    end_s: float | None = None
    duration_s: float | None = None
    content: str | None = None  # fingerprint of the waveform

    def __post_init__(self) -> None:
        if self.cluster is not None and self.cluster < 0:
            raise ValueError(f"cluster must be 0 or more, or null, found {self.cluster}")

    @classmethod
    def of(cls, item: Utterance, cluster: int | None) -> Clustered:
        """An utterance of the plan's speech with its cluster."""
        return cls(
            item.id,
            str(item.corpus),
            item.speaker,
            item.path,
            cluster,
            item.start_s,
            item.end_s,
            item.duration_s,
            item.content,
        )


def write(folder: Path, rows: Sequence[Clustered], about: Mapping[str, Any]) -> None:
    """Write the clusters, then what they were made from; see :func:`read`."""
    lines = [json.dumps(dataclasses.asdict(row), ensure_ascii=False, allow_nan=False) for row in rows]
    write_atomically(folder / ROWS, "".join(f"{line}\n" for line in lines))
    content = {"schema": SCHEMA, "count": len(rows), **about}
    write_atomically(folder / ABOUT, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read(folder: Path, speech: Manifest) -> tuple[Clustered, ...]:
    """The clusters of a folder, in the order of ``speech``.

    Args:
        folder: of the stage
        speech: what the fold hears

    Raises:
        RunError: naming file and line, if they are missing, damaged, or of other speech
    """
    path = folder / ROWS
    if not path.is_file() or not (folder / ABOUT).is_file():
        raise RunError(f"{folder}: holds no clusters ({ROWS} and {ABOUT}). Run the stage first: --stage cluster")
    count = read_json(folder / ABOUT, "a clustering").get("count")
    rows: dict[str, Clustered] = {}
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            where = f"{path}, line {number}"
            row = from_mapping(Clustered, json_object(line, where), where)
            if row.utterance in rows:
                raise RunError(f"{where}: {row.utterance!r} has a line already")
            rows[row.utterance] = row
    except (ConfigError, CorpusError) as error:
        raise RunError(str(error)) from error
    except UnicodeDecodeError as error:
        raise RunError(f"{path}: not UTF-8 text ({error})") from error
    if len(rows) != count:
        raise RunError(f"{path}: {ABOUT} says {count} utterances, found {len(rows)}. Cluster again")
    for item in speech.utterances:
        known = rows.get(item.id)
        if known is None or (known.speaker, known.content) != (item.speaker, item.content):
            found = "is not in it" if known is None else "has another speaker or other audio there"
            raise RunError(f"{path}: clusters of other speech: {item.id!r} {found}. Cluster again")
    if len(rows) != len(speech.utterances):
        strange = next(name for name in rows if name not in speech.by_id)
        raise RunError(f"{path}: clusters of other speech: {strange!r} is not heard here. Cluster again")
    return tuple(rows[item.id] for item in speech.utterances)
