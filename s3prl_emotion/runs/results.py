"""``results.json``: every number of a run, and how it was obtained. All of it is computed again from its predictions.

The record follows schema 1: rates are fractions in [0, 1], but UA + WA, which is in [0, 2]. Later versions added keys;
a file without them stays readable, and is written with the keys that it had. Keys that this version does not know are
kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from s3prl_emotion.config import Reading, from_mapping, shown
from s3prl_emotion.errors import RunError
from s3prl_emotion.files import parse_json, write_atomically
from s3prl_emotion.mapping import GIVEN, LATER, REST, Check, gathers, to_mapping
from s3prl_emotion.runs.record import (
    Fraction,
    Interval,
    Labels,
    Matrix,
    Number,
    Numbers,
    Object,
    Text,
    Texts,
    Truth,
    Which,
    Whole,
    is_fraction,
    is_list,
    is_number,
)

SCHEMA = 1
RATES = ("ua", "wa", "macro_f1")
"""The rates that every record of schema 1 has, each a fraction in [0, 1]."""
Schema = Annotated[int, Check(lambda value: value == SCHEMA and not isinstance(value, bool), str(SCHEMA))]


@dataclass(frozen=True, kw_only=True)
class _Open:
    """What may hold keys that this version does not know."""

    further: dict[str, Any] = field(default_factory=dict, metadata=REST)
    given: tuple[str, ...] | None = field(default=None, repr=False, compare=False, metadata=GIVEN)  # keys of the file


@dataclass(frozen=True, kw_only=True)
class Lacking(_Open):
    """A part of a fold that lacks classes."""

    fold: Whole
    part: Text  # train, dev or test
    classes: Texts


@dataclass(frozen=True, kw_only=True)
class ProtocolRecord(_Open):
    """Who trained, selected and tested. ``further`` holds what else a protocol declares and what the parts share."""

    name: Text
    split_sha256: Text  # of the folds
    dev: Text  # how the dev set was made, in words
    selection: Text  # set and metric that chose the checkpoint: "dev ua"
    labels: Labels  # all classes, in the order of the confusion matrix
    transductive: Truth  # test audio may have been heard in pretraining
    sha256: Text | None = None  # of what the protocol declares; None in records of before there was one
    speaker_disjoint_test: Truth = True
    selection_on_test: Truth = False
    order: Text | None = None  # whose order of utterances dev was drawn from, where it is drawn by position
    lacking: tuple[Lacking, ...] | None = None  # parts of folds that lack classes; None where none does


@dataclass(frozen=True, kw_only=True)
class FoldResult(_Open):
    """One fold, scored once on its test set."""

    fold: Whole
    n: Whole  # test utterances
    rates: dict[str, Number] = field(
        default_factory=dict, metadata=gathers(lambda name, value: name in RATES or is_number(value), RATES)
    )  # by the name of the metric
    step: Whole | None  # of the checkpoint; None where unknown


Folds = Annotated[
    tuple[FoldResult, ...], Check(lambda value: is_list(value) and bool(value), "a list with at least one fold")
]


@dataclass(frozen=True, kw_only=True)
class Summary(_Open):
    """A rate over folds. Before there was ``ci95_folds``, ``ci95`` was Student's t over folds."""

    mean: Number
    std: Number | None  # sample standard deviation over folds; None with one fold
    ci95: Interval | None  # of the mean, by drawn speakers, as ci95_method says; None with one speaker
    ci95_folds: Interval | None = None  # Student's t over folds; None with one fold


@dataclass(frozen=True, kw_only=True)
class Pooled(_Open):
    """A rate over the predictions of all folds together."""

    value: Number
    ci95: Interval | None  # by drawn speakers; None with one speaker


@dataclass(frozen=True, kw_only=True)
class Headline(_Open):
    """Which rates to quote. Where test folds lack classes, a fold's UA is over fewer, and its mean says little."""

    of: Which
    reason: Text | None  # None for the mean


@dataclass(frozen=True, kw_only=True)
class RunSettings(_Open):
    """Training settings worth printing. ``further`` holds those of the run, by name."""

    demo: Truth = False  # scaled down
    file: Object | None = None  # the configuration file's values of the same settings
    deviations: Texts = ()  # in what the run is not as configured, in words


SettingsMapping = Annotated[RunSettings, Check(lambda value: isinstance(value, Mapping), "a mapping")]


