"""Studies of corpora: cross-corpus, leave one out, intensity, neutral."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from s3prl_emotion.corpora.combined import FIVE_PARTS
from s3prl_emotion.errors import ConfigError, RunError
from s3prl_emotion.evaluation.comparability import not_comparable
from s3prl_emotion.evaluation.groups import Group, group_by
from s3prl_emotion.evaluation.runs import read_run
from s3prl_emotion.evaluation.seed_groups import SeedGroup, figures, group
from s3prl_emotion.experiment.studies import Setting, Study, Variant, studies
from s3prl_emotion.experiment.studies.base import Done
from s3prl_emotion.published import emobox_rows
from s3prl_emotion.reporting.breakdowns import groupings_text
from s3prl_emotion.reporting.layout import interval, percent, tabulated, wrap


def system_of(folders: Sequence[Path]) -> SeedGroup:
    """The runs of one system, which differ in the seed."""
    return group([read_run(folder) for folder in folders])[0]


def groups_of(folders: Sequence[Path], by: str) -> dict[str, Group]:
    """A system's groups of utterances by name."""
    return {item.name: item for item in group_by(system_of(folders), by).groups if item.told}


def matrix(corner: str, rows: Mapping[str, Mapping[str, str]], columns: Iterable[str]) -> str:
    """Cells by row and column; a dash where there is none."""
    columns = list(columns)
    return tabulated(
        [corner, *columns], [[name, *(cells.get(key, "-") for key in columns)] for name, cells in rows.items()]
    )


def ua_of(group: Group) -> str:
    """UA of a group in percent with its interval."""
    rate = group.rates["ua"]
    return f"{percent(rate.value)} ({interval(rate.ci95)})"


def overall(folders: Sequence[Path], metric: str = "ua") -> tuple[float, list[float] | None]:
    """A system's rate to quote, and its interval."""
    system = system_of(folders)
    found = figures(system)[metric]
    of, at = ("pooled", "pooled_ci95") if system.results.is_pooled else ("mean", "ci95")
    return found[of], found[at]


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
            columns = [part for part in FIVE_PARTS if any(part in cells for cells in rows.values())]
            pages = [columns[start : start + 3] for start in range(0, len(columns), 3)]
            tables.append(f"{upstream} {downstream}: UA % by tested corpus, over its own classes (95 % by speakers)")
            tables += [matrix("trained on", rows, page) for page in pages]
        return tables


TOLD = {"cremad": "level", "ravdess": "intensity"}
"""The corpora that tell the intensity, and what they call it."""
NONE = ("unspecified",)
"""What CREMA-D has of all sentences but one, which is no intensity."""


@studies.register("intensity")
class Intensity(Study):
    """Are strong emotions recognised better? CREMA-D and RAVDESS, speakers apart, by the intensity that they tell.

    Over the classes that were said in every intensity: neutral was not.
    """

    def variants(self, setting: Setting) -> list[Variant]:
        chosen = [part for part in setting.corpora if part in TOLD]
        if not chosen:
            raise ConfigError(
                f"study intensity: of --parts {', '.join(setting.parts)} none tells the intensity. Expected "
                f"{' or '.join(TOLD)}"
            )
        return [Variant(part, setting.alone(part, protocol=setting.request.protocol or "strict")) for part in chosen]

    def answer(self, done: Done) -> list[str]:
        groupings, untold = [], []
        for system, folders in done.items():
            try:
                groupings.append(group_by(system_of(folders), TOLD[system.variant], leave_out=NONE, common=True))
            except RunError as error:
                untold.append(f"{system.name}: {error}")
        return [*([groupings_text(groupings)] if groupings else []), *untold]


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
