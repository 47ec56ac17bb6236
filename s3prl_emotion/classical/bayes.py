"""Gaussian naive Bayes."""

from __future__ import annotations

from typing import Any

from s3prl_emotion.classical import Classifier, classifiers


def _make(seed: int, **options: Any) -> Any:
    from sklearn.naive_bayes import GaussianNB

    return GaussianNB(**options)


classifiers.register("bayes")(
    Classifier("Gaussian naive Bayes (scikit-learn)", _make, {"var_smoothing": (1e-9, 1e-3, 1e-1)})
)
