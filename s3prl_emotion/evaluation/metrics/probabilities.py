"""Metrics of probabilities: formulas of :mod:`s3prl_emotion.evaluation.calibration` over a run's predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from s3prl_emotion.evaluation import calibration
from s3prl_emotion.evaluation.metrics._base import Measure, register
from s3prl_emotion.runs.prediction import Prediction


def _probabilities(predictions: Sequence[Prediction]) -> list[tuple[float, ...]] | None:
    """Those of every utterance; None if one has none."""
    known = [item.probabilities for item in predictions if item.probabilities is not None]
    return known if len(known) == len(predictions) else None


def _ece(predictions: Sequence[Prediction], labels: Sequence[str]) -> float | None:
    known = _probabilities(predictions)
    return None if known is None else calibration.ece(known, [item.truth == item.predicted for item in predictions])


def _brier(predictions: Sequence[Prediction], labels: Sequence[str]) -> float | None:
    known = _probabilities(predictions)
    return None if known is None else calibration.brier(known, [labels.index(item.truth) for item in predictions])


def _kl_to_annotators(predictions: Sequence[Prediction], labels: Sequence[str]) -> float | None:
    """Over the utterances with annotators' rates and probabilities."""
    both = [item for item in predictions if item.probabilities is not None and item.soft is not None]
    if not both:
        return None
    return calibration.kl_to_annotators([item.soft or () for item in both], [item.probabilities or () for item in both])


register(Measure("ece", "calibration error (ECE)", place=11, text="{percent:.2f} %", of_predictions=_ece))
register(Measure("brier", "Brier score", upper=2.0, place=12, text="{value:.4f} of 2", of_predictions=_brier))
register(
    Measure(
        "kl_to_annotators",
        "KL to the annotators",
        upper=math.inf,
        place=13,
        text="{value:.4f} nats",
        of_predictions=_kl_to_annotators,
    )
)
