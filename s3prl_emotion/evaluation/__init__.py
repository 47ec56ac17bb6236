"""From predictions to numbers: metrics, the record of a run, and published numbers to set beside it.

Neither torch nor s3prl is imported here.
"""

from __future__ import annotations

from s3prl_emotion.evaluation.calibration import brier, ece, kl_to_annotators
from s3prl_emotion.evaluation.metrics import confusion_matrix, macro_f1, recalls, ua, ua_plus_wa, wa
from s3prl_emotion.evaluation.predictions import Prediction, read_predictions, write_predictions
from s3prl_emotion.evaluation.published import PublishedResult, paper_rows, superb_rows
from s3prl_emotion.evaluation.results import read_results, summarise, versions, write_results

__all__ = [
    "Prediction",
    "PublishedResult",
    "brier",
    "confusion_matrix",
    "ece",
    "kl_to_annotators",
    "macro_f1",
    "paper_rows",
    "read_predictions",
    "read_results",
    "recalls",
    "summarise",
    "superb_rows",
    "ua",
    "ua_plus_wa",
    "versions",
    "wa",
    "write_predictions",
    "write_results",
]
