"""Published numbers with their sources: the SUPERB emotion table and the papers whose heads are reproduced here.

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


@functools.cache
def _table(name: str) -> tuple[dict[str, str], ...]:
    file = importlib.resources.files("s3prl_emotion.evaluation") / "data" / name
    return tuple(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def _fraction(percent: str) -> float:
    return round(float(percent) / 100, 6)
