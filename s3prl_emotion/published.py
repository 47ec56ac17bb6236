"""Published numbers with their sources: SUPERB's, EmoBox's and EMO-SUPERB's tables, and the papers reproduced here.

The tables are the CSV files in ``data/``, in percent as printed; everything returned here is a fraction in [0, 1].
Where the protocol of a paper cannot be repeated from what it says, the row's protocol is a name that no run has.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
import re
from dataclasses import dataclass

SUPERB_FOLDS = (1, 2, 3, 4, 5)

# S3PRL's names, and two short forms, of the models that the tables list under another name.
UPSTREAM_ALIASES = {
    "apc_360hr": "apc",
    "baseline": "fbank",
    "data2vec": "data2vec_base",
    "data2vec_base_960": "data2vec_base",
    "distilhubert_base": "distilhubert",
    "hubert": "hubert_base",
    "hubert_large": "hubert_large_ll60k",
    "mockingjay_origin": "mockingjay",
    "npc_360hr": "npc",
    "tera_960hr": "tera",
    "unispeech_sat": "unispeech_sat_base_plus",
    "vq_apc_360hr": "vq_apc",
    "vq_wav2vec_gumbel": "vq_wav2vec",
    "wav2vec2": "wav2vec2_base_960",
    "wav2vec2_large": "wav2vec2_large_ll60k",
    "wav2vec_large": "wav2vec",
    "wavlm": "wavlm_base_plus",
}

# Rows of the SUPERB file that another group measured with a recipe of its own.
_OTHER_PROTOCOLS = {"emotion2vec paper Table 2": "emotion2vec"}

# A row of the papers' table that fits several upstreams, because the size of the model is not stated.
_PAPER_UPSTREAMS = {"wav2vec2": ("wav2vec2_base_960", "wav2vec2_large_ll60k")}

_POOLING_ALIASES = {
    "attcorr": "attentive_correlation",
    "att_corr": "attentive_correlation",
    "attentive_corr": "attentive_correlation",
    "corr": "correlation",
    "meanstd": "mean_std",
}


@dataclass(frozen=True)
class PublishedResult:
    """One published number."""

    upstream: str  # the name in the published table
    accuracy: float  # mean over folds, a fraction in [0, 1]
    folds: tuple[float, ...]  # per-fold fractions, folds 1 to 5 in order; empty where not published
    source: str
    note: str = ""
    metric: str = "WA"  # "WA" or "UA"
    corpus: str = "iemocap"
    protocol: str = "superb"
    std: float | None = None  # over folds, a fraction
    downstream: str = ""  # the head, where the source compares heads
    features: str = "hidden_states"  # what the source takes of the upstream, as -s says it
    classes: int | None = None  # how many, and
    fold_count: int | None = None  # in how many folds 1, 2, ...; None where not on record here
    unlike: str = ""  # why no run of ours is comparable, whatever its protocol


def rate_of(metric: str) -> str:
    """The name of a published metric among ours: ``macro-F1`` is ``macro_f1``."""
    return metric.lower().replace("-", "_")


def canonical_upstream(upstream: str) -> str:
    """The name under which the published tables list an upstream of S3PRL; other names are returned unchanged.

    Example:
        >>> canonical_upstream("hubert")
        'hubert_base'
    """
    return UPSTREAM_ALIASES.get(upstream, upstream)


def superb_rows(upstream: str) -> list[PublishedResult]:
    """All published SUPERB emotion results of an upstream: WA on IEMOCAP, four classes.

    Several rows mean that sources disagree; a row whose ``protocol`` is not ``superb`` was measured with another
    recipe. An upstream without a row gives an empty list.

    Args:
        upstream: a ``-u`` name of S3PRL, such as ``hubert`` or ``hubert_base``
    """
    name = canonical_upstream(upstream)
    return [
        PublishedResult(
            upstream=row["upstream"],
            accuracy=_fraction(row["accuracy"]),
            folds=tuple(_fraction(row[f"fold{fold}"]) for fold in SUPERB_FOLDS if row[f"fold{fold}"]),
            source=row["source"],
            note=row["note"],
            protocol=_OTHER_PROTOCOLS.get(row["source"], "superb"),
        )
        for row in _table("superb_er.csv")
        if row["upstream"] == name
    ]


def paper_rows(downstream: str | None, upstream: str) -> list[PublishedResult]:
    """All results that the papers report for a head on an upstream.

    Args:
        downstream: a pooling (``attentive_correlation``), or a ``-d`` name that consists of ``emotion``, ``_`` or ``-``
            and a pooling; None for every head
        upstream: a ``-u`` name of S3PRL, or ``cpt_hubert``
    """
    pooling = re.sub(r"^emotion_", "", (downstream or "").lower().replace("-", "_"))
    pooling = _POOLING_ALIASES.get(pooling, pooling)
    name = canonical_upstream(upstream)
    return [
        PublishedResult(
            upstream=row["upstream"],
            accuracy=_fraction(row["percent"]),
            folds=(),
            source=row["source"],
            note=row["note"],
            metric=row["metric"],
            protocol=row["protocol"],
            corpus=row["corpus"],
            std=_fraction(row["std_percent"]) if row["std_percent"] else None,
            downstream=row["pooling"],
        )
        for row in _table("papers.csv")
        if (downstream is None or row["pooling"] == pooling)
        and name in _PAPER_UPSTREAMS.get(row["upstream"], (row["upstream"],))
    ]


EMOBOX = "EmoBox, arXiv 2406.07162"
_EMOBOX_METRICS = {"UA": "ua", "WA": "wa", "macro-F1": "macro_f1"}
_EMOBOX_NOTE = (
    "frozen upstream's last layer, linear with ReLU, time mean, linear; which checkpoint was tested is not stated"
)
_BALANCED = "EmoBox tests on class-balanced parts of the corpora, which it selected itself"
_MULTI_LABEL = (
    "EMO-SUPERB's macro-F1 is of several labels at once (a class counts as predicted above 1 / classes), on its own "
    "divisions, selected by dev loss: no rate of one label per utterance is comparable"
)


def emobox_rows(upstream: str, corpus: str) -> list[PublishedResult]:
    """EmoBox's results of an upstream within a corpus: UA, WA and macro-F1, or UA across corpora.

    Args:
        upstream: a ``-u`` name
        corpus: a manifest's name: ``emobox_ravdess``, or ``ravdess``, which is divided otherwise;
            ``combined_iemocap-to-savee`` across corpora
    """
    name, own = canonical_upstream(upstream), corpus.removeprefix("emobox_")
    across = re.fullmatch(r"combined_(\w+)-to-(\w+)", corpus)
    if across:
        return [
            PublishedResult(
                upstream=row["upstream"],
                accuracy=_fraction(row["ua"]),
                folds=(),
                source=f"{EMOBOX}, cross-corpus leaderboard",
                note=_EMOBOX_NOTE,
                metric="UA",
                corpus=corpus,
                protocol="cross",
                features="last_hidden_state",
                classes=4,
                fold_count=1,
                unlike=_BALANCED,
            )
            for row in _table("emobox_cross.csv")
            if (row["upstream"], row["train"], row["test"]) == (name, *across.groups())
        ]
    return [
        PublishedResult(
            upstream=row["upstream"],
            accuracy=_fraction(row[column]),
            folds=(),
            source=f"{EMOBOX}, table 4 and leaderboard",
            note="; ".join(text for text in (_EMOBOX_NOTE, row["note"]) if text),
            metric=metric,
            corpus=f"emobox_{row['corpus']}",
            protocol="published",
            features="last_hidden_state",
            classes=int(row["classes"]),
            fold_count=int(row["folds"]) if row["folds"] else None,
        )
        for row in _table("emobox_intra.csv")
        if (row["upstream"], row["corpus"]) == (name, own)
        for metric, column in _EMOBOX_METRICS.items()
    ]


def emosuperb_rows(upstream: str, corpus: str) -> list[PublishedResult]:
    """EMO-SUPERB's results of an upstream on a corpus; none is comparable with a run, and each says why."""
    name = canonical_upstream(upstream)
    return [
        PublishedResult(
            upstream=row["upstream"],
            accuracy=_fraction(row["macro_f1"]),
            folds=(),
            source="EMO-SUPERB, arXiv 2402.13018, and its site",
            note=f"listed as {row['listed_as']}{f'; {labels} labels' if (labels := row['labels']) else ''}",
            metric="macro-F1",
            corpus=row["corpus"],
            protocol="emo-superb",
            unlike=_MULTI_LABEL,
        )
        for row in _table("emosuperb.csv")
        if (row["upstream"], row["corpus"]) == (name, corpus.removeprefix("emobox_"))
    ]


def published_rows(upstream: str, corpus: str) -> list[PublishedResult]:
    """Everything published on an upstream that ``compare`` shows beside a run on a corpus."""
    found = [*superb_rows(upstream), *paper_rows(None, upstream)]
    return [*found, *emobox_rows(upstream, corpus), *emosuperb_rows(upstream, corpus)]


@functools.cache
def _table(name: str) -> tuple[dict[str, str], ...]:
    file = importlib.resources.files("s3prl_emotion") / "data" / name
    return tuple(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def _fraction(percent: str) -> float:
    return round(float(percent) / 100, 6)
