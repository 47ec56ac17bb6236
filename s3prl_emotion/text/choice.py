"""Choice of a run's texts: the corpus, or a file of transcripts; and their record."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora.manifest import Manifest, Utterance
from s3prl_emotion.errors import CorpusError, RunError
from s3prl_emotion.text.mutual_information import text_information
from s3prl_emotion.text.transcripts import PATTERN, Transcription, read_transcription, word_error_rate

logger = logging.getLogger(__name__)

CORPUS = "corpus"
"""The texts of the manifest, as the corpus has them."""
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class TextChoice:
    """What is read as being said.

    Args:
        file: transcriptions; None takes the corpus' own texts
        sha256: of the file
        allow_empty: take an utterance without text as one in which nothing is said
        encoder_sha256: of the encoder that reads them
    """

    file: Path | None = None
    sha256: str | None = None
    allow_empty: bool = False
    encoder_sha256: str | None = None

    @property
    def name(self) -> str:
        """For records and folders' names."""
        return CORPUS if self.file is None else self.file.name

    def record(self) -> dict[str, Any]:
        """As the identity of a run has it."""
        return {
            "source": self.name,
            "sha256": self.sha256,
            "allow_empty": self.allow_empty,
            "encoder_sha256": self.encoder_sha256,
        }


def parse_text_choice(text: str | None, allow_empty: bool) -> TextChoice:
    """What ``--text`` means: ``corpus``, a file of transcriptions, or a folder that holds one.

    Raises:
        RunError: if there is none, or several
    """
    if text is None or text == CORPUS:
        return TextChoice(allow_empty=allow_empty)
    path = Path(text).expanduser()
    if path.is_dir():
        found = sorted(path.glob(PATTERN))
        if len(found) != 1:
            told = f"holds {', '.join(item.name for item in found)}: name one" if found else f"holds no {PATTERN}"
            raise RunError(f"--text {text}: {told}. `s3prl-emotion transcribe {text}` writes one for each recogniser")
        path = found[0]
    if not path.is_file():
        raise RunError(f"--text {text}: expected corpus, or a file of transcriptions, and there is none of that name")
    return TextChoice(path.absolute(), hashlib.sha256(path.read_bytes()).hexdigest(), allow_empty)


def text_of(utterance: Utterance) -> str:
    """What is said in an utterance of a prepared run.

    Raises:
        CorpusError: if it is not known
    """
    if utterance.text is None:
        raise CorpusError(f"{utterance.id}: has no text. `s3prl-emotion run` checks texts, and puts them there")
    return utterance.text


def texts_sha256(manifest: Manifest) -> str:
    """Fingerprint of ids and texts, in order."""
    rows = [[item.id, item.text] for item in manifest.utterances]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode("utf-8")).hexdigest()


def choose_texts(manifest: Manifest, choice: TextChoice) -> tuple[Manifest, dict[str, Any]]:
    """A manifest whose utterances all have a text, and what a record says of these.

    Raises:
        CorpusError: naming the utterances that have none
    """
    told: dict[str, Any] = dict(choice.record())
    texts: Mapping[str, str | None] = {item.id: item.text for item in manifest.utterances}
    if choice.file is not None:
        heard = read_transcription(choice.file)
        texts = _of_file(manifest, heard)
        known = [(item.text, texts[item.id] or "") for item in manifest.utterances if item.text and item.text.strip()]
        told |= {"model": heard.model, "model_sha256": heard.model_sha256, "wer": word_error_rate(known)}
    empty = [name for name, text in texts.items() if text is None or not text.strip()]
    if empty and not choice.allow_empty:
        raise CorpusError(_without(manifest, choice, empty))
    if empty:
        logger.warning("--allow-empty-text: %d utterances in which nothing is said, first %s", len(empty), empty[0])
    # What sentences tell of emotions is told by those of the script, where it is known.
    script = [item.text if item.text and item.text.strip() else texts[item.id] or "" for item in manifest.utterances]
    found = text_information(script, [item.label for item in manifest.utterances])
    remark = found.remark(heard=told.get("wer") is not None)
    told |= {"empty": len(empty), **dataclasses.asdict(found), "chance": found.is_chance, "remark": remark}
    if remark:
        logger.log(logging.WARNING if found.is_chance else logging.INFO, "%s: %s", manifest.corpus, remark)
    filled = tuple(dataclasses.replace(item, text=texts[item.id] or "") for item in manifest.utterances)
    manifest = dataclasses.replace(manifest, utterances=filled)
    return manifest, {**told, "texts_sha256": texts_sha256(manifest)}


def _of_file(manifest: Manifest, heard: Transcription) -> dict[str, str | None]:
    """The texts of a manifest's utterances in a file of transcriptions."""
    found: dict[str, str | None] = {}
    for item in manifest.utterances:
        row = heard.rows.get(item.id)
        if row is not None and row.content is not None and item.sound is not None and row.content != item.sound:
            raise CorpusError(
                f"{heard.path}: {item.id} was transcribed from other audio than {manifest.corpus} has now (fingerprint "
                f"{row.content}, here {item.sound}). Transcribe again"
            )
        found[item.id] = None if row is None else row.text
    return found


def _without(manifest: Manifest, choice: TextChoice, empty: list[str]) -> str:
    listed = ", ".join(empty[:_SHOWN]) + (", ..." if len(empty) > _SHOWN else "")
    where = manifest.corpus if choice.file is None else str(choice.file)
    hint = (
        "Have them transcribed (`s3prl-emotion transcribe`) and name the file with --text FILE"
        if choice.file is None
        else "Where nothing is said, a recogniser writes nothing; where they are missing, transcribe them"
    )
    return (
        f"{where}: {len(empty)} of {len(manifest.utterances)} utterances have no text: {listed}. {hint}, or add "
        "--allow-empty-text, which takes it that nothing is said in them"
    )
