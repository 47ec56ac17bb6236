"""The corpus' own texts against those that speech recognition heard."""

from __future__ import annotations

from s3prl_emotion.errors import ConfigError
from s3prl_emotion.experiment.studies import Setting, Study, Variant, studies

HEADS = ("emotion_text", "emotion_speech_text")


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
            Variant("corpus text", setting.reading(corpus_options=parts, text=None), HEADS),
            Variant("transcription", setting.reading(corpus_options=parts), HEADS),
        ]
