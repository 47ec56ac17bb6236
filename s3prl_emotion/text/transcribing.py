"""Transcribe a manifest into a file beside it: killed at any moment, the same command goes on from there."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from s3prl_emotion.audio.preparation import WHOLE
from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.errors import RunError
from s3prl_emotion.files import append, write_atomically
from s3prl_emotion.interruption import check, deferred
from s3prl_emotion.locks import HeldError, exclusive
from s3prl_emotion.text.recognition import SpeechRecogniser
from s3prl_emotion.text.transcripts import (
    FORMAT,
    VERSION,
    Header,
    Transcription,
    TranscriptRow,
    normalise_words,
    read_transcription,
    word_error_rate,
)

logger = logging.getLogger(__name__)

BATCH_SIZE = 8
"""Utterances that run together, where padding is masked; ours."""


@dataclass(frozen=True)
class Hypotheses:
    """What came of a transcription."""

    path: Path
    computed: int  # utterances, in this call
    empty: tuple[str, ...]  # ids of those in which nothing was heard
    wer: float | None  # over those whose text the corpus has; None where it has none
    references: int  # how many these are
    reference_words: int


def transcribe(
    manifest: Manifest, recogniser: SpeechRecogniser, path: Path, batch_size: int = BATCH_SIZE
) -> Hypotheses:
    """Write what is said in every utterance of a manifest.

    Utterances run in batches of similar length, the longest first; which they are follows from the manifest alone, so
    that a call which was interrupted changes nothing. Each batch is appended when it is done; at the end the file is
    put into the manifest's order, in one step.

    Args:
        manifest: checked, so that the fingerprints of its audio are known
        recogniser: by which
        path: the file; what it holds of the same audio by the same model is not computed again
        batch_size: utterances to a batch

    Raises:
        RunError: if the file is another model's, or another process is writing it
        AudioError: for a file that cannot be read
    """
    header = Header(FORMAT, VERSION, **dataclasses.asdict(recogniser.facts))
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    try:
        with exclusive(lock):
            done = _begun(path, header)
            computed = _complete(manifest, recogniser, path, batch_size, done)
    except HeldError as error:
        raise RunError(
            f"{path}: another process is writing it. Wait for it, or name another file with --out"
        ) from error
    texts = {name: row.text for name, row in read_transcription(path).rows.items()}
    pairs = [(item.text, texts[item.id]) for item in manifest.utterances if item.text and item.text.strip()]
    return Hypotheses(
        path,
        computed,
        tuple(item.id for item in manifest.utterances if not texts[item.id].strip()),
        word_error_rate(pairs),
        len(pairs),
        sum(len(normalise_words(text)) for text, _ in pairs),
    )


def _begun(path: Path, header: Header) -> Transcription:
    """What the file holds already; a new one gets its header."""
    if path.is_file():
        found = read_transcription(path, torn=True)
        if found.header is not None and found.header != header:
            differing = [
                f"{key} {before!r}, now {now!r}"
                for (key, before), now in zip(
                    dataclasses.asdict(found.header).items(), dataclasses.asdict(header).values(), strict=True
                )
                if before != now
            ]
            raise RunError(
                f"{path}: holds transcriptions made otherwise: {'; '.join(differing)}. Name another file with --out, "
                "or take this one away"
            )
        if found.header is not None:
            if found.whole_bytes < path.stat().st_size:  # its writer was killed within a line
                write_atomically(path, path.read_bytes()[: found.whole_bytes].decode("utf-8"))
            return found
        if found.rows:
            raise RunError(f"{path}: is no file of ours (its first line is no header). Name another with --out")
    line = _line({key: value for key, value in dataclasses.asdict(header).items() if value is not None})
    write_atomically(path, line)
    return Transcription(path, header, {}, len(line.encode()))


def _complete(
    manifest: Manifest, recogniser: SpeechRecogniser, path: Path, batch_size: int, done: Transcription
) -> int:
    rows = dict(done.rows)

    def is_there(item: Utterance) -> bool:
        return item.id in rows and rows[item.id].content == item.sound

    known = sum(map(is_there, manifest.utterances))
    total = len(manifest.utterances)
    if known:
        logger.info("%s: %d of %d utterances are there", path, known, total)
    with deferred("the batch"), tqdm(total=total, initial=known, desc="transcribe", unit="utt", disable=None) as bar:
        for batch in _batches(manifest.utterances, batch_size):
            missing = [item for item in batch if not is_there(item)]
            if not missing:
                continue
            audio = [WHOLE.waveform(manifest.path_of(item), item.start_s, item.end_s) for item in batch]
            texts = dict(zip((item.id for item in batch), recogniser.transcribe(audio), strict=True))
            new = [TranscriptRow(item.id, texts[item.id], item.sound) for item in missing]
            append(path, "".join(_line(_plain(row)) for row in new))
            rows.update({row.id: row for row in new})
            bar.update(len(missing))
            check(f"{path} has {len(rows)} of {total} utterances")
    first, _, _ = path.read_text(encoding="utf-8").partition("\n")
    ordered = [rows[item.id] for item in manifest.utterances]
    write_atomically(path, f"{first}\n" + "".join(_line(_plain(row)) for row in ordered))
    return total - known


def _batches(utterances: Sequence[Utterance], size: int) -> list[list[Utterance]]:
    """The longest first: a batch that does not fit into memory fails at once."""
    ordered = sorted(utterances, key=lambda item: (-(item.duration_s or 0.0), item.id))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _plain(row: TranscriptRow) -> dict[str, str]:
    return {key: value for key, value in dataclasses.asdict(row).items() if value is not None}


def _line(content: Mapping[str, object]) -> str:
    return json.dumps(content, ensure_ascii=False) + "\n"
