"""From predictions to numbers: metrics, the record of a run, and published numbers to set beside it.

Neither torch nor s3prl is imported here.
"""

from __future__ import annotations

from s3prl_emotion.evaluation.metrics import confusion_matrix, macro_f1, recalls, ua, wa
from s3prl_emotion.evaluation.predictions import Prediction, read_predictions, write_predictions
from s3prl_emotion.evaluation.published import PublishedResult, paper_rows, superb_rows
from s3prl_emotion.evaluation.results import read_results, summarise, versions, write_results

__all__ = [
    "Prediction",
    "PublishedResult",
    "confusion_matrix",
    "macro_f1",
    "paper_rows",
    "read_predictions",
    "read_results",
    "recalls",
    "summarise",
    "superb_rows",
    "ua",
    "versions",
    "wa",
    "write_predictions",
    "write_results",
]
