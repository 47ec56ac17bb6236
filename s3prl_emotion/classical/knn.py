"""k nearest neighbours."""

from __future__ import annotations

from typing import Any

from s3prl_emotion.classical import Classifier, classifiers


def _make(seed: int, **options: Any) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(n_jobs=1, **options)


classifiers.register("knn")(
    Classifier(
        "k nearest neighbours, 5 by Euclidean distance (scikit-learn)", _make, {"n_neighbors": (5, 1, 15)}, least=1
    )
)
