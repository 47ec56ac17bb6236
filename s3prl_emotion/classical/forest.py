"""A random forest."""

from __future__ import annotations

from typing import Any

from s3prl_emotion.classical import Classifier, classifiers


def _make(seed: int, **options: Any) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(random_state=seed, n_jobs=1, **options)


classifiers.register("forest")(
    Classifier("random forest of 100 trees (scikit-learn)", _make, {"min_samples_leaf": (1, 3, 10)})
)
