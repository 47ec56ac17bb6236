"""What a study prints: its question, its own tables, and the comparison of all its runs."""

from __future__ import annotations

from s3prl_emotion.evaluation.comparison import compare
from s3prl_emotion.experiment.studies._base import Study, StudyResult
from s3prl_emotion.reporting.comparison_text import comparison_text
from s3prl_emotion.reporting.layout import wrap


def report(study: Study, outcome: StudyResult) -> str:
    """Lines of at most 100 columns where tables fit."""
    parts = [wrap(study.question())]
    parts += [wrap(f"skipped: {name}: {reason}") for name, reason in outcome.worked.skipped.items()]
    if outcome.worked.failed:
        parts.append(f"warning: {len(outcome.worked.failed)} of {outcome.total} runs failed, and are missing here")
    folders = [folder for found in outcome.done.values() for folder in found]
    if not folders:
        return "\n\n".join([*parts, "no run is finished"])
    parts += study.answer(outcome.done)
    parts.append(comparison_text(compare(folders, fusions=study.fusions(outcome.done))))
    return "\n\n".join(parts)
