"""Speech, text, both, and late fusion of the two."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from s3prl_emotion.experiment.studies import Setting, Study, Variant, studies
from s3prl_emotion.experiment.studies._base import Done, StudyArm
from s3prl_emotion.experiment.studies._tables import system_of

SPEECH, TEXT, BOTH = "speech", "text", "speech and text"


@studies.register("modality")
class Modality(Study):
    """What do speech and text say each, and both? One corpus by speech, by text, by both, and by late fusion.

    ``-d`` is the head of speech; text is read by ``emotion_text`` and ``emotion_speech_text``, from the corpus, or from
    ``--text``. The corpus is the five together unless ``--corpus`` says otherwise.
    """

    def variants(self, setting: Setting) -> list[Variant]:
        parts = {"parts": ",".join(setting.corpora)} if setting.parts else {}
        request = setting.reading(corpus_options=parts)
        silent = dataclasses.replace(setting.changed(corpus_options=parts), text=None, allow_empty_text=False)
        return [
            Variant(SPEECH, silent),
            Variant(TEXT, request, ("emotion_text",)),
            Variant(BOTH, request, ("emotion_speech_text",)),
        ]

    def fusions(self, done: Done) -> list[list[Path]]:
        found = []
        for system, folders in done.items():
            other = StudyArm(TEXT, system.upstream, "emotion_text")
            if system.variant == SPEECH and other in done:
                read = {run.results.seed: run.folder for run in system_of(done[other]).runs}
                for run in system_of(folders).runs:  # a seed whose other half failed is fused with nothing
                    if run.results.seed in read:
                        found.append([run.folder, read[run.results.seed]])
        return found
