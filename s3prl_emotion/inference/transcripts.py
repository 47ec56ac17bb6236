"""Transcripts for heads that read text: given by the user, or by a speech recogniser."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from s3prl_emotion.audio.preparation import Preparation
from s3prl_emotion.downstream.text import TextBranch
from s3prl_emotion.errors import RunError
from s3prl_emotion.inference.parts import Parts
from s3prl_emotion.module_weights import load_weights
from s3prl_emotion.text.loading import open_encoder
from s3prl_emotion.text.recognition import SpeechRecogniser
from s3prl_emotion.text.transcripts import read_transcription


class TranscriptSource:
    """The text branches of trained heads, and what hears for them where no text is given.

    Args:
        parts: heads; the text encoder is verified
        device: where to compute
        asr: a speech recogniser's folder or Hub id; None: texts are given

    Raises:
        RunError: if trained weights do not fit the encoder
        UpstreamError: if a model cannot be read
    """

    def __init__(self, parts: Parts, device: str, asr: str | None = None) -> None:
        config, source = None if parts.model is None else parts.model.text, parts.text
        if config is None or source is None:
            raise RunError(f"{parts.downstream}: these heads read no text")
        opened = open_encoder(source, config.max_tokens)
        self.output_size = opened.width
        shared = None if config.trainable else TextBranch(config, opened).to(device).eval()
        self._branches = []
        for fold in parts.folds:
            branch = TextBranch(config, opened) if shared is None else shared
            if fold.text is not None:
                try:
                    load_weights(branch, fold.text)
                except RuntimeError as error:
                    raise RunError(
                        f"fold {fold.number}: its text encoder does not fit {source.given}: "
                        f"{' '.join(str(error).split())[:300]}"
                    ) from error
            self._branches.append(branch.to(device).eval().requires_grad_(False))
        # A recogniser hears all of a recording, as `transcribe` does, whatever the head is given of it.
        self._preparation = dataclasses.replace(parts.preparation, max_duration_s=None)
        self._asr = None if asr is None else SpeechRecogniser(asr, device)

    def said(self, audio: str | Path | np.ndarray, text: str | None, name: str) -> str:
        """What is said in a recording: as given, or as heard.

        Raises:
            RunError: if neither is there
        """
        if text is not None:
            return text
        if self._asr is None:
            raise RunError(
                f"{name}: these heads read what is said: give it (--text, or predict(..., texts=[...])), or a speech "
                "recogniser (--asr MODEL, or load(..., asr=MODEL))"
            )
        return self._asr.transcribe([audio_for_asr(self._preparation, audio)])[0]

    @torch.no_grad()
    def vector(self, index: int, text: str, device: str) -> Tensor:
        """What the head of a fold, by its place, is given of a text: ``(1, output_size)``."""
        vector: Tensor = self._branches[index]([text], torch.device(device))
        return vector


def audio_for_asr(preparation: Preparation, audio: str | Path | np.ndarray) -> np.ndarray:
    """A recording as a recogniser hears it, ``(samples,)`` at 16 kHz."""
    if isinstance(audio, np.ndarray):
        return preparation.of_array(audio).samples
    return preparation.waveform(audio)


def texts_of(given: str, files: Sequence[Path]) -> dict[Path, str]:
    """What ``--text`` says of recordings: the words themselves of a single one, or a file of transcriptions.

    A transcription belongs to a recording whose path, file name, or file name without its ending is its ``id``.

    Raises:
        RunError: if several recordings get words, or one has no transcription in the file
    """
    path = Path(given).expanduser()
    if not _is_file(path):
        if len(files) == 1:
            return {files[0]: given}
        raise RunError(
            f"--text {given!r}: there is no such file, and words can be given for one recording only, here are "
            f'{len(files)}. Expected a file of lines such as {{"id": "{files[0].stem}", "text": "..."}}'
        )
    rows = read_transcription(path).rows
    found = {}
    for file in files:
        name = next((key for key in (str(file), file.name, file.stem) if key in rows), None)
        if name is None:
            raise RunError(
                f"--text {given}: holds no text of {file} (id {file.stem!r}), which heads that read text need"
            )
        found[file] = rows[name].text
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # words that are too long for a name
        return False
