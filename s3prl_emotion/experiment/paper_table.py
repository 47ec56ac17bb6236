"""The table of arXiv 2312.11503 row by row, on the five corpora, under its own protocol and under a strict one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from s3prl_emotion.classical import PREFIX
from s3prl_emotion.errors import ConfigError, suggest
from s3prl_emotion.evaluation.comparability import not_comparable
from s3prl_emotion.evaluation.seed_groups import figures
from s3prl_emotion.experiment.jobs import Job, JobResults, Need, run_jobs
from s3prl_emotion.experiment.request import DEFAULT_SEED, Request
from s3prl_emotion.experiment.studies.base import ENCODER
from s3prl_emotion.experiment.studies.corpora import system_of
from s3prl_emotion.published import paper_rows

SOURCE = "arXiv 2312.11503"
PROTOCOLS = ("paper-d", "strict")
FEATURES = ("engineered_94", "librosa94")
"""What the published table calls the 94 features, and the upstream that gives them."""
SPEECH = "hubert_base"
LIBROSA = Need("librosa", "pip install 's3prl-emotion[features]'")
BOOSTING = "pip install 's3prl-emotion[boosting]'"
FINE_TUNED = {"upstream_trainable": True, "upstream_feature_selection": "last_hidden_state"}


@dataclass(frozen=True)
class PaperRow:
    """A row of the table.

    Args:
        title: as it is printed
        downstream: the ``-d`` name
        upstream: the ``-u`` name; None is the speech encoder that was chosen
        published: head and upstream in the published table; None where it has no such row
        s3prl: S3PRL's options that belong to it
        needs: packages that it cannot do without
        reads: what is said
    """

    title: str
    downstream: str
    upstream: str | None
    published: tuple[str, str] | None
    s3prl: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[Need, ...] = ()
    reads: bool = False


def _classical(name: str, title: str, published: str | None, *needs: Need) -> PaperRow:
    row = None if published is None else (published, FEATURES[0])
    return PaperRow(title, f"{PREFIX}{name}", FEATURES[1], row, needs=(LIBROSA, *needs))


RUNGS: dict[str, PaperRow] = {
    "knn": _classical("knn", "k nearest neighbours", "k_nearest_neighbours"),
    "mlp": _classical("mlp", "multilayer perceptron", "mlp"),
    "xgboost": _classical("xgboost", "XGBoost", "xgboost", Need("xgboost", BOOSTING)),
    "lightgbm": _classical("lightgbm", "LightGBM", "lightgbm", Need("lightgbm", BOOSTING)),
    "logistic": _classical("logistic", "logistic regression", "logistic_regression"),
    "forest": _classical("forest", "random forest", "random_forest"),
    "bayes": _classical("bayes", "naive Bayes", "naive_bayes"),
    "tree": _classical("tree", "decision tree", "decision_tree"),
    "cnn": PaperRow("1-D CNN", "emotion_cnn", FEATURES[1], ("cnn_1d", FEATURES[0]), needs=(LIBROSA,)),
    "mobilenet": PaperRow(
        "MobileNetV2",
        "emotion_mobilenet",
        "spectrogram_16ms_4ms",
        None,
        needs=(Need("torchvision", "pip install 's3prl-emotion[mobilenet]'"),),
    ),
    "hubert": PaperRow("HuBERT", "emotion_finetune", None, ("fine_tuned", SPEECH), FINE_TUNED),
    "hubert-bert": PaperRow(
        "HuBERT + BERT",
        "emotion_finetune_text",
        None,
        ("fine_tuned_with_text", SPEECH),
        FINE_TUNED,
        reads=True,
    ),
}
"""The rows by name, in the order of the paper."""


@dataclass(frozen=True)
class TableRow:
    """A finished row under one protocol; rates are fractions."""

    rung: PaperRow
    protocol: str
    folders: Sequence[Path]
    rates: Mapping[str, tuple[float, list[float] | None]]  # ua, wa and ua_plus_wa with their intervals
    published: Mapping[str, float]  # ua and wa; empty where there is no such row
    not_comparable: str | None


@dataclass(frozen=True)
class TableResult:
    """What the ladder came to."""

    rows: Sequence[TableRow]
    worked: JobResults
    names: Sequence[tuple[str, str]]  # protocol and rung, all that were asked for
    total: int


def select_rows(names: Sequence[str]) -> list[str]:
    """The rows that are asked for, in the order of the table; all where none is named.

    Raises:
        ConfigError: if one is unknown
    """
    for name in names:
        if name not in RUNGS:
            raise ConfigError(f"--rows: unknown row {name!r}. {suggest(name, RUNGS)}")
    return [name for name in RUNGS if not names or name in names]


def run_table(
    request: Request,
    rows: Sequence[str] = (),
    protocols: Sequence[str] = PROTOCOLS,
    seeds: Sequence[int] = (DEFAULT_SEED,),
    speech: str = SPEECH,
    encoder: str | None = None,
) -> TableResult:
    """Run every row that is not finished.

    Args:
        request: what all rows share: data, root, device, ``-o``
        rows: names of :data:`RUNGS`; all where none is given
        protocols: under which each is run
        seeds: of each row
        speech: the speech encoder, a ``-u`` name
        encoder: the text encoder; None is BERT base, as in the paper

    Raises:
        EmotionError: at once, if something is set wrong
    """
    names = list(product(protocols, select_rows(rows)))
    points = []
    for protocol, name in names:
        rung = RUNGS[name]
        for seed in seeds:
            s3prl = {
                **request.s3prl,
                **rung.s3prl,
                "upstream": rung.upstream or speech,
                "downstream": rung.downstream,
                "seed": seed,
            }
            if rung.upstream is not None:
                s3prl |= {"upstream_ckpt": None, "upstream_model_config": None}  # -k is the speech encoder's
            if rung.downstream.startswith(PREFIX):
                s3prl["override"] = None  # nothing of a classical model is configured so
            elif rung.reads and encoder is not None:
                given = (s3prl.get("override"), f"{ENCODER}={encoder}")
                s3prl["override"] = ",,".join(text for text in given if text)
            point = dataclasses.replace(request, s3prl=s3prl, protocol=protocol)
            if not rung.reads:
                point = dataclasses.replace(point, text=None, allow_empty_text=False)
            points.append(Job(_name(protocol, name), point, rung.needs))
    worked = run_jobs(points)
    found = [
        _row(RUNGS[name], protocol, worked.folders[_name(protocol, name)])
        for protocol, name in names
        if _name(protocol, name) in worked.folders
    ]
    return TableResult(found, worked, names, len(points))


def _name(protocol: str, rung: str) -> str:
    return f"{rung} under {protocol}"


def _row(rung: PaperRow, protocol: str, folders: Sequence[Path]) -> TableRow:
    system = system_of(folders)
    found = figures(system)
    of, at = ("pooled", "pooled_ci95") if system.results.is_pooled else ("mean", "ci95")
    rates = {rate: (found[rate][of], found[rate][at]) for rate in ("ua", "wa", "ua_plus_wa")}
    published, reason = {}, None
    if rung.published is not None:
        head, upstream = rung.published
        given = [row for row in paper_rows(None, upstream) if row.downstream == head and row.source == SOURCE]
        published = {row.metric.lower(): row.accuracy for row in given}
        reason = not_comparable(system.results, given[0])
    return TableRow(rung, protocol, folders, rates, published, reason)


def missing_reasons(outcome: TableResult) -> dict[tuple[str, str], str]:
    """Of each protocol and row without a result the reason: an extra that is missing, or a failure."""
    found = {}
    there = {(row.protocol, row.rung.title) for row in outcome.rows}
    for protocol, name in outcome.names:
        rung, key = RUNGS[name], _name(protocol, name)
        if (protocol, rung.title) not in there:
            found[protocol, rung.title] = (
                f"skipped: {outcome.worked.skipped[key]}" if key in outcome.worked.skipped else "failed, see the error"
            )
    return found
