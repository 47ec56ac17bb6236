"""Leave one corpus out, and one corpus alone: what each adds to the five-corpora recogniser."""

from __future__ import annotations

import dataclasses

from s3prl_emotion.corpora.five import PARTS
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.experiment.studies import Setting, Study, Variant, studies
from s3prl_emotion.experiment.studies._base import Done
from s3prl_emotion.experiment.studies._tables import groups_of, matrix, ua_of

ALL, UNHEARD = "all", "corpus unheard"
TWO_SPEAKERS = "tess"
"""Of two speakers one trains and one tests: none is left for dev, so protocol ``strict`` cannot divide them."""


@studies.register("leave-one-out")
class LeaveOneOut(Study):
    """What does each corpus add? All of them, all but one, each alone, each unheard, tested corpus by corpus.

    Rows train on: all corpora, speakers apart; all but the tested one (``corpus unheard``: protocol ``cross``, without
    calm, which RAVDESS alone has); all but one; one alone. Cells are UA over a corpus' own classes, so that columns
    compare rows; rows with another set of corpora know other classes, which makes the task easier or harder.
    """

    def variants(self, setting: Setting) -> list[Variant]:
        parts = setting.corpora
        if len(parts) < 3:
            raise ConfigError(f"study leave-one-out needs at least three corpora, --parts names {', '.join(parts)}")
        everything = {"parts": ",".join(parts)} if setting.parts else {}
        found = [
            Variant(ALL, setting.changed(corpus="five", corpus_options=everything)),
            Variant(
                UNHEARD,
                setting.changed(corpus="five", protocol="cross", corpus_options={**everything, "folds": "corpora"}),
            ),
        ]
        for part in parts:
            others = ",".join(other for other in parts if other != part)
            found.append(Variant(f"without {part}", setting.changed(corpus="five", corpus_options={"parts": others})))
        for part in parts:
            alone = setting.changed(corpus="five", corpus_options={"parts": part})
            if part == TWO_SPEAKERS and setting.request.protocol in (None, "strict"):
                alone = dataclasses.replace(alone, protocol="superb")  # dev shares the speaker of train
            found.append(Variant(f"{part} alone", alone))
        return found

    def answer(self, done: Done) -> list[str]:
        tables = []
        for upstream, downstream in dict.fromkeys((item.upstream, item.downstream) for item in done):
            rows: dict[str, dict[str, str]] = {}
            for system, folders in done.items():
                if (system.upstream, system.downstream) == (upstream, downstream):
                    found = groups_of(folders, "corpus")
                    rows[system.variant] = {name: ua_of(item) for name, item in found.items()}
            columns = [part for part in PARTS if any(part in cells for cells in rows.values())]
            pages = [columns[start : start + 3] for start in range(0, len(columns), 3)]
            tables.append(f"{upstream} {downstream}: UA % by tested corpus, over its own classes (95 % by speakers)")
            tables += [matrix("trained on", rows, page) for page in pages]
        return tables
