"""Studies of speech and text: modality, and transcripts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from s3prl_emotion.errors import ConfigError
from s3prl_emotion.evaluation.seed_groups import difference
from s3prl_emotion.experiment.studies import Setting, Study, Variant, studies
from s3prl_emotion.experiment.studies.base import Done, StudyArm
from s3prl_emotion.experiment.studies.corpora import overall, system_of
from s3prl_emotion.reporting.layout import interval, percent, tabulated, wrap

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


HEADS = ("emotion_text", "emotion_speech_text")
CORPUS, HEARD = "corpus text", "transcription"


@studies.register("transcripts")
class Transcripts(Study):
    """What do errors of speech recognition cost? Heads that read, on the corpus' texts and on a transcription.

    ``--text`` names what ``transcribe`` wrote; the corpus is the five together unless ``--corpus`` says otherwise.
    """

    def variants(self, setting: Setting) -> list[Variant]:
        if setting.request.text in (None, "corpus"):
            raise ConfigError("study transcripts: --text names the transcription that `s3prl-emotion transcribe` wrote")
        parts = {"parts": ",".join(setting.corpora)} if setting.parts else {}
        return [
            Variant(CORPUS, setting.reading(corpus_options=parts, text=None), HEADS),
            Variant(HEARD, setting.reading(corpus_options=parts), HEADS),
        ]

    def answer(self, done: Done) -> list[str]:
        rows, rates = [], {}
        for system, folders in done.items():
            other = StudyArm(CORPUS, system.upstream, system.downstream)
            if system.variant != HEARD or other not in done:
                continue
            heard, told = system_of(folders), system_of(done[other])
            found = difference(heard, told)["ua"]
            values = [percent(overall(item)[0]) for item in (done[other], folders)]
            cost = [f"{100 * found['difference']:+.2f}", interval(found["ci95"])]
            rows.append([f"{system.upstream} {system.downstream}", *values, *cost])
            settings = heard.results.settings
            text = {} if settings is None else settings.further.get("text", {})
            rates[text.get("source")] = text.get("wer")
        if not rows:
            return []
        titles = ["UA %", CORPUS, HEARD, "points", "95 % by speakers"]
        rates_told = [
            f"{source}: word error rate {'not known' if rate is None else f'{percent(rate)} %'}"
            for source, rate in rates.items()
        ]
        return [tabulated(titles, rows), *map(wrap, rates_told)]
