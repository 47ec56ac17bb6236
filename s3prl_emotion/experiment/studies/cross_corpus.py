"""Every corpus to every other: the cross-corpus matrix."""

from __future__ import annotations

from s3prl_emotion.errors import ConfigError
from s3prl_emotion.evaluation.comparability import not_comparable
from s3prl_emotion.experiment.studies import Setting, Study, Variant, studies
from s3prl_emotion.experiment.studies._base import Done
from s3prl_emotion.experiment.studies._tables import matrix, overall, system_of
from s3prl_emotion.published import emobox_rows
from s3prl_emotion.reporting.layout import interval, percent, wrap

ARROW = " to "


@studies.register("cross-corpus")
class CrossCorpus(Study):
    """How far does a recogniser carry over? Each corpus trained on and tested on every other, over common classes.

    Where EmoBox has the pair, its figure stands beside ours with the reason why the two are not comparable.
    """

    def variants(self, setting: Setting) -> list[Variant]:
        parts = setting.corpora
        if len(parts) < 2:
            raise ConfigError(f"study cross-corpus needs at least two corpora, --parts names {', '.join(parts)}")
        return [
            Variant(
                f"{train}{ARROW}{test}",
                setting.changed(corpus="combined", protocol="cross", corpus_options={"train": train, "test": test}),
            )
            for train in parts
            for test in parts
            if train != test
        ]

    def answer(self, done: Done) -> list[str]:
        lines = []
        for upstream, downstream in dict.fromkeys((item.upstream, item.downstream) for item in done):
            rows: dict[str, dict[str, str]] = {}
            classes: dict[str, dict[str, str]] = {}
            published = []
            for system, folders in done.items():
                if (system.upstream, system.downstream) != (upstream, downstream):
                    continue
                train, test = system.variant.split(ARROW)
                value, bounds = overall(folders)
                results = system_of(folders).results
                rows.setdefault(train, {})[test] = percent(value)
                classes.setdefault(train, {})[test] = str(len(results.labels))
                for row in emobox_rows(results.upstream, results.corpus):
                    reason = not_comparable(results, row)
                    said = f"not comparable: {reason}" if reason else "comparable"
                    published.append(
                        f"{system.variant}: ours UA {percent(value)} ({interval(bounds)}) %, "
                        f"EmoBox {percent(row.accuracy)} %; {said}"
                    )
            tested = dict.fromkeys([*rows, *(test for cells in rows.values() for test in cells)])
            lines.append(f"{upstream} {downstream}: UA % over the classes that a pair of corpora shares")
            lines.append(matrix("trained on \\ tested on", rows, tested))
            lines += ["number of classes", matrix("trained on \\ tested on", classes, tested)]
            lines.append("\n".join(map(wrap, published)) if published else wrap("EmoBox: has none of these pairs"))
        return lines
