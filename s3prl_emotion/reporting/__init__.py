"""From the record of a run to text for people: formats only. Neither torch nor s3prl is imported here."""

from __future__ import annotations

from s3prl_emotion.reporting.comparison import comparison_text
from s3prl_emotion.reporting.table import confusion_table, results_table

__all__ = ["comparison_text", "confusion_table", "results_table"]