@dataclass(frozen=True, kw_only=True)
class Results(_Open):
    """The record of a run, in the order of its keys; ``rates``, ``measures`` and ``further`` are keys beside them.

    Raises:
        ValueError: naming the key, if two parts do not fit
    """

    schema: Schema = SCHEMA
    upstream: Text  # the -u name
    checkpoint_sha256: Text | None  # of the upstream's checkpoint; None where it has none (fbank)
    downstream: Text  # the -d name
    corpus: Text
    corpus_name: Text | None = None  # for people, where many tables share a reader
    protocol: ProtocolRecord
    folds: Folds  # those that are finished
    rates: dict[str, Summary] = field(
        default_factory=dict,
        metadata=gathers(lambda name, value: name in RATES or (isinstance(value, Mapping) and "mean" in value), RATES),
    )  # by the name of the metric
    pooled: dict[str, Pooled] | None = None  # likewise; None before there were pooled rates
    headline: Headline | None = None  # likewise
    recalls: dict[str, Fraction | None] | None = None  # over all folds together; None for a class that truth lacks
    measures: dict[str, Number | None] = field(
        default_factory=dict, metadata=gathers(lambda name, value: value is None or is_number(value))
    )  # over all utterances together: ece, brier, kl_to_annotators; None where they cannot be known
    confusion: Matrix  # truth in rows, prediction in columns, summed over folds
    seed: Whole
    versions: Object
    ci95_method: Text  # in words
    ci95_folds_method: Text | None = None  # in words; None before there were two intervals
    complete: Truth  # all expected folds are there
    folds_expected: Numbers
    chance: Fraction  # 1 / number of classes
    settings: SettingsMapping | None
    predictions_sha256: Text | None = field(default=None, metadata=LATER)  # of predictions.csv beside it

    def __post_init__(self) -> None:
        numbers = [fold.fold for fold in self.folds]
        if len(set(numbers)) != len(numbers):
            raise ValueError(f"folds: expected each fold once, found list {shown(numbers)}")
        fractions = {f"{name}.mean": self.rates[name].mean for name in RATES}
        for place, fold in enumerate(self.folds):
            fractions |= {f"folds[{place}].{name}": fold.rates[name] for name in RATES}
        for key, value in fractions.items():
            if not is_fraction(value):
                raise ValueError(f"{key}: expected a fraction in [0, 1], found {shown(value)}")
        size, shape = len(self.labels), [len(row) for row in self.confusion]
        if shape != [size] * size:
            raise ValueError(f"confusion: expected {size} rows of {size} for {size} labels, found rows of {shape}")
        if self.is_pooled and not {*RATES} <= {*(self.pooled or ())}:
            raise ValueError("headline.of: expected mean, since pooled rates are missing, found 'pooled'")

    @property
    def labels(self) -> tuple[str, ...]:
        """All classes, in order."""
        return self.protocol.labels

    @property
    def numbers(self) -> tuple[int, ...]:
        """The finished folds."""
        return tuple(fold.fold for fold in self.folds)

    @property
    def is_pooled(self) -> bool:
        """Whether the rates to quote are those over the pooled predictions; old records have none."""
        return self.headline is not None and self.headline.of == "pooled"

    @property
    def is_demo(self) -> bool:
        """Whether settings were scaled down."""
        return self.settings is not None and self.settings.demo

    @property
    def deviations(self) -> tuple[str, ...]:
        """In what the run is not as configured, in words."""
        return () if self.settings is None else self.settings.deviations


RECORD = Reading(RunError, f"schema {SCHEMA}")


def results_of(content: Any, where: str) -> Results:
    """The record that ``content``, as JSON holds it, is.

    Raises:
        RunError: naming the key, what was expected and what was found
    """
    if isinstance(content, Mapping):
        schema = content.get("schema")
        if schema != SCHEMA or isinstance(schema, bool):
            raise RunError(f"{where}: has schema {shown(schema)}, this version reads and writes schema {SCHEMA}")
    return from_mapping(Results, content, f"{where}:", RECORD)


def read_results(path: str | Path) -> Results:
    """Read ``results.json``.

    Raises:
        RunError: if the file is missing, is not JSON or does not follow the schema
    """
    path = Path(path)
    if not path.is_file():
        raise RunError(
            f"{path}: no such file. Run the experiment first: it writes the results of the folds it finished."
        )
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path}: not JSON in UTF-8: {error}. {_REMEDY}") from error
    return results_of(content, str(path))


def write_results(path: str | Path, results: Results) -> None:
    """Write ``results.json``, replacing it in one step.

    Raises:
        RunError: if the record does not follow the schema or holds what JSON cannot; nothing is written then
    """
    content = to_mapping(results)
    results_of(content, f"{path}: refusing to write")
    try:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RunError(f"{path}: refusing to write: {error}") from error
    write_atomically(Path(path), text + "\n")


_REMEDY = "Restore the file, or run the same command again, which writes it from the finished folds"
