"""Logistic regression."""

from __future__ import annotations

from typing import Any

from s3prl_emotion.classical import Classifier, classifiers


def _make(seed: int, **options: Any) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(random_state=seed, **options)


classifiers.register("logistic")(
    Classifier("multinomial logistic regression, L2, C 1 (scikit-learn)", _make, {"C": (1.0, 0.001, 0.01, 0.1, 10.0)})
)
