"""With and without neutral: what arXiv 2312.11503 gains by leaving it out."""

from __future__ import annotations

from s3prl_emotion.experiment.studies import Setting, Study, Variant, studies
from s3prl_emotion.experiment.studies._base import Done
from s3prl_emotion.experiment.studies._tables import groups_of, matrix, ua_of

WITHOUT, WITH = "without neutral", "with neutral"


@studies.register("neutral")
class Neutral(Study):
    """What does leaving neutral out do? The five corpora with seven classes, and with neutral as an eighth."""

    def variants(self, setting: Setting) -> list[Variant]:
        parts = {"parts": ",".join(setting.corpora)} if setting.parts else {}
        return [
            Variant(WITHOUT, setting.changed(corpus="five", corpus_options=parts)),
            Variant(WITH, setting.changed(corpus="five", corpus_options={**parts, "neutral": "include"})),
        ]

    def answer(self, done: Done) -> list[str]:
        lines = []
        for upstream, downstream in dict.fromkeys((item.upstream, item.downstream) for item in done):
            columns = {
                system.variant: {name: ua_of(item) for name, item in groups_of(folders, "label").items()}
                for system, folders in done.items()
                if (system.upstream, system.downstream) == (upstream, downstream)
            }
            labels = dict.fromkeys(name for cells in columns.values() for name in cells)
            rows = {
                label: {title: cells[label] for title, cells in columns.items() if label in cells} for label in labels
            }
            lines += [f"{upstream} {downstream}: recall % (95 % by speakers)", matrix("class", rows, columns)]
        return lines
