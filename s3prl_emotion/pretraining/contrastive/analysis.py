"""Do clusters follow emotion? Agreement within speakers, and beyond chance."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.corpora.manifest import UNLABELLED
from s3prl_emotion.errors import ConfigError, RunError
from s3prl_emotion.files import write_atomically
from s3prl_emotion.pretraining.contrastive import embed, plot
from s3prl_emotion.pretraining.contrastive.clustering import Found, cluster, normalised, seed_of, summary
from s3prl_emotion.pretraining.contrastive.plan import ContrastivePlan
from s3prl_emotion.pretraining.provenance import Stage
from s3prl_emotion.pretraining.settings import plain
from s3prl_emotion.reporting.layout import p_value, tabulated, wrap
from s3prl_emotion.runs.record import read_json

# How far clusters agree with what is known of utterances, within each speaker and beyond chance.
#
# Chance is clusters of the same sizes, drawn at random within each speaker: the sums over rows and columns of the
# contingency table stay, so only the table itself is drawn anew.

Floats = npt.NDArray[np.float64]

MEASURES = ("ami", "purity")


@dataclass(frozen=True)
class Speaker:
    """One speaker's agreement.

    Args:
        utterances: that have both a cluster and the fact
        found: ``ami`` and ``purity``
        chance: the same of random clusters, ``(shuffles,)`` each
    """

    utterances: int
    found: Mapping[str, float]
    chance: Mapping[str, Floats]


@dataclass(frozen=True)
class Agreement:
    """The mean over speakers, each counted once.

    ``interval`` is that of the mean difference to chance: Student's t over speakers, 95 %; None for one speaker. ``p``
    is one-sided: (1 + the random clusterings whose mean is as large) / (1 + all of them).
    """

    found: float
    chance: float
    interval: tuple[float, float] | None
    p: float


def measure_agreement(
    clusters: Sequence[int], facts: Sequence[str], shuffles: int, drawn: np.random.Generator
) -> Speaker:
    r"""Clusters of one speaker against a fact of the same utterances.

    ``ami`` is the adjusted mutual information (Vinh, Epps and Bailey, JMLR 11, 2010; arithmetic mean):
    :math:`(I - E[I]) / ((H_c + H_f) / 2 - E[I])`, at most 1, 0 by chance. ``purity`` is
    :math:`\frac{1}{n} \sum_c \max_f n_{cf}`, in (0, 1].

    Args:
        clusters: at least two different ones
        facts: such as emotions, at least two different ones
        shuffles: random clusterings
        drawn: draws them

    Raises:
        ValueError: if there are not two of each
    """
    from sklearn.metrics.cluster import expected_mutual_information

    rows, columns = _codes(clusters), _codes(facts)
    kinds, values = int(rows.max()) + 1, int(columns.max()) + 1
    if kinds < 2 or values < 2:
        raise ValueError(f"expected two clusters and two facts at least, got {kinds} and {values}")
    count = len(rows)
    each = np.stack([rows, *(drawn.permutation(rows) for _ in range(shuffles))])
    cells = each * values + columns + kinds * values * np.arange(len(each))[:, None]
    tables = np.bincount(cells.ravel(), minlength=kinds * values * len(each)).reshape(len(each), kinds, values)
    first = tables[0].astype(np.int64)
    expected = float(expected_mutual_information(first, count))
    mean_entropy = (_entropy(first.sum(axis=1)) + _entropy(first.sum(axis=0))) / 2
    room = max(mean_entropy - expected, np.finfo(np.float64).eps)
    ami = (_information(tables, count) - expected) / room
    purity = tables.max(axis=2).sum(axis=1) / count
    return Speaker(
        count,
        {"ami": float(ami[0]), "purity": float(purity[0])},
        {"ami": ami[1:], "purity": purity[1:]},
    )


def summarise_speakers(speakers: Sequence[Speaker], measure: str) -> Agreement:
    """The mean over speakers of one of :data:`MEASURES`."""
    found = np.array([item.found[measure] for item in speakers])
    chance = np.stack([item.chance[measure] for item in speakers])  # (speakers, shuffles)
    drawn_means = chance.mean(axis=0)
    larger = int((drawn_means >= found.mean() - 1e-12).sum())
    p = (1 + larger) / (1 + len(drawn_means))
    return Agreement(float(found.mean()), float(chance.mean()), _interval(found - chance.mean(axis=1)), p)


def _interval(differences: Floats) -> tuple[float, float] | None:
    if len(differences) < 2:
        return None
    from scipy import stats

    half = float(stats.t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / np.sqrt(len(differences)))
    return float(differences.mean()) - half, float(differences.mean()) + half


def _codes(values: Sequence[object]) -> npt.NDArray[np.int64]:
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return np.array([numbers[value] for value in values], dtype=np.int64)


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    rates = counts[counts > 0] / counts.sum()
    return float(-(rates * np.log(rates)).sum())


def _information(tables: npt.NDArray[np.int64], count: int) -> Floats:
    """Mutual information in nats of each table, ``(tables, kinds, values)`` to ``(tables,)``."""
    outer = tables.sum(axis=2)[:, :, None] * tables.sum(axis=1)[:, None, :]
    ratio = np.divide(tables * count, outer, out=np.ones(tables.shape), where=tables > 0)
    found: Floats = (tables / count * np.log(ratio)).sum(axis=(1, 2))
    return found


# Whether clusters follow emotion on this speech: for reading only, nothing is trained on what is found here.
#
# All speech is clustered as for training, the held-out parts of folds too, and compared with labels where there are
# any: within each speaker, against random clusters of the same sizes.

logger = logging.getLogger(__name__)

NAME = "analysis"
REPORT = "analysis.json"
PICTURE = "clusters.svg"
FACTS: dict[str, Callable[[Utterance], str | None]] = {
    "emotion": lambda item: None if item.label == UNLABELLED else item.label,
    "sentence": lambda item: item.text,
}
"""What clusters are compared with. Sentences are there since clusters may follow the words."""


def stage_of(plan: ContrastivePlan) -> Stage:
    """The stage, of all speech."""
    speech = plan.speech
    inputs = {"embeddings": embed.input_of(plan, NAME), "labels": _labels_sha256(speech)}
    return plan.stage(NAME, None, plain(plan.settings.cluster), inputs)


def run(plan: ContrastivePlan) -> dict[str, Any]:
    """Compare clusters with what is known, and draw a picture.

    Returns:
        the stage's record
    """
    stage = stage_of(plan)
    done = stage.finished()
    if done is not None:
        logger.info("%s: finished already", stage)
        return done
    with stage.working():
        vectors = embed.read(plan, plan.speech)
        groups = cluster(vectors, plan.speech, plan.settings.cluster, plan.wanted.seed)
        report = compared(groups, plan.speech, plan.settings.cluster.shuffles, plan.wanted.seed)
        write_atomically(stage.folder / REPORT, json.dumps(report, indent=1, allow_nan=False) + "\n")
        drawn = _draw(stage.folder / PICTURE, vectors, groups, plan.speech)
        about = {**summary(groups), "facts": report["facts"], "picture": drawn}
        return stage.finish({key: value for key, value in about.items() if key != "unused"})


def compared(groups: Found, speech: Manifest, shuffles: int, seed: int) -> dict[str, Any]:
    """Clusters against each of :data:`FACTS`, over the speakers that have two clusters and two values of it at least.

    Returns:
        ``facts``: of each, ``speakers`` and ``utterances`` compared, and for each measure ``found``, ``chance``,
        ``interval`` of their mean difference and ``p``; ``speakers``: each one's figures; ``shuffles``
    """
    facts: dict[str, Any] = {}
    each: dict[str, dict[str, Any]] = {}
    for name, fact in FACTS.items():
        found: dict[str, Speaker] = {}
        for speaker, members, group in groups:
            known = [
                (int(number), value)
                for index, number in zip(members, group.assigned, strict=True)
                if number >= 0 and (value := fact(speech.utterances[index])) is not None
            ]
            if len({number for number, _ in known}) > 1 and len({value for _, value in known}) > 1:
                drawn = np.random.default_rng([seed_of(seed, speaker), len(facts)])
                clusters, values = zip(*known, strict=True)
                found[speaker] = measure_agreement(clusters, values, shuffles, drawn)
        facts[name] = _fact(found) if found else None
        for speaker, item in found.items():
            chance = {measure: float(item.chance[measure].mean()) for measure in MEASURES}
            each.setdefault(speaker, {})[name] = {"utterances": item.utterances, "found": item.found, "chance": chance}
    return {"facts": facts, "speakers": each, "shuffles": shuffles}


def _fact(found: dict[str, Speaker]) -> dict[str, Any]:
    speakers = list(found.values())
    about: dict[str, Any] = {"speakers": len(speakers), "utterances": sum(item.utterances for item in speakers)}
    for measure in MEASURES:
        whole = summarise_speakers(speakers, measure)
        about[measure] = {
            "found": whole.found,
            "chance": whole.chance,
            "interval": None if whole.interval is None else list(whole.interval),
            "p": whole.p,
        }
    return about


def printed(plan: ContrastivePlan) -> str:
    """The finished analysis as a table.

    Raises:
        RunError: if it is damaged
    """
    folder = stage_of(plan).folder
    report = read_json(folder / REPORT, "an analysis")
    if not isinstance(report.get("facts"), dict):
        raise RunError(f"{folder / REPORT}: damaged. Remove {folder}, and analyse again: --stage analysis")
    rows = []
    for name, about in report["facts"].items():
        if about is None:
            rows.append([name, "not known", *["-"] * 5])
            continue
        for measure in MEASURES:
            item = about[measure]
            bounds = "-" if item["interval"] is None else "{:.3f} to {:.3f}".format(*item["interval"])
            rows.append(
                [
                    name,
                    measure,
                    f"{item['found']:.3f}",
                    f"{item['chance']:.3f}",
                    bounds,
                    p_value(item["p"]),
                    str(about["speakers"]),
                ]
            )
    head = ["clusters against", "measure", "found", "chance", "difference, 95 %", "p", "speakers"]
    lines = [
        f"clusters within speakers of {plan.speech.corpus}, encoder {plan.settings.embed.encoder['name']}",
        "",
        tabulated(head, rows),
        "",
        wrap(
            "found: mean over speakers of adjusted mutual information (ami; 0 by chance, 1 if they say the same) "
            "and of purity. chance: random clusters of the same sizes within each speaker, "
            f"{report['shuffles']} times; p: how often, one-sided, they agree as well. difference: Student t over "
            "speakers."
        ),
    ]
    if (folder / PICTURE).is_file():
        lines += ["", str(folder / PICTURE)]
    return "\n".join(lines)


def _draw(path: Path, vectors: np.ndarray, groups: Found, speech: Manifest) -> bool:
    """Draw the picture, unless matplotlib is missing, which is said."""
    panels = [
        plot.Panel(
            speaker,
            normalised(vectors[members]),
            [FACTS["emotion"](speech.utterances[index]) for index in members],
            group.assigned.tolist(),
        )
        for speaker, members, group in groups
    ]
    try:
        plot.draw(path, panels)
    except ConfigError as error:
        logger.warning("%s", error)
        return False
    return True


def _labels_sha256(speech: Manifest) -> str:
    """Of the facts that clusters are compared with."""
    facts = [[item.id, *(fact(item) for fact in FACTS.values())] for item in speech.utterances]
    return hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).hexdigest()
