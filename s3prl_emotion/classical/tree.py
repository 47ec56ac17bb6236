"""A decision tree."""

from __future__ import annotations

from typing import Any

from s3prl_emotion.classical import Classifier, classifiers


def _make(seed: int, **options: Any) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(random_state=seed, **options)


classifiers.register("tree")(
    Classifier("decision tree, grown to its end (scikit-learn)", _make, {"max_depth": (None, 4, 8)})
)
