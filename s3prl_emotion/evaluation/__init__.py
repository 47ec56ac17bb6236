"""From predictions to numbers: metrics, their intervals and tests, what may be compared, and published numbers.

Neither torch nor s3prl is imported here. What a run leaves behind is in :mod:`s3prl_emotion.runs`.
"""

from __future__ import annotations

from s3prl_emotion.evaluation.calibration import brier, ece, kl_to_annotators
from s3prl_emotion.evaluation.metrics import confusion_matrix, macro_f1, recalls, ua, ua_plus_wa, wa
from s3prl_emotion.evaluation.summary import summarise, versions
from s3prl_emotion.published import PublishedResult, paper_rows, superb_rows

__all__ = [
    "PublishedResult",
    "brier",
    "confusion_matrix",
    "ece",
    "kl_to_annotators",
    "macro_f1",
    "paper_rows",
    "recalls",
    "summarise",
    "superb_rows",
    "ua",
    "ua_plus_wa",
    "versions",
    "wa",
]
